"""No overflow and no NaN where the mathematics has none: value, gradient and second gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphir

BIG = [-1e4, -800.0, -40.0, -1e-3, 0.0, 1e-3, 40.0, 800.0, 1e4]
# The function, and its value, first and second derivative by hand.
Scalar = Callable[[np.ndarray], np.ndarray]


def sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def slope(x: np.ndarray) -> np.ndarray:
    return sigmoid(x) * sigmoid(-x)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def zero(x: np.ndarray) -> np.ndarray:
    return np.zeros_like(x)


CASES: dict[str, tuple[Callable[..., Any], Scalar, Scalar, Scalar]] = {
    "softplus": (F.softplus, softplus, sigmoid, slope),
    "log(1 + exp)": (lambda x: torch.logaddexp(x, torch.zeros_like(x)), softplus, sigmoid, slope),
    "logsigmoid": (
        F.logsigmoid, lambda x: -softplus(-x), lambda x: sigmoid(-x), lambda x: -slope(x)),
    "sigmoid": (
        torch.sigmoid, sigmoid, slope, lambda x: slope(x) * (sigmoid(-x) - sigmoid(x))),
    "tanh": (
        torch.tanh, np.tanh, lambda x: 4 * slope(2 * x),
        lambda x: -8 * slope(2 * x) * np.tanh(x)),
    "bce with logits": (
        lambda x: F.binary_cross_entropy_with_logits(x, torch.ones_like(x), reduction="none"),
        lambda x: softplus(-x), lambda x: -sigmoid(-x), slope),
    "log_softmax": (
        lambda x: F.log_softmax(torch.stack([x, torch.zeros_like(x)], -1), -1)[..., 0],
        lambda x: -softplus(-x), lambda x: sigmoid(-x), lambda x: -slope(x)),
    "logsumexp": (
        lambda x: torch.logsumexp(torch.stack([x, torch.zeros_like(x)], -1), -1),
        softplus, sigmoid, slope),
    "cross_entropy": (
        lambda x: F.cross_entropy(
            torch.stack([x, torch.zeros_like(x)], -1), torch.zeros(len(BIG), dtype=torch.long),
            reduction="none"),
        lambda x: softplus(-x), lambda x: -sigmoid(-x), slope),
    "elu": (
        F.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0))),
        # torch's at 0 is 0.
        lambda x: np.where(x >= 0, 0, np.exp(np.minimum(x, 0)))),
    "atan": (
        torch.atan, np.arctan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    "hypot": (
        lambda x: torch.hypot(x * 1e200, x * 0 + 1e200) / 1e200, lambda x: np.hypot(x, 1),
        lambda x: x / np.hypot(x, 1), lambda x: np.hypot(x, 1) ** -3),
    "relu": (torch.relu, lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, zero),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_scalar_functions_far_out(backend: str) -> None:
    def both(fn: Callable[..., Any]) -> Callable[..., Any]:
        first = graphir.grad(lambda x: fn(x).sum())
        return lambda x: (fn(x), first(x), graphir.grad(lambda x: first(x).sum())(x))

    def everything(x: Any) -> Any:
        return {name: both(case[0])(x) for name, case in CASES.items()}

    x = torch.tensor(BIG, dtype=torch.float64)
    found = graphir.compile(everything, backend=backend, dynamic=())(x)
    with np.errstate(over="ignore"):
        for name, (_, *wanted) in CASES.items():
            for got, want in zip(found[name], wanted, strict=True):
                np.testing.assert_allclose(
                    got.numpy(), want(x.numpy()), rtol=1e-10, atol=1e-15, err_msg=name
                )


def test_float32_does_not_overflow_either() -> None:
    x = torch.tensor([-3e38, -1e30, -200.0, 0.0, 200.0, 1e30, 3e38])
    for fn in (F.softplus, F.logsigmoid, torch.sigmoid, torch.tanh, torch.atan, torch.relu):
        first = graphir.grad(lambda x, fn=fn: fn(x).sum())
        second = graphir.grad(lambda x, first=first: first(x).sum())
        assert torch.isfinite(graphir.compile(fn, backend="reference")(x)).all()
        assert torch.isfinite(first(x)).all()
        assert torch.isfinite(second(x)).all()


@pytest.mark.parametrize(
    "fn",
    [
        torch.linalg.norm, lambda x: x.norm(dim=1).sum(), lambda x: torch.norm(x, 1.5),
        lambda x: torch.norm(x, 3), lambda x: x.norm(1), lambda x: x.std(), lambda x: x.var(),
        lambda x: x.std(1).sum(), lambda x: torch.hypot(x, x).sum(),
        lambda x: torch.atan2(x, x).sum(), lambda x: torch.xlogy(x, x).sum(),
        lambda x: F.normalize(x).sum(), lambda x: F.cosine_similarity(x, x).sum(),
        lambda x: x.prod(), lambda x: F.layer_norm(x, (2,)).sum(),
    ],
)  # fmt: skip
def test_at_zero(fn: Callable[..., Any]) -> None:
    """Value and gradient are finite."""
    x = torch.zeros(3, 2, dtype=torch.float64)
    value, grad = graphir.value_and_grad(fn)(x)
    assert torch.isfinite(value)
    assert torch.isfinite(grad).all()


def test_rows_of_equal_numbers_have_a_variance_of_zero() -> None:
    x = torch.full((2, 5), 1e8)
    second = graphir.grad(lambda x: graphir.grad(lambda x: x.var(1).sum())(x).square().sum())
    assert torch.equal(graphir.compile(lambda x: x.var(1), backend="c")(x), torch.zeros(2))
    assert torch.isfinite(second(x)).all()


def test_log_softmax_of_infinite_logits() -> None:
    x = torch.tensor([[0.0, -torch.inf, 1.0]], dtype=torch.float64)

    def loss(x: Any) -> Any:
        return F.cross_entropy(x, torch.tensor([0]))

    value, grad = graphir.value_and_grad(loss)(x)
    own = x.clone().requires_grad_()
    loss(own).backward()
    torch.testing.assert_close(value, loss(x))
    torch.testing.assert_close(grad, own.grad)
