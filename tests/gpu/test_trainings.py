"""Trainings on a GPU, each way to run an epoch: against the evaluator, and always the same bits."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from places import Place
from regressions import ALL, SIX, Regression, by_name

import graphir
from graphir.runtime.optim import SGD, AdamW, cosine


def trained(
    regression: Regression, place: Place, *, backend: str | None = None, rows: int, batch: int,
    dtype: torch.dtype = torch.float64, optimizer: Any = None, **options: Any,
) -> Any:  # fmt: skip
    params, data = regression.arguments(rows, dtype)
    chosen = backend or place.backend
    device = place.device if chosen == place.backend else "cpu"
    return graphir.train(
        regression.loss, tuple(p.to(device) for p in params), tuple(x.to(device) for x in data),
        optimizer=optimizer or SGD(lr=0.02, momentum=0.5, weight_decay=0.1), batch_size=batch,
        seed=3, backend=chosen, progress=False, **{"epochs": 2, **options},
    )  # fmt: skip


def same(got: Any, wanted: Any, tolerance: float) -> None:
    np.testing.assert_allclose(
        got.history.step_loss, wanted.history.step_loss, rtol=tolerance, atol=tolerance
    )
    for ours, theirs in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(
            ours.cpu().double(), theirs.double(), rtol=tolerance, atol=tolerance
        )


@pytest.mark.parametrize(
    ("regression", "programs"),
    [
        pytest.param(r, n, id=f"{r.name}-{n}")
        for r in ALL
        for n in ([None, 1, 3] if r in SIX else [None])
    ],
)
def test_as_the_evaluator(regression: Regression, programs: int | None, place: Place) -> None:
    """One program; several, that meet at a barrier or are launched anew; the model's choice."""
    sizes = {"rows": 147, "batch": 64}
    got = trained(regression, place, threads=programs, **sizes)
    same(got, trained(regression, place, backend="reference", **sizes), 1e-9)


@pytest.mark.parametrize("batch", [1, 31, 1000, 5000])
@pytest.mark.parametrize("name", ["linear", "softmax", "perceptron"])
def test_every_batch_size(name: str, batch: int, place: Place) -> None:
    batch = min(batch, place.scaled(5000, 100))
    sizes: dict[str, Any] = {"rows": 2 * batch + 1, "batch": batch, "dtype": torch.float32}
    got = trained(by_name(name), place, **sizes)
    sizes["dtype"] = torch.float64
    same(got, trained(by_name(name), place, backend="reference", **sizes), 2e-4)


def test_schedule_clipping_and_adam(place: Place) -> None:
    options: dict[str, Any] = {
        "optimizer": AdamW(lr=cosine(0.01)), "clip_norm": 0.5, "epochs": 3, "rows": 150,
        "batch": 32,
    }  # fmt: skip
    got = trained(by_name("softmax"), place, **options)
    same(got, trained(by_name("softmax"), place, backend="reference", **options), 1e-9)


@pytest.mark.parametrize("programs", [None, 1, 8])
@pytest.mark.parametrize("name", ["linear", "softmax", "perceptron", "batch_normalised"])
def test_the_same_bits_each_time(name: str, programs: int | None, place: Place) -> None:
    hashes = set()
    for _ in range(place.scaled(100, 2)):
        result = trained(
            by_name(name), place, rows=place.scaled(9000, 90), batch=place.scaled(4000, 40),
            dtype=torch.float32, threads=programs,
        )  # fmt: skip
        total = hashlib.sha256(np.asarray(result.history.step_loss).tobytes())
        for p in result.params:
            total.update(p.cpu().numpy().tobytes())
        hashes.add(total.hexdigest())
    assert len(hashes) == 1
