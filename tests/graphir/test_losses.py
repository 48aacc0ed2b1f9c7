"""Losses against torch's, with the gradients and second derivatives that come of their graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graphir import composites
from graphir.differentiate import gradients
from graphir.errors import DTypeError, ShapeError, UnsupportedError
from graphir.evaluate import evaluate
from graphir.tracing import trace
from graphir.value import Value

DRAW = torch.Generator().manual_seed(3)
Z = torch.randn(6, 4, generator=DRAW, dtype=torch.float64) * 3
P = torch.softmax(torch.randn(6, 4, generator=DRAW, dtype=torch.float64), 1)
LABELS = torch.tensor([0, 3, 1, 2, 2, 0])
Y = torch.randn(6, 4, generator=DRAW, dtype=torch.float64) * 3
BITS = (Y > 0).double()


def values(fn: Any, *args: Any) -> list[np.ndarray[Any, Any]]:
    """The traced function's outputs."""
    return evaluate(trace(fn, args).graph, args)


def check(fn: Any, z: torch.Tensor, *args: Any) -> None:
    """Value, gradient and a product with the Hessian, of the first argument, as torch's."""
    weights = torch.linspace(-1, 2, z.numel(), dtype=z.dtype).reshape(z.shape)

    def both(z: Any, weights: Any, *rest: Any) -> Any:
        out = fn(z, *rest)
        total = out.sum()
        if isinstance(total, Value):
            (first,) = gradients(total, [z])
            (second,) = gradients((first * weights).sum(), [z])
        else:
            (first,) = torch.autograd.grad(total, z, create_graph=True)
            if not first.requires_grad:
                return out, first, torch.zeros_like(z)
            (second,) = torch.autograd.grad((first * weights).sum(), z, allow_unused=True)
            second = torch.zeros_like(z) if second is None else second
        return out, first, second

    expected = both(z.clone().requires_grad_(), weights, *args)
    for got, want in zip(values(both, z, weights, *args), expected, strict=True):
        assert got.shape == want.shape
        assert str(want.dtype) == f"torch.{got.dtype}"
        np.testing.assert_allclose(got, want.detach().numpy(force=True), rtol=1e-10, atol=1e-12)


REDUCTION = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


@REDUCTION
@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss])
def test_regression_losses(loss: Any, reduction: str) -> None:
    check(lambda z, y: loss(z, y, reduction=reduction), Z, Y)


@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
def test_huber_delta(delta: float) -> None:
    check(lambda z, y: F.huber_loss(z, y, delta=delta), Z, Y)
    check(lambda z, y: F.huber_loss(z, y, "sum", delta), Z, Y)
    check(lambda z, y: F.smooth_l1_loss(input=z, target=y, beta=delta), Z, Y)


def test_kinks_have_torchs_subgradient() -> None:
    y = torch.zeros(5, dtype=torch.float64)
    z = torch.tensor([-1.0, 0.0, 1.0, -0.0, 0.5], dtype=torch.float64)
    for loss in (F.huber_loss, F.l1_loss, F.smooth_l1_loss, F.mse_loss):
        check(loss, z, y)


@REDUCTION
def test_cross_entropy(reduction: str) -> None:
    check(lambda z, y: F.cross_entropy(z, y, reduction=reduction), Z, LABELS)
    check(lambda z, y: F.cross_entropy(z, y, reduction=reduction), Z, P)
    check(lambda z, y: F.cross_entropy(z, y, reduction=reduction, label_smoothing=0.1), Z, LABELS)
    check(lambda z, y: F.cross_entropy(z, y, reduction=reduction, label_smoothing=0.1), Z, P)
    check(lambda z, y: F.nll_loss(F.log_softmax(z, 1), y, reduction=reduction), Z, LABELS)


def test_cross_entropy_of_other_ranks() -> None:
    check(F.cross_entropy, Z[0], torch.tensor(2))
    check(F.cross_entropy, Z[0], P[0])
    deep = torch.randn(2, 3, 5, generator=DRAW, dtype=torch.float64)
    check(F.cross_entropy, deep, LABELS[:5].clamp(max=2).expand(2, 5))
    check(F.cross_entropy, deep, torch.softmax(deep, 1))


@REDUCTION
def test_binary_cross_entropy(reduction: str) -> None:
    loss = F.binary_cross_entropy_with_logits
    weight, pos = torch.rand(4, dtype=torch.float64), torch.tensor([2.0, 0.5, 1, 3]).double()
    check(lambda z, y: loss(z, y, reduction=reduction), Z, BITS)
    check(lambda z, y: loss(z, y, weight=weight, pos_weight=pos, reduction=reduction), Z, BITS)
    check(lambda z, y: loss(z * 300, y, reduction=reduction), Z, BITS)


