"""Compiled and transformed functions under torch's autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import graphir

BACKENDS = pytest.mark.parametrize("backend", ["reference", "c", "interpret"])


def draw(*shapes: tuple[int, ...], seed: int = 0, tracked: bool = True) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [
        torch.randn(s, generator=rng, dtype=torch.float64).requires_grad_(tracked) for s in shapes
    ]


def loss(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    w, b = params
    return F.mse_loss(torch.tanh(x @ w) + b, y)


def gradients(
    fn: Callable[..., Any], args: Any, wrt: list[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(fn(*args), wrt)


@BACKENDS
def test_backward_is_torch_s(backend: str) -> None:
    compiled = graphir.compile(loss, backend=backend)
    w, b = draw((3,), ())
    for rows in (5, 8, 1):
        x, y = draw((rows, 3), (rows,), seed=rows, tracked=False)
        compiled((w, b), x, y).backward()
        found = w.grad, b.grad
        w.grad = b.grad = None
        torch.testing.assert_close(found, gradients(loss, ((w, b), x, y), [w, b]))
    assert len(compiled.entries) == 1


@BACKENDS
def test_only_what_is_tracked_has_a_gradient(backend: str) -> None:
    compiled = graphir.compile(loss, backend=backend)
    w, b, x, y = draw((3,), (), (5, 3), (5,))
    b = b.detach()
    found = gradients(compiled, ((w, b), x, y.detach()), [x, w])
    torch.testing.assert_close(found, gradients(loss, ((w, b), x, y.detach()), [x, w]))
    compiled((w, b), x, y.detach()).backward()
    assert b.grad is None


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_first_and_second_derivatives_by_torch_s_own_check(backend: str) -> None:
    compiled = graphir.compile(lambda w, x: torch.sin(x @ w) * x.sum(1), backend=backend)
    w, x = draw((3,), (4, 3))
    assert torch.autograd.gradcheck(compiled, (w, x))
    assert torch.autograd.gradgradcheck(compiled, (w, x))


@BACKENDS
def test_several_outputs(backend: str) -> None:
    def fn(x: torch.Tensor, k: float) -> Any:
        return {"y": x * k, "parts": (x.sum(), x > 0), "scale": k}

    compiled = graphir.compile(fn, backend=backend, dynamic=())
    (x,) = draw((4,))
    found = compiled(x, 3.0)
    assert not found["parts"][1].requires_grad
    assert found["scale"] == 3.0
    # One output alone has a cotangent, then both.
    (found["y"] ** 2).sum().backward()
    torch.testing.assert_close(x.grad, 18 * x.detach())
    found = compiled(x, 3.0)
    (dx,) = torch.autograd.grad(found["y"].sum() + 2 * found["parts"][0], x)
    torch.testing.assert_close(dx, torch.full((4,), 5.0, dtype=torch.float64))


@BACKENDS
def test_tensors_closed_over(backend: str) -> None:
    layer = torch.nn.Linear(3, 2, dtype=torch.float64)
    compiled = graphir.compile(lambda x: torch.relu(layer(x)).sum(), backend=backend)
    (x,) = draw((5, 3), tracked=False)
    for _ in range(2):
        found = torch.autograd.grad(compiled(x), list(layer.parameters()))
        expected = torch.autograd.grad(torch.relu(layer(x)).sum(), list(layer.parameters()))
        torch.testing.assert_close(found, expected)
        # What an optimizer does: the next call reads the new values.
        with torch.no_grad():
            for p in layer.parameters():
                p -= 0.1


def test_inside_a_torch_model_and_its_training_loop() -> None:
    @graphir.compile(backend="c")
    def block(h: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(h) * gain

    def losses(activation: Callable[..., Any]) -> list[float]:
        torch.manual_seed(0)
        first, last = torch.nn.Linear(3, 8).double(), torch.nn.Linear(8, 1).double()
        gain = torch.nn.Parameter(torch.ones(8, dtype=torch.float64))
        adam = torch.optim.Adam([*first.parameters(), *last.parameters(), gain], lr=0.01)
        x, y = draw((16, 3), (16, 1), tracked=False)
        seen = []
        for _ in range(20):
            adam.zero_grad()
            value = F.mse_loss(last(activation(first(x), gain)), y)
            value.backward()
            adam.step()
            seen.append(value.item())
        return seen

    np.testing.assert_allclose(
        losses(block), losses(lambda h, gain: torch.sigmoid(h) * gain), rtol=1e-10
    )


def test_torch_func_goes_through() -> None:
    compiled = graphir.compile(loss, backend="c")
    w, b, x, y = draw((3,), (), (5, 3), (5,), tracked=False)
    found = torch.func.grad(lambda w: compiled((w, b), x, y))(w)
    torch.testing.assert_close(found, torch.func.grad(lambda w: loss((w, b), x, y))(w))


def test_without_gradients_nothing_is_tracked() -> None:
    compiled = graphir.compile(loss, backend="reference")
    w, b, x, y = draw((3,), (), (5, 3), (5,))
    with torch.no_grad():
        assert not compiled((w, b), x, y).requires_grad
    assert compiled((w, b), x, y).requires_grad
    assert not compiled((w.detach(), b.detach()), x.detach(), y.detach()).requires_grad


def test_writing_into_an_argument_before_backward_is_seen() -> None:
    compiled = graphir.compile(lambda w, x: (x @ w).sum(), backend="reference")
    w, x = draw((3,), (5, 3))
    data = x.detach().clone()
    value = compiled(w, data)
    data += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_numpy_results_are_not_detached_silently() -> None:
    (w,) = draw((3,))
    compiled = graphir.compile(lambda x: x @ w, backend="reference")
    with pytest.raises(graphir.UnsupportedError, match="closes over a tensor that requires"):
        compiled(np.ones((2, 3)))
    with pytest.raises(graphir.UnsupportedError, match="closes over a tensor that requires"):
        graphir.jacrev(lambda x: (x @ w).sum())(np.ones((2, 3)))
    with torch.no_grad():
        np.testing.assert_allclose(compiled(np.ones((2, 3))), [w.detach().sum()] * 2)


# -- transformations called on tensors ------------------------------------------------------------


def test_a_gradient_is_differentiable_by_torch() -> None:
    w, x = draw((3,), (4, 3))

    def fn(w: torch.Tensor) -> torch.Tensor:
        return torch.sin(x @ w).sum()

    found = graphir.grad(fn)(w)
    expected = torch.func.grad(fn)(w)
    torch.testing.assert_close(found, expected)
    # By the argument and by what is closed over.
    torch.testing.assert_close(
        torch.autograd.grad((found**2).sum(), [w, x]),
        torch.autograd.grad((expected**2).sum(), [w, x]),
    )


def test_vmap_and_jacobians_are_differentiable_by_torch() -> None:
    w, x = draw((3,), (4, 3))
    torch.autograd.gradcheck(graphir.vmap(lambda x, w: torch.tanh(x @ w), (0, None)), (x, w))
    torch.autograd.gradgradcheck(graphir.jacfwd(lambda x: torch.tanh(x @ w)), (x,))
