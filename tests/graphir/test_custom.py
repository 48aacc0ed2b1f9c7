"""custom_vjp: the user's rule in reverse mode, twice, in batches, compiled, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.simplify import simplify

Array = Any
X = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)


@graphir.custom_vjp
def softplus(x: Array) -> Array:
    return torch.log1p(torch.exp(x))


@softplus.defvjp
def _softplus_backward(residuals: Any, g: Array) -> Any:
    (x,) = residuals
    return (g / (1 + torch.exp(-x)),)


@graphir.custom_vjp
def doubled(x: Array, scale: Array) -> Array:
    """Its rule says twice the truth, so that one sees which was used."""
    return x * scale


doubled.defvjp(
    lambda x, scale: (x * scale, (x, scale)),
    lambda kept, g: (2 * g * kept[1], 2 * (g * kept[0]).sum()),
)
SCALE = torch.tensor(3.0, dtype=torch.float64)


def test_the_value_is_the_function_s() -> None:
    torch.testing.assert_close(softplus(X), torch.nn.functional.softplus(X))
    assert softplus.__name__ == "softplus"
    np.testing.assert_allclose(doubled(np.ones(2), 3.0), [3.0, 3.0])


def test_the_gradient_is_the_rule_s() -> None:
    found = graphir.grad(lambda x, s: doubled(x, s).sum(), (0, 1))(X, SCALE)
    torch.testing.assert_close(found, (2 * SCALE.expand(3), 2 * X.sum()))
    torch.testing.assert_close(graphir.grad(lambda x: softplus(x).sum())(X), torch.sigmoid(X))


def test_second_derivatives_are_those_of_the_rule() -> None:
    found = graphir.jacrev(graphir.jacrev(softplus))(X)
    s = torch.sigmoid(X)
    expected = torch.zeros(3, 3, 3, dtype=torch.float64)
    for i in range(3):
        expected[i, i, i] = s[i] * (1 - s[i])
    torch.testing.assert_close(found, expected)


def test_a_large_value_does_not_overflow_where_the_rule_does_not() -> None:
    found = graphir.grad(lambda x: softplus(x).sum())(torch.tensor([1000.0]))
    torch.testing.assert_close(found, torch.tensor([1.0]))


@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_compiled(backend: str) -> None:
    fn = graphir.value_and_grad(lambda x, s: doubled(softplus(x), s).sum())
    value, slope = graphir.compile(fn, backend=backend)(X, SCALE)
    torch.testing.assert_close(value, (torch.nn.functional.softplus(X) * SCALE).sum())
    torch.testing.assert_close(slope, 2 * SCALE * torch.sigmoid(X))


def test_nothing_of_it_is_left_in_a_simplified_graph() -> None:
    graph = graphir.trace(graphir.grad(lambda x: softplus(x).sum()), X, dynamic=())
    assert "custom_vjp" in {n.op for n in graph.nodes}
    assert "custom_vjp" not in {n.op for n in simplify(graph, check=True).nodes}


def test_in_a_batch() -> None:
    batch, scales = torch.stack([X, 2 * X]), torch.tensor([3.0, 5.0], dtype=torch.float64)

    def each(x: Array, s: Array) -> Any:
        return graphir.grad(lambda x, s: doubled(x, s).sum(), (0, 1))(x, s)

    found = graphir.vmap(each)(batch, scales)
    torch.testing.assert_close(found, (2 * scales[:, None].expand(2, 3), 2 * batch.sum(1)))

    # The other way round: the rule itself is carried over the batch.
    def total(batch: Array, scale: Array) -> Array:
        return graphir.vmap(doubled, (0, None))(batch, scale).sum()

    found = graphir.grad(total, (0, 1))(batch, SCALE)
    torch.testing.assert_close(found, (2 * SCALE.expand(2, 3), 2 * batch.sum()))
    nested = graphir.vmap(graphir.vmap(doubled, (0, None)), (0, None))
    found = graphir.grad(lambda x, s: nested(x, s).sum(), (0, 1))(batch[None], SCALE)
    torch.testing.assert_close(found, (2 * SCALE.expand(1, 2, 3), 2 * batch.sum()))


def test_trees_and_several_results() -> None:
    @graphir.custom_vjp
    def fn(params: Any, x: Array) -> Any:
        return {"y": x * params["w"], "z": params["w"].sum()}

    @fn.defvjp
    def backward(kept: Any, g: Any) -> Any:
        _, x = kept
        return {"w": 10 * g["y"] * x + 100 * g["z"]}, None

    def loss(params: Any, x: Array) -> Array:
        out = fn(params, x)
        return out["y"].sum() + out["z"]

    grads, dx = graphir.grad(loss, (0, 1))({"w": X}, X)
    torch.testing.assert_close(grads["w"], 10 * X + 100)
    torch.testing.assert_close(dx, torch.zeros_like(X))


def test_what_it_closes_over_is_differentiated_as_ever() -> None:
    def loss(w: Array, x: Array) -> Array:
        @graphir.custom_vjp
        def inner(x: Array) -> Array:
            return x * w

        inner.defvjp(lambda kept, g: (0 * g,))
        return inner(x).sum()

    dw, dx = graphir.grad(loss, (0, 1))(X, 2 * X)
    torch.testing.assert_close(dw, 2 * X)
    torch.testing.assert_close(dx, torch.zeros_like(X))


def test_under_torch_s_autograd() -> None:
    x = X.clone().requires_grad_()
    doubled(x, SCALE).sum().backward()
    torch.testing.assert_close(x.grad, 2 * SCALE.expand(3))
    x.grad = None
    graphir.compile(doubled, backend="reference")(x, SCALE).sum().backward()
    torch.testing.assert_close(x.grad, 2 * SCALE.expand(3))


# -- forward mode ---------------------------------------------------------------------------------


def test_forward_mode_needs_a_rule() -> None:
    with pytest.raises(graphir.UnsupportedError, match="`softplus` has a rule of reverse mode"):
        graphir.jacfwd(softplus)(X)
    # Where nothing flows through the function there is nothing to miss.
    _, moved = graphir.jvp(lambda x: x + softplus(torch.ones(3, dtype=X.dtype)), (X,), (X,))
    torch.testing.assert_close(moved, X)


def test_a_rule_of_forward_mode() -> None:
    @graphir.custom_vjp
    def fn(x: Array, y: Array) -> Array:
        return torch.sin(x) * y

    @fn.defvjp
    def backward(kept: Any, g: Array) -> Any:
        x, y = kept
        return g * torch.cos(x) * y, g * torch.sin(x)

    @fn.defjvp
    def forward(primals: Any, tangents: Any) -> Any:
        (x, y), (dx, dy) = primals, tangents
        return torch.sin(x) * y, dx * torch.cos(x) * y + torch.sin(x) * dy

    graphir.check_grads(fn, (X, 2 * X), order=2)
    each = graphir.vmap(graphir.jacfwd(fn), (0, None))(torch.stack([X, 2 * X]), X)
    torch.testing.assert_close(each[1], torch.diag(torch.cos(2 * X) * X))
    batch = torch.stack([X, 2 * X])
    found = graphir.jvp(graphir.vmap(fn, (0, None)), (batch, X), (batch, X))[1]
    torch.testing.assert_close(found, batch * torch.cos(batch) * X + torch.sin(batch) * X)


def test_check_grads_finds_a_wrong_rule() -> None:
    wrong = graphir.custom_vjp(lambda x: x**2)
    wrong.defvjp(lambda kept, g: (3 * g * kept[0],))
    wrong.defjvp(lambda primals, tangents: (primals[0] ** 2, 2 * primals[0] * tangents[0]))
    with pytest.raises(graphir.GradientError, match="first derivatives differ"):
        graphir.check_grads(wrong, (X,))


# -- errors ---------------------------------------------------------------------------------------


def test_errors() -> None:
    plain = graphir.custom_vjp(lambda x: x)
    with pytest.raises(graphir.GraphirError, match="has no rule of differentiation yet"):
        plain(X)
    with pytest.raises(graphir.GraphirError, match="takes backward, or forward and backward"):
        plain.defvjp()
    plain.defvjp(lambda kept, g: g)
    with pytest.raises(graphir.ShapeError, match="must return a tuple with a cotangent for each"):
        graphir.grad(lambda x: plain(x).sum())(X)
    plain.defvjp(lambda kept, g: (g.sum(),))
    with pytest.raises(graphir.ShapeError, match=r"returned f64\(\) for `x`, which is f64\(3,\)"):
        graphir.grad(lambda x: plain(x).sum())(X)
