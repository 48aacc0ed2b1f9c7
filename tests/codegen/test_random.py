"""Functions drawn at random: whatever the scheduler makes of them, values and gradients are those
of the evaluator or of torch. Seeds that stand apart from their row once went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from programs import random_function

import graphir
from graphir.runtime.optim import SGD

BACKENDS = ["c", "interpret"]
ROWS = {"x": 0, "y": 0}


def assert_same(got: Any, wanted: Any) -> None:
    for ours, exact in zip(got, wanted, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("seed", [*range(24), 75, 128, 199, 1074])
@pytest.mark.parametrize("backend", BACKENDS)
def test_values(backend: str, seed: int) -> None:
    fn, args = random_function(seed)
    compiled = graphir.compile(fn, backend=backend, dynamic=ROWS)
    assert_same(compiled(*args), fn(*args))
    generator = torch.Generator().manual_seed(seed)
    for rows in (9, 70):
        x = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
        y = torch.randn(rows, generator=generator, dtype=torch.float64)
        assert_same(compiled(*args[:2], x, y), fn(*args[:2], x, y))


def summed(seed: int, **shape: int) -> Any:
    """A loss of the parameters (w, v)."""
    fn, _ = random_function(seed, **shape)

    def loss(params: Any, x: Any, y: Any) -> Any:
        w, v = params
        return sum(torch.sin(part).mean() for part in fn(w, v, x, y)) + 0.1 * (w * w).sum()

    return loss


@pytest.mark.parametrize("seed", range(100, 116))
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients(backend: str, seed: int) -> None:
    _, (w, v, x, y) = random_function(seed)
    loss = summed(seed)
    compiled = graphir.compile(graphir.value_and_grad(loss), backend=backend, dynamic=ROWS)
    value, grads = compiled((w, v), x, y)
    leaves = w.clone().requires_grad_(), v.clone().requires_grad_()
    wanted = loss(leaves, x, y)
    exact = torch.autograd.grad(wanted, leaves, allow_unused=True)
    torch.testing.assert_close(value, wanted.detach(), rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(grads, exact, strict=True):
        theirs = torch.zeros_like(ours) if theirs is None else theirs
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-8)


# Those whose loss `train` takes: none that needs the number of rows, or pairs rows by accident.
TRAINED = [2, 7, 9, 11, 17, 19, 20, 21, 23, 25, 13, 15, 22, 45, 69, 75, 96, 115]


@pytest.mark.filterwarnings("ignore:parameter:UserWarning")
@pytest.mark.parametrize("seed", TRAINED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_training(backend: str, seed: int) -> None:
    _, args = random_function(seed)
    generator = torch.Generator().manual_seed(seed)
    data = [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((25, 5), (25,))]
    options: dict[str, Any] = {
        "optimizer": SGD(lr=0.01, momentum=0.5), "batch_size": 11, "seed": 1, "progress": False,
    }  # fmt: skip
    params = tuple(args[:2])
    loss = summed(seed)
    got = graphir.train(loss, params, tuple(data), backend=backend, threads=2, **options)
    wanted = graphir.train(loss, params, tuple(data), backend="reference", **options)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-9)
    assert_same(got.params, wanted.params)


# Losses under a sine of thousands: what differs in the last place at first is multiplied by up to
# 1e9 in three steps. Two trajectories of different roundings part as far as two that start one
# unit in the last place apart. (Three steps of all rows in 80 bits lie 1.7e-5, 1.1e-4 and 5e-10
# of the loss from the evaluator's, and 2.1e-5, 9.8e-5 and 2e-9 from C's.)
PARTING: list[tuple[int, dict[str, int]]] = [
    (69, {"length": 12, "features": 3, "outputs": 16}),
    (69, {"length": 12, "features": 8, "outputs": 32}),
    (45, {"length": 20, "features": 32, "outputs": 32}),
]


@pytest.mark.filterwarnings("ignore:parameter:UserWarning")
@pytest.mark.parametrize(("seed", "shape"), PARTING, ids=str)
def test_what_drifts_apart_is_chaotic(seed: int, shape: dict[str, int]) -> None:
    _, args = random_function(seed, **shape)
    generator = torch.Generator().manual_seed(seed)
    sizes = ((25, shape["features"]), (25,))
    data = tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in sizes)

    def losses(params: Any, backend: str) -> Any:
        trained = graphir.train(
            summed(seed, **shape), params, data, backend=backend, threads=2, batch_size=11, seed=1,
            optimizer=SGD(lr=0.01, momentum=0.5), progress=False,
        )  # fmt: skip
        return np.asarray(trained.history.step_loss)

    start = tuple(args[:2])
    exact = losses(start, "reference")
    moved = [
        losses(tuple(torch.nextafter(p, p + sign * (1 + p.abs())) for p in start), "reference")
        for sign in (1.0, -1.0)
    ]
    parted = np.max([np.abs(m - exact) for m in moved], axis=0)
    assert parted[2] > 1e3 * parted[0] > 0
    unit = np.finfo(np.float64).eps * np.abs(exact)
    for backend in BACKENDS:
        assert np.all(np.abs(losses(start, backend) - exact) <= 8 * parted + 64 * unit)
