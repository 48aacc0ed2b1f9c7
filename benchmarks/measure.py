"""Check every result against float64, then time all contestants in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .numpy_steps import gradients
from .runner import Make, Runner, descend
from .workloads import Array, Data, Params, Workload


@dataclass
class Timing:
    """The seconds of one step: median, least and most over the rounds."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """From the seconds a step of each round."""
        return cls(statistics.median(seconds), min(seconds), max(seconds), len(seconds))


@dataclass
class Result:
    """What was measured of a workload.

    Attributes:
        times: by contestant.
        errors: by contestant, the distance from float64 relative to the parameters' change.
        refused: contestants that failed or were wrong, with the reason; they have no time.
        floor, limit: the least seconds of a step on this machine, and what sets them.
        first: seconds to the end of the first step, by contestant and "cold" or "warm".
        memory: peak bytes of `graphir.train` beyond the data and the parameters.
        notes: how graphir ran it.
    """

    workload: str
    times: dict[str, Timing] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    floor: float | None = None
    limit: str = ""
    first: dict[str, dict[str, float]] = field(default_factory=dict)
    memory: int | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def best_peer(self) -> str | None:
        """The fastest contestant but for graphir."""
        peers = {n: t.median for n, t in self.times.items() if n != "graphir"}
        return min(peers, key=peers.__getitem__, default=None)

    @property
    def ratio(self) -> float | None:
        """The best peer's time over graphir's."""
        best = self.best_peer
        if best is None or "graphir" not in self.times:
            return None
        return self.times[best].median / self.times["graphir"].median

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"best_peer": self.best_peer, "ratio": self.ratio}


def exact(workload: Workload, params: Params, data: Data) -> list[Array]:
    """The parameters after one epoch, in float64."""
    x, y = data
    now: Any = tuple(p.astype(np.float64) for p in params)
    buffers: Any = tuple(np.zeros_like(p) for p in now)
    for start in range(0, workload.rows, workload.batch):
        rows = slice(start, start + workload.batch)
        targets = y[rows] if workload.targets == "classes" else y[rows].astype(np.float64)
        grads = gradients(workload, now, x[rows].astype(np.float64), targets)
        now, buffers = descend(workload, now, buffers, grads)
    return [np.asarray(p) for p in now]


def error(got: Sequence[Array], want: Sequence[Array], first: Sequence[Array]) -> float:
    """The largest distance of a parameter from what it should be, relative to its change."""
    distances = [
        float(np.linalg.norm(np.asarray(g, np.float64) - w) / np.linalg.norm(w - f))
        for g, w, f in zip(got, want, first, strict=True)
    ]
    return max(distances) if np.isfinite(distances).all() else float("inf")


def check(runner: Runner, workload: Workload, params: Params, want: Sequence[Array]) -> float:
    """Run one epoch from the first parameters.

    Returns:
        The error, if it is within the workload's tolerance.

    Raises:
        ValueError: where it is not.
    """
    runner.reset()
    runner.run(1)
    found = error(runner.params(), want, params)
    if not found <= workload.tolerance:
        raise ValueError(f"wrong by {found:.1e}, {workload.tolerance:.0e} are allowed")
    return found


def ready(
    makers: Mapping[str, Make],
    workload: Workload,
    device: str,
    result: Result,
    *,
    want: Sequence[Array] | None = None,
    given: tuple[Params, Data] | None = None,
) -> dict[str, Runner]:
    """The contestants whose results are right; why others are not is in the result.

    Args:
        want: the parameters after one epoch, where they are known.
        given: first parameters and data, where they are not the workload's own.
    """
    params, data = given or (workload.params(), workload.data())
    if want is None:
        want = exact(workload, params, data)
    runners: dict[str, Runner] = {}
    for name, make in makers.items():
        try:
            runner = make(workload, params, data, device)
            result.errors[name] = check(runner, workload, params, want)
        except Exception as failure:  # noqa: BLE001 - a peer may fail in any way, the rest go on
            result.refused[name] = f"{type(failure).__name__}: {failure}".splitlines()[0][:200]
        else:
            runners[name] = runner
    return runners


def race(
    runners: Mapping[str, Runner], workload: Workload, result: Result, *, rounds: int,
    seconds: float, device: str, most: int = 1000,
) -> None:  # fmt: skip
    """Time the contestants one after another, round after round, so that all meet the same noise.

    Args:
        seconds: what one contestant's turn should take at least.
        most: epochs of one turn.
    """
    epochs = {}
    for name, runner in runners.items():
        runner.reset()
        once = max(runner.run(1), 1e-7)
        epochs[name] = int(np.clip(np.ceil(seconds / once), 1, most))
    found: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            runner.reset()
            flush(device)
            taken = runner.run(epochs[name])
            found[name].append(taken / epochs[name] / workload.steps)
    result.times = {name: Timing.of(times) for name, times in found.items()}


def flush(device: str) -> None:
    """Put what is in a GPU's L2 cache out; on a CPU let other threads fall asleep."""
    if not device.startswith("cuda"):
        # Pools of the peer before spin for some 30 ms, and would take the next one's cores.
        time.sleep(0.1)
        return
    import torch

    torch.empty(1 << 28, dtype=torch.int8, device=device).zero_()
    torch.cuda.synchronize()
