"""Loading and splitting of the two data sets in ``examples/data``."""

from __future__ import annotations

import gzip
import platform
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

DATA = Path(__file__).parent / "data"


def load_house_sales(path: Path = DATA / "king_county_house_sales.csv.gz") -> dict[str, FloatArray]:
    """Read the sales, one float64 array per column; ``date`` counts days since the first sale."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        names = file.readline().strip().split(",")
        values = np.loadtxt(
            file,
            delimiter=",",
            converters={names.index("date"): lambda text: date.fromisoformat(text).toordinal()},
            encoding="utf-8",
        )
    columns = dict(zip(names, values.T.copy(), strict=True))
    columns["date"] -= columns["date"].min()
    return columns


def load_mnist(
    path: Path = DATA / "mnist_5k.csv.gz",
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read the digits: pixels in [0, 1] with shape (5000, 784), labels with shape (5000,)."""
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return table[:, :-1].astype(np.float32) / np.float32(255), table[:, -1].astype(np.int64)


def split_indices(rows: int, test_fraction: float, seed: int) -> tuple[IndexArray, IndexArray]:
    """Shuffle ``range(rows)`` and cut it into training and held-out rows."""
    order = np.random.default_rng(seed).permutation(rows)
    cut = rows - round(rows * test_fraction)
    return order[:cut], order[cut:]


def stratified_split_indices(
    labels: NDArray[np.int64], test_fraction: float, seed: int
) -> tuple[IndexArray, IndexArray]:
    """Like `split_indices`, holding out the same fraction of each class."""
    rng = np.random.default_rng(seed)
    train, test = [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cut = len(rows) - round(len(rows) * test_fraction)
        train.append(rows[:cut])
        test.append(rows[cut:])
    return rng.permutation(np.concatenate(train)), rng.permutation(np.concatenate(test))


@dataclass(frozen=True)
class Standardizer:
    """Affine map to zero mean and unit variance, estimated on the training rows alone."""

    mean: FloatArray
    std: FloatArray

    @classmethod
    def fit(cls, values: FloatArray) -> Standardizer:
        """Estimate mean and standard deviation along the rows."""
        std = values.std(axis=0)
        # A constant column stays at zero instead of dividing by zero.
        return cls(values.mean(axis=0), np.where(std > 0, std, 1.0))

    def apply(self, values: FloatArray) -> FloatArray:
        """Standardise."""
        return (values - self.mean) / self.std

    def invert(self, values: FloatArray) -> FloatArray:
        """Return to the original units."""
        return values * self.std + self.mean


def choose_device(name: str, backend: str) -> torch.device:
    """The device that ``--device`` names: ``auto`` is a GPU where there is one and the backend
    runs there.

    Raises:
        SystemExit: for a GPU that is not there.
    """
    there = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if there and backend in ("auto", "triton") else "cpu"
    if name.startswith("cuda") and not there:
        raise SystemExit(f"--device {name}: torch finds no GPU here; use --device cpu")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """What the device is called."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} ({device})"
    return f"the CPU ({platform.processor() or platform.machine()})"