SMOOTH = {
    "softmax": lambda z: torch.softmax(z, 1) ** 2, "sigmoid": torch.sigmoid,
    "log_softmax": lambda z: torch.log_softmax(z, 0) ** 2, "softplus": F.softplus,
    "logsumexp": lambda z: torch.logsumexp(z, 1), "logsumexp pair": lambda z: torch.logsumexp(
        z, (0, 1)), "logaddexp": lambda z: torch.logaddexp(z, z * 0.5), "silu": F.silu,
    "logsigmoid": F.logsigmoid, "clamp": lambda z: z.clamp(-1, 2) ** 2, "var": lambda z: z.var(0),
    "std": lambda z: z.std(), "norm": lambda z: torch.linalg.vector_norm(z, dim=1),
    "gather": lambda z: z.gather(1, LABELS[:, None]) ** 3, "mean": lambda z: z.mean(1) ** 3,
    "rows": lambda z: z[LABELS] ** 3, "matmul": lambda z: (z.T @ z) ** 2,
    "where": lambda z: torch.where(z > 0, z.exp(), z**2), "amax": lambda z: z.amax(1) ** 2,
    "slices": lambda z: z[1:, ::2] ** 2 * z[:-1, 1:3], "pow": lambda z: z.abs() ** 2.5,
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_of_composites(name: str) -> None:
    check(SMOOTH[name], Z)


def test_no_overflow_far_out() -> None:
    z = torch.tensor([[1000.0, -1000.0, 0.0], [-torch.inf, 1.0, 2.0]], dtype=torch.float64)
    check(lambda z: torch.logsumexp(z, 1), z)
    check(lambda z: torch.softmax(z, 1), z)
    check(F.cross_entropy, z, torch.tensor([1, 2]))
    check(F.binary_cross_entropy_with_logits, z[0], torch.tensor([0.0, 1.0, 0.5]).double())


def test_the_norm_of_zero_has_a_finite_gradient() -> None:
    def fn(z: Any) -> Any:
        return gradients(composites.norm(z), [z])[0]

    np.testing.assert_array_equal(values(fn, np.zeros(3))[0], np.zeros(3))


def test_labels_that_are_an_argument_are_promised_to_be_classes() -> None:
    def fn(z: Any, y: Any) -> Any:
        return F.cross_entropy(z, y) + F.cross_entropy(z * 2, y)

    graph = trace(fn, (Z, LABELS), dynamic=("z", "y")).graph
    assert [(r.node, r.low, r.high) for r in graph.ranges] == [(graph.inputs[1], 0, 4)]


def test_mean_divides_by_the_size_of_the_call() -> None:
    graph = trace(lambda w, z: (z * w).mean(), (1.0, Z)).graph
    assert np.isclose(evaluate(graph, [1.0, Z[:5]])[0], Z[:5].mean())
    graph = trace(lambda w, z: F.cross_entropy(z * w, z * w), (1.0, Z)).graph
    assert np.isclose(evaluate(graph, [1.0, Z[:1]])[0], F.cross_entropy(Z[:1], Z[:1]))


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.huber_loss])
def test_shapes_that_broadcast_by_accident_are_refused(loss: Any) -> None:
    def fn(w: Any, x: Any, y: Any) -> Any:
        return loss(x @ w, y)

    with pytest.raises(ShapeError) as caught:
        trace(fn, (torch.randn(3, 1), torch.randn(5, 3), torch.randn(5)))
    assert "predictions (n, 1) and targets (n,) would broadcast to (n, n)" in caught.value.message
    assert "prediction.squeeze(-1)" in str(caught.value.hint)
    assert caught.value.location is not None
    assert caught.value.location.line == fn.__code__.co_firstlineno + 1


@pytest.mark.parametrize(
    ("fn", "kind", "message", "hint"),
    [
        (lambda z: F.mse_loss(z[:, 0], z[:, :1]), ShapeError, "(6,) and targets (6, 1)",
         "target.squeeze(-1)"),
        (lambda z: F.mse_loss(z, z[:2]), ShapeError, "(6, 4) and targets (2, 4) differ", "one sh"),
        (lambda z: F.mse_loss(z, z, reduction="avg"), UnsupportedError, "reduction='avg'", "mean"),
        (lambda z: F.cross_entropy(z, z[:, 0]), DTypeError, "must hold integers", "index.long()"),
        (lambda z: F.cross_entropy(z, z.long()), ShapeError, "(6, 4) and targets (6, 4)", "(6,)"),
        (lambda z: F.cross_entropy(z, LABELS[:5]), ShapeError, "targets (5,)", "class indices"),
        (lambda z: F.cross_entropy(z, LABELS, weight=torch.ones(3)), ShapeError, "4 classes",
         "each class"),
        (lambda z: F.binary_cross_entropy_with_logits(z, z[0]), ShapeError, "differ|broadcast",
         "one shape"),
    ],
)  # fmt: skip
def test_errors(fn: Any, kind: type[Exception], message: str, hint: str) -> None:
    with pytest.raises(kind) as caught:
        trace(fn, (Z,))
    error: Any = caught.value
    assert any(m in error.message for m in message.split("|"))
    assert hint in (error.hint or "")
    assert error.location.line == fn.__code__.co_firstlineno
