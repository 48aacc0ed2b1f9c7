"""The optimizers against torch's, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir import optim

BACKENDS = ["reference", "c", "interpret"]


def loss(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.01), (0.8, 0.05)]
)
def test_sgd_is_torchs(backend: str, momentum: float, weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(50, generator=generator, dtype=torch.float64)
    start = torch.randn(3, generator=generator, dtype=torch.float64), torch.tensor(0.3).double()

    result = graphir.train(
        loss, start, (x, y), epochs=20, batch_size=10, shuffle=False, backend=backend,
        optimizer=optim.SGD(lr=0.05, momentum=momentum, weight_decay=weight_decay),
    )  # fmt: skip

    expected = [p.clone().requires_grad_() for p in start]
    sgd = torch.optim.SGD(expected, lr=0.05, momentum=momentum, weight_decay=weight_decay)
    losses = []
    for step in range(100):
        rows = slice(step % 5 * 10, step % 5 * 10 + 10)
        sgd.zero_grad()
        value = loss(expected, x[rows], y[rows])
        value.backward()
        sgd.step()
        losses.append(value.item())
    for got, want in zip(result.params, expected, strict=True):
        torch.testing.assert_close(got, want.detach(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(result.history.step_loss, losses, rtol=1e-6)


def test_cosine_goes_from_lr_to_final() -> None:
    schedule = optim.cosine(0.1, final=0.02)
    assert schedule(0, 100) == pytest.approx(0.1)
    assert schedule(50, 100) == pytest.approx(0.06)
    assert schedule(100, 100) == pytest.approx(0.02)


@pytest.mark.parametrize("lr", [0.02, optim.constant(0.02), lambda step, total: 0.02])
def test_a_number_a_schedule_and_a_function_of_ones_own(lr: Any) -> None:
    result = graphir.train(
        loss, (torch.zeros(2), torch.zeros(())), (torch.ones(7, 2), torch.ones(7)),
        optimizer=optim.SGD(lr=lr), batch_size=3, epochs=2, backend="reference",
    )  # fmt: skip
    assert result.history.learning_rate == [0.02] * 6


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"lr": -0.1}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"lr": "fast"}, "lr"),
        ({"lr": 0.1, "momentum": 1.0}, "momentum"),
        ({"lr": 0.1, "momentum": -0.5}, "momentum"),
        ({"lr": 0.1, "weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_sgd_refuses(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(graphir.GraphirError, match=named):
        optim.SGD(**arguments)


def test_schedules_refuse() -> None:
    with pytest.raises(graphir.GraphirError, match="lr"):
        optim.constant(math.inf)
    with pytest.raises(graphir.GraphirError, match="final"):
        optim.cosine(0.1, final=-1.0)


def test_a_schedule_that_gives_nan_is_named() -> None:
    with pytest.raises(graphir.GraphirError, match="step 1 of 2"):
        optim.learning_rates(lambda step, total: [0.1, math.nan][step], 0, 2, 2)
