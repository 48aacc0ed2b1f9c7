"""`grad` and `value_and_grad`: call shapes as torch.func's, kinds of arrays, composition."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graphir.errors import DTypeError, GraphirError, ShapeError
from graphir.evaluate import evaluate
from graphir.simplify import simplify
from graphir.tracing import trace
from graphir.transforms import grad, value_and_grad
from graphir.verify import verify

Array = Any


def loss(params: Any, x: Array, y: Array) -> Array:
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


def data(dtype: torch.dtype = torch.float64) -> tuple[Any, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, generator=rng, dtype=dtype)
    y = torch.randn(7, generator=rng, dtype=dtype)
    return (torch.randn(3, generator=rng, dtype=dtype), torch.tensor(0.5, dtype=dtype)), x, y


def test_torch_in_torch_out_as_torch_func() -> None:
    params, x, y = data()
    value, (dw, db) = value_and_grad(loss)(params, x, y)
    (ew, eb), expected = torch.func.grad_and_value(loss)(params, x, y)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(dw, ew)
    torch.testing.assert_close(db, eb)


def test_dtype_and_device_are_the_arguments() -> None:
    params, x, y = data(torch.float32)
    dw, db = grad(loss)(params, x, y)
    assert dw.dtype == db.dtype == torch.float32
    assert dw.device == x.device


def test_numpy_in_numpy_out() -> None:
    (w, b), x, y = data(torch.float32)
    dw, db = grad(loss)((w.numpy(), b.numpy()), x.numpy(), y.numpy())
    expected, _ = torch.func.grad(loss)((w, b), x, y)
    assert isinstance(dw, np.ndarray)
    assert isinstance(db, np.ndarray)
    assert dw.dtype == np.float32
    np.testing.assert_allclose(dw, expected.numpy(), rtol=1e-5)


def test_python_numbers() -> None:
    value, slope = value_and_grad(lambda x: x**3)(2.0)
    assert (value, slope) == (8.0, 12.0)
    assert isinstance(slope, float)


def test_argnums() -> None:
    params, x, y = data()
    dx = grad(loss, argnums=1)(params, x, y)
    torch.testing.assert_close(dx, torch.func.grad(loss, argnums=1)(params, x, y))
    both = grad(loss, argnums=(2, 0))(params, x, y)
    assert isinstance(both, tuple)
    torch.testing.assert_close(both[0], torch.func.grad(loss, argnums=2)(params, x, y))
    torch.testing.assert_close(both[1][0], torch.func.grad(loss)(params, x, y)[0])
    torch.testing.assert_close(grad(loss, argnums=-1)(params, x, y), both[0])
    (only,) = grad(loss, argnums=(1,))(params, x, y)
    torch.testing.assert_close(only, dx)


@pytest.mark.parametrize("argnums", [3, -4, (0, 3), ()])
def test_argnums_that_are_not_there(argnums: Any) -> None:
    with pytest.raises(GraphirError, match="does not name an argument: there are 3"):
        grad(loss, argnums)(*data())


def test_aux() -> None:
    def with_aux(w: Array, x: Array) -> tuple[Array, dict[str, Array]]:
        r = x @ w
        return (r * r).sum(), {"r": r, "big": r > 0}

    params, x, _ = data()
    w = params[0]
    (value, aux), dw = value_and_grad(with_aux, has_aux=True)(w, x)
    torch.testing.assert_close(value, ((x @ w) ** 2).sum())
    torch.testing.assert_close(dw, 2 * x.T @ (x @ w))
    torch.testing.assert_close(aux["r"], x @ w)
    assert aux["big"].dtype == torch.bool
    dw2, aux2 = grad(with_aux, has_aux=True)(w, x)
    torch.testing.assert_close(dw2, dw)
    torch.testing.assert_close(aux2["r"], aux["r"])
    with pytest.raises(ShapeError, match=r"a function that returns \(value, aux\), got"):
        grad(lambda w: (w * w).sum(), has_aux=True)(w)


class Layer(NamedTuple):
    w: Array
    b: Array


def test_trees() -> None:
    def f(model: dict[str, Any], x: Array) -> Array:
        hidden = torch.tanh(x @ model["first"].w + model["first"].b)
        return (hidden @ model["rest"][0]).sum()

    rng = torch.Generator().manual_seed(0)
    model = {
        "first": Layer(torch.randn(3, 4, generator=rng), torch.randn(4, generator=rng)),
        "rest": [torch.randn(4, generator=rng)],
    }
    x = torch.randn(5, 3, generator=rng)
    found = grad(f)(model, x)
    expected = torch.func.grad(f)(model, x)
    assert isinstance(found["first"], Layer)
    torch.testing.assert_close(found, expected)


def test_keyword_arguments() -> None:
    def f(x: Array, *, scale: Array, power: int = 2) -> Array:
        return (scale * x**2).sum()

    x = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(grad(f)(x, scale=torch.tensor([3.0, 1.0])), torch.tensor([6.0, 4.0]))


def test_names_are_kept() -> None:
    assert grad(loss).__name__ == "loss"
    assert value_and_grad(loss).__doc__ == loss.__doc__
    assert grad(functools.partial(loss, y=0.0))


# -- composition ----------------------------------------------------------------------------------


def test_second_and_third_derivatives() -> None:
    def f(x: Array) -> Array:
        return torch.sin(x) * x**3

    x = torch.tensor(0.7, dtype=torch.float64)
    ours, theirs = f, f
    for _ in range(3):
        ours, theirs = grad(ours), torch.func.grad(theirs)
        torch.testing.assert_close(ours(x), theirs(x))


def test_hessian_vector_product() -> None:
    params, x, y = data()
    w, b = params
    v = torch.ones_like(w)

    def f(w: Array) -> Array:
        return F.softplus(x @ w + b - y).sum()

    def directional(g: Callable[..., Any]) -> Callable[..., Any]:
        return lambda w: (g(w) * v).sum()

    torch.testing.assert_close(
        grad(directional(grad(f)))(w), torch.func.grad(directional(torch.func.grad(f)))(w)
    )


@pytest.mark.parametrize("inner", [1.0, None])
def test_perturbations_are_not_confused(inner: float | None) -> None:
    """d/dx [x * d/dy (x + y)] is d/dx [x * 1], also where y is given the value of x."""
    found = grad(lambda x: x * grad(lambda y: x + y)(x if inner is None else inner))(3.0)
    assert found == 1.0


def test_closed_over_uses_are_not_the_argument_s() -> None:
    # d/dx [x * d/dy (x * y) at y = x] = d/dx [x * x] = 2x, and not d/dx [x * 2x].
    assert grad(lambda x: x * grad(lambda y: x * y)(x))(3.0) == 6.0


def test_two_gradients_with_respect_to_one_value() -> None:
    def f(x: Array) -> Array:
        return grad(lambda a: a * a)(x) * grad(lambda a: a * a * a)(x)

    assert f(2.0) == 4.0 * 12.0
    assert grad(f)(2.0) == 18.0 * 4.0


def test_inside_a_trace_it_joins_the_graph() -> None:
    params, x, y = data()
    traced = trace(value_and_grad(loss), (params, x, y))
    graph = traced.graph
    verify(graph, "trace")
    assert {p.reason for p in graph.pruned} == {
        "`x` is data: no gradient was asked for it",
        "`y` is data: no gradient was asked for it",
    }
    small = simplify(graph, check=True)
    assert all(n.op != "copy" for n in small.nodes)
    # Forward and backward: one product with X each.
    assert sum(n.op == "contract" for n in small.live()) == 2
    for rows in (1, 7):
        value, dw, db = evaluate(small, [*params, x[:rows], y[:rows]])
        expected, (ew, eb) = value_and_grad(loss)(params, x[:rows], y[:rows])
        for a, b in zip((value, dw, db), (expected, ew, eb), strict=True):
            np.testing.assert_allclose(a, b)


def test_a_parameter_that_the_loss_never_uses() -> None:
    def f(p: dict[str, Array], x: Array) -> Array:
        return (p["w"] * x).sum()

    p = {"w": torch.ones(3), "extra": torch.ones(2, 2)}
    assert torch.equal(grad(f)(p, torch.ones(3))["extra"], torch.zeros(2, 2))
    graph = trace(grad(f), (p, torch.ones(3)), dynamic=()).graph
    assert graph.notes == ["parameter `p['extra']` does not reach the loss: its gradient is zero"]


def test_stop_gradient() -> None:
    found = grad(lambda x: (x * x.detach()).sum())(torch.tensor([3.0]))
    torch.testing.assert_close(found, torch.tensor([3.0]))


# -- errors ---------------------------------------------------------------------------------------


def test_an_integer_leaf_is_named() -> None:
    params = {"w": torch.ones(3), "steps": torch.tensor(3)}
    with pytest.raises(DTypeError, match=r"`params\['steps'\]` is int64: only floating"):
        grad(lambda params: (params["w"] * 2).sum())(params)
    with pytest.raises(DTypeError, match="`k` is int64"):
        grad(lambda k: k * 2.0)(3)


def test_a_vector_valued_function() -> None:
    with pytest.raises(ShapeError, match=r"a scalar output, got shape \(3,\)\D+test_transforms"):
        grad(lambda x: x * x)(torch.ones(3))


def test_a_result_that_is_no_value() -> None:
    with pytest.raises(ShapeError, match="returns one scalar, got tuple"):
        grad(lambda x: (x.sum(), x))(torch.ones(3))


def test_an_integer_valued_function() -> None:
    with pytest.raises(DTypeError, match="a floating output, got"):
        grad(lambda x: (x > 0).sum())(torch.ones(3))


def test_a_function_of_nothing() -> None:
    with pytest.raises(GraphirError, match="does not name an argument: there are 0"):
        grad(lambda: 1.0)()


def test_a_constant_function_has_a_zero_gradient() -> None:
    assert torch.equal(grad(lambda x: 1.0)(torch.ones(3)), torch.zeros(3))


@pytest.mark.parametrize("closed", [torch.ones(3).sum(), np.ones((2, 2)).sum(), np.float32(2)])
def test_what_depends_on_closed_over_arrays_alone(closed: Any) -> None:
    x = torch.ones(3) if isinstance(closed, torch.Tensor) else np.ones(3)
    np.testing.assert_array_equal(grad(lambda x: closed)(x), np.zeros(3))
