"""Updates in place: nobody reads a parameter after, or while, it is overwritten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.runtime.optim import SGD

GENERATOR = torch.Generator()
BACKENDS = [("c", 1), ("c", 3), ("interpret", 3)]


def real(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR.manual_seed(seed), dtype=torch.float64)


def smooth(params: Any, x: Any, y: Any) -> Any:
    """The gradient of an element reads its neighbours."""
    w, v = params
    return ((x @ w - y) ** 2).mean() + 0.1 * ((v[1:] - v[:-1]) ** 2).sum() + 0.1 * (w * w).sum()


def symmetric(params: Any, x: Any, y: Any) -> Any:
    """The gradient of an element reads the one across the diagonal."""
    w, matrix = params
    return ((x @ w - y) ** 2).mean() + 0.1 * ((matrix - matrix.T) ** 2).sum()


def wide_layer(params: Any, x: Any, y: Any) -> Any:
    """A weight that no tile of a GPU holds: several kernels read it before one updates it."""
    w, v = params
    return ((torch.tanh(x @ w) @ v - y) ** 2).mean() + ((w @ w.T) ** 2).mean()


def centred_layer(params: Any, x: Any, y: Any) -> Any:
    """Several passes over the rows, of which the last still needs `w`."""
    w, v = params
    h = x @ w
    h = h - h.mean(0)
    h = h / torch.sqrt((h * h).mean(0) + 1e-2)
    return ((torch.relu(h) @ v - y) ** 2).mean()


def flattened(params: Any, x: Any, y: Any) -> Any:
    """Rows of a batch, which the shuffle scatters, side by side."""
    w, v = params
    return ((x @ w - y) ** 2).mean() + (torch.sin(x.flatten()) * v).mean()


@dataclass(frozen=True)
class HeavyBall:
    """An optimizer whose state is the parameters before: they are copied while they change."""

    lr: float

    def hyper(self) -> dict[str, float]:
        return {}

    def stepped(self, rates: Any, steps: Any) -> dict[str, Any]:
        return {"lr": rates}

    def structure(self) -> str:
        return "HeavyBall"

    def init(self, params: Any) -> Any:
        return [np.zeros_like(p) for p in params]

    def step(
        self, params: Any, grads: Any, state: Any, numbers: Mapping[str, Any]
    ) -> tuple[list[Any], list[Any]]:
        new = [
            p - numbers["lr"] * g + 0.1 * (p - before)
            for p, g, before in zip(params, grads, state, strict=True)
        ]
        return new, list(params)


@dataclass(frozen=True)
class Swapping(HeavyBall):
    """What is trained and what is kept change places at each step."""

    def structure(self) -> str:
        return "Swapping"

    def step(
        self, params: Any, grads: Any, state: Any, numbers: Mapping[str, Any]
    ) -> tuple[list[Any], list[Any]]:
        return list(state), [p - numbers["lr"] * g for p, g in zip(params, grads, strict=True)]


DATA = real(40, 5, seed=8), real(40, seed=9)
WIDE = real(40, 150, seed=8), real(40, seed=9)
CASES: dict[str, tuple[Callable[..., Any], Any, Any, float]] = {
    "smooth": (smooth, (real(5), real(5000)), DATA, 0.1),
    "smooth_small": (smooth, (real(5), real(9)), DATA, 0.1),
    "symmetric_small": (symmetric, (real(5), real(30, 30)), DATA, 0.1),
    "symmetric": (symmetric, (real(5), real(130, 130)), DATA, 0.1),
    "symmetric_big": (symmetric, (real(5), real(300, 300)), DATA, 0.1),
    "wide_layer": (wide_layer, (real(150, 130) / 12, real(130) / 12), WIDE, 0.001),
    "flattened": (flattened, (real(5), real()), DATA, 0.05),
    "centred_layer": (centred_layer, (real(5, 4), real(4)), DATA, 0.05),
}


@pytest.mark.parametrize("optimizer", [SGD, HeavyBall, Swapping])
@pytest.mark.parametrize(("backend", "threads"), BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_evaluator(
    name: str, backend: str, threads: int, optimizer: Any
) -> None:
    loss, params, data, lr = CASES[name]
    options: dict[str, Any] = {
        "optimizer": SGD(lr=lr, momentum=0.5) if optimizer is SGD else optimizer(lr),
        "batch_size": 25, "epochs": 2, "seed": 1, "progress": False,
    }  # fmt: skip
    got = graphir.train(loss, params, data, backend=backend, threads=threads, **options)
    wanted = graphir.train(loss, params, data, backend="reference", **options)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-9)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-9)
