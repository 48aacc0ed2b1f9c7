"""jacrev, jacfwd, hessian, jvp and vjp: the textbook's tables, and torch.func's results."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from functions import FUNCTIONS, Function

import graphir
from graphir.errors import DTypeError, GraphirError, ShapeError

Array = Any
BOTH = pytest.mark.parametrize("jacobian", [graphir.jacrev, graphir.jacfwd])
N, K, M, L = 3, 4, 2, 5
RNG = np.random.default_rng(0)
A = RNG.normal(size=(M, N))
B = RNG.normal(size=(N, M))
W = RNG.normal(size=N)


def textbook(jacobian: Callable[..., Any], fn: Callable[..., Any], x: Array) -> Array:
    """dy/dx in numerator layout."""
    return np.asarray(jacobian(fn, layout="numerator")(x))


def close(found: Array, expected: Array) -> None:
    expected = np.asarray(expected)
    assert np.shape(found) == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# -- the table of shapes --------------------------------------------------------------------------

POINTS = {(): np.asarray(0.7), (N,): RNG.normal(size=N), (N, K): RNG.normal(size=(N, K))}
MADE = {(): np.asarray(2.0), (M,): RNG.normal(size=M), (M, L): RNG.normal(size=(M, L))}


@BOTH
@pytest.mark.parametrize(
    ("y", "x", "shape"),
    [
        ((), (), ()), ((), (N,), (N,)), ((), (N, K), (K, N)),
        ((M,), (), (M,)), ((M,), (N,), (M, N)), ((M,), (N, K), (M, K, N)),
        ((M, L), (), (M, L)), ((M, L), (N,), (M, L, N)), ((M, L), (N, K), (M, L, K, N)),
    ],
)  # fmt: skip
def test_shapes(jacobian: Any, y: Any, x: Any, shape: Any) -> None:
    weights, point = MADE[y], POINTS[x]
    found = textbook(jacobian, lambda x: weights * np.sin(x).sum(), point)
    assert found.shape == shape
    # Entry (i.., j.., reversed) is weights[i..] * cos(x[j..]).
    expected = np.multiply.outer(weights, np.cos(point).T)
    close(found, expected)
    in_torch = jacobian(lambda x: weights * np.sin(x).sum())(point)
    assert np.shape(in_torch) == (*y, *x)


# -- scalar by vector -----------------------------------------------------------------------------

X = RNG.normal(size=N)


def u(x: Array) -> Array:
    return np.sin(x).sum()


def v(x: Array) -> Array:
    return (x**2 * W).sum()


DU, DV = np.cos(X), 2 * X * W
VECTOR_U, VECTOR_V = (lambda x: np.sin(B.T @ x)), (lambda x: (B.T @ x) ** 2)
JU = np.cos(B.T @ X)[:, None] * B.T
JV = 2 * (B.T @ X)[:, None] * B.T


@BOTH
@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        pytest.param(lambda x: 0 * x.sum() + 5.0, np.zeros(N), id="constant"),
        pytest.param(lambda x: 3.0, np.zeros(N), id="constant-number"),
        pytest.param(lambda x: 4.0 * u(x), 4.0 * DU, id="a*u"),
        pytest.param(lambda x: x.sum(), np.ones(N), id="sum"),
        pytest.param(lambda x: np.linalg.norm(x) ** 2, 2 * X, id="norm-squared"),
        pytest.param(lambda x: u(x) + v(x), DU + DV, id="u+v"),
        pytest.param(lambda x: u(x) * v(x), DU * v(X) + DV * u(X), id="u*v"),
        pytest.param(
            lambda x: np.dot(VECTOR_U(x), VECTOR_V(x)),
            VECTOR_U(X) @ JV + VECTOR_V(X) @ JU,
            id="inner",
        ),
    ],
)
def test_scalar_by_vector(jacobian: Any, fn: Any, expected: Array) -> None:
    close(textbook(jacobian, fn, X), expected)


# -- vector by vector -----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        pytest.param(lambda x: 0 * x + 1.0, np.zeros((N, N)), id="constant"),
        pytest.param(lambda x: x, np.eye(N), id="x"),
        pytest.param(lambda x: A @ x, A, id="Ax"),
        pytest.param(lambda x: x @ B, B.T, id="xA"),
        pytest.param(lambda x: 4.0 * VECTOR_U(x), 4.0 * JU, id="a*u"),
        pytest.param(lambda x: B @ VECTOR_U(x), B @ JU, id="Au"),
        pytest.param(lambda x: VECTOR_U(x) + VECTOR_V(x), JU + JV, id="u+v"),
    ],
)
def test_vector_by_vector(jacobian: Any, fn: Any, expected: Array) -> None:
    close(textbook(jacobian, fn, X), expected)


# -- the chain rule -------------------------------------------------------------------------------


@BOTH
def test_chain_rule_for_one_example(jacobian: Any) -> None:
    y = 0.3
    found = textbook(jacobian, lambda w: (np.dot(X, w) - y) ** 2, W)
    close(found, 2 * (X @ W - y) * X)


@BOTH
def test_chain_rule_for_many_examples(jacobian: Any) -> None:
    rows, y = RNG.normal(size=(M, N)), RNG.normal(size=M)
    found = textbook(jacobian, lambda w: np.linalg.norm(rows @ w - y) ** 2, W)
    close(found, 2 * (rows @ W - y) @ rows)


@BOTH
def test_chains_multiply_their_jacobians(jacobian: Any) -> None:
    def inner(x: Array) -> Array:
        return np.tanh(A @ x)

    def outer(z: Array) -> Array:
        return np.exp(B @ z)

    whole = textbook(jacobian, lambda x: outer(inner(x)), X)
    close(whole, textbook(jacobian, outer, inner(X)) @ textbook(jacobian, inner, X))


@BOTH
@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        pytest.param(lambda x: x**5, 5 * 0.7**4, id="power"),
        pytest.param(np.exp, math.exp(0.7), id="exp"),
        pytest.param(np.log, 1 / 0.7, id="log"),
        pytest.param(np.sin, math.cos(0.7), id="sin"),
        pytest.param(lambda x: np.sin(x) + x**2, math.cos(0.7) + 1.4, id="sum"),
        pytest.param(
            lambda x: np.sin(x) * np.exp(x),
            math.exp(0.7) * (math.sin(0.7) + math.cos(0.7)),
            id="product",
        ),
        pytest.param(
            lambda x: np.sin(x) / x,
            (math.cos(0.7) * 0.7 - math.sin(0.7)) / 0.49,
            id="quotient",
        ),
        pytest.param(lambda x: np.sin(np.exp(x)), math.cos(math.exp(0.7)) * math.exp(0.7),
                     id="chain"),
    ],
)  # fmt: skip
def test_scalar_rules(jacobian: Any, fn: Any, expected: float) -> None:
    close(textbook(jacobian, fn, np.asarray(0.7)), expected)


@BOTH
def test_softmax(jacobian: Any) -> None:
    def softmax(x: Array) -> Array:
        e = np.exp(x - x.max())
        return e / e.sum()

    s = softmax(X)
    close(textbook(jacobian, softmax, X), np.diag(s) - np.outer(s, s))


@BOTH
@pytest.mark.parametrize(
    ("fn", "at_zero"),
    [
        (torch.relu, 0.0),
        (torch.abs, 0.0),
        (lambda x: torch.maximum(x, torch.zeros_like(x)), 0.5),
    ],
)
def test_subgradients_at_zero(jacobian: Any, fn: Any, at_zero: float) -> None:
    zero = torch.tensor(0.0, dtype=torch.float64)
    assert jacobian(fn)(zero) == torch.func.jacrev(fn)(zero) == at_zero


# -- against torch.func ---------------------------------------------------------------------------

EVERY = pytest.mark.parametrize("function", FUNCTIONS, ids=str)


@EVERY
@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
def test_jacobians_are_torch_s(function: Function, name: str) -> None:
    args = function.arguments()
    argnums: Any = tuple(range(len(args)))
    found = getattr(graphir, name)(function.fn, argnums)(*args)
    torch.testing.assert_close(found, torch.func.jacrev(function.fn, argnums)(*args))


@EVERY
def test_hessians_are_torch_s(function: Function) -> None:
    args = function.arguments(1)
    found = graphir.hessian(function.fn)(*args)
    expected = torch.func.jacrev(torch.func.jacrev(function.fn))(*args)
    torch.testing.assert_close(found, expected)


@EVERY
def test_products_are_torch_s(function: Function) -> None:
    args, tangents = function.arguments(), function.arguments(7)
    found = graphir.jvp(function.fn, args, tangents)
    torch.testing.assert_close(found, torch.func.jvp(function.fn, args, tangents))
    out, pull = graphir.vjp(function.fn, *args)
    expected, torch_pull = torch.func.vjp(function.fn, *args)
    torch.testing.assert_close(out, expected)
    # The result serves as the cotangent: it has the right structure.
    torch.testing.assert_close(pull(expected), torch_pull(expected))


# -- call shapes ----------------------------------------------------------------------------------


def test_argnums_and_trees() -> None:
    def fn(params: Any, x: Array) -> Any:
        return {"y": x @ params["w"] + params["b"], "n": (params["w"] ** 2).sum()}

    rng = torch.Generator().manual_seed(0)
    params = {
        "w": torch.randn(3, 2, generator=rng, dtype=torch.float64),
        "b": torch.randn(2, generator=rng, dtype=torch.float64),
    }
    x = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    for argnums in (0, 1, (0,), (1, 0), -1):
        for ours in (graphir.jacrev, graphir.jacfwd):
            found = ours(fn, argnums)(params, x)
            torch.testing.assert_close(found, torch.func.jacrev(fn, argnums)(params, x))


def test_aux() -> None:
    x = torch.tensor([1.0, 2.0])

    def fn(x: Array) -> Any:
        return x * x, {"sum": x.sum(), "k": 3}

    for jacobian in (graphir.jacrev, graphir.jacfwd):
        found, aux = jacobian(fn, has_aux=True)(x)
        assert torch.equal(found, torch.diag(2 * x))
        assert torch.equal(aux["sum"], x.sum())
        assert aux["k"] == 3
    value, moved, aux = graphir.jvp(fn, (x,), (torch.ones(2),), has_aux=True)
    assert torch.equal(moved, 2 * x)
    assert torch.equal(aux["sum"], x.sum())
    value, pull, aux = graphir.vjp(fn, x, has_aux=True)
    assert torch.equal(value, x * x)
    assert torch.equal(pull(torch.ones(2))[0], 2 * x)
    assert torch.equal(aux["sum"], x.sum())


def test_python_numbers() -> None:
    assert graphir.jvp(lambda x: x**3, (2.0,), (1.0,)) == (8.0, 12.0)
    value, pull = graphir.vjp(lambda x, y: x * y, 2.0, 3.0)
    assert (value, pull(1.0)) == (6.0, (3.0, 2.0))
    assert graphir.hessian(lambda x: x**3)(2.0) == 12.0


def test_pull_inside_a_trace() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)

    def fn(x: Array) -> Array:
        return torch.sin(x) * x.sum()

    def jacobian(x: Array) -> Array:
        _, pull = graphir.vjp(fn, x)
        return graphir.vmap(pull)(torch.eye(3, dtype=torch.float64))[0]

    torch.testing.assert_close(jacobian(x), torch.func.jacrev(fn)(x))
    compiled = graphir.compile(jacobian, backend="reference")
    torch.testing.assert_close(compiled(x), torch.func.jacrev(fn)(x))


@EVERY
def test_forward_over_forward_and_reverse_over_forward(function: Function) -> None:
    args = function.arguments(3)
    expected = torch.func.jacrev(torch.func.jacrev(function.fn))(*args)
    for outer, inner in (
        (graphir.jacfwd, graphir.jacfwd),
        (graphir.jacrev, graphir.jacfwd),
        (graphir.jacrev, graphir.jacrev),
    ):
        torch.testing.assert_close(outer(inner(function.fn))(*args), expected)


def test_perturbations_are_not_confused() -> None:
    def fn(x: Array) -> Array:
        inner = graphir.jvp(lambda y: x * y, (x,), (1.0,))[1]
        return x * inner

    # d/dx [x * d/dy (x*y)] = d/dx [x * x] = 2x.
    assert graphir.jvp(fn, (3.0,), (1.0,)) == (9.0, 6.0)
    assert graphir.grad(fn)(3.0) == 6.0


def test_forward_mode_is_pruned() -> None:
    x = torch.ones(3)
    graph = graphir.trace(lambda x, y: graphir.jvp(lambda x: torch.sin(x) + torch.exp(y), (x,),
                                                   (x,)), x, x, dynamic=())  # fmt: skip
    assert sum(n.op == "cos" for n in graph.live()) == 1
    # y does not move, so exp(y) has no tangent: nothing multiplies it.
    assert sum(n.op == "mul" for n in graph.live()) == 1


# -- errors ---------------------------------------------------------------------------------------


def test_errors() -> None:
    x = torch.ones(3)
    with pytest.raises(ShapeError, match=r"`tangents\[0\]` must have the shape \(3,\).*\(2,\)"):
        graphir.jvp(lambda x: x, (x,), (torch.ones(2),))
    with pytest.raises(ShapeError, match="must have the structure of the values"):
        graphir.jvp(lambda x: x, (x,), (x, x))
    with pytest.raises(DTypeError, match="must be float32 as its value, got float64"):
        graphir.jvp(lambda x: x, (x,), (x.double(),))
    _, pull = graphir.vjp(lambda x: x.sum(), x)
    with pytest.raises(ShapeError, match=r"`cotangents` must have the shape \(\)"):
        pull(x)
    with pytest.raises(DTypeError, match="`x` is int64: only floating"):
        graphir.jacrev(lambda x: x * 1.0)(torch.ones(3, dtype=torch.int64))
    with pytest.raises(DTypeError, match="a floating output"):
        graphir.jacfwd(lambda x: x > 0)(x)
    with pytest.raises(GraphirError, match="does not name an argument"):
        graphir.jacrev(lambda x: x, 1)(x)
    with pytest.raises(GraphirError, match="there is no layout 'denominator'"):
        graphir.jacrev(lambda x: x, layout="denominator")  # type: ignore[arg-type]
