"""vmap: batching rules against torch.func.vmap, nesting, axes, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from functions import FUNCTIONS, Function

import graphir
from graphir.errors import ShapeError, UnsupportedError

Array = Any
EVERY = pytest.mark.parametrize("function", FUNCTIONS, ids=str)


def in_torch(function: Function, in_dims: Any, *args: Any) -> Any:
    return torch.func.vmap(function.fn, in_dims)(*args)


@EVERY
def test_as_torch_s(function: Function) -> None:
    args = function.arguments(batch=(3,))
    torch.testing.assert_close(graphir.vmap(function.fn)(*args), in_torch(function, 0, *args))


@EVERY
def test_one_argument_mapped(function: Function) -> None:
    many, one = function.arguments(batch=(3,)), function.arguments(1)
    for i in range(len(one)):
        args = tuple(many[j] if i == j else one[j] for j in range(len(one)))
        dims = tuple(0 if i == j else None for j in range(len(one)))
        found = graphir.vmap(function.fn, dims)(*args)
        torch.testing.assert_close(found, in_torch(function, dims, *args))


@EVERY
def test_nested(function: Function) -> None:
    args = function.arguments(batch=(2, 3))
    found = graphir.vmap(graphir.vmap(function.fn))(*args)
    torch.testing.assert_close(found, torch.func.vmap(torch.func.vmap(function.fn))(*args))


@EVERY
def test_jacobian_of_each_example_and_of_the_batch(function: Function) -> None:
    args = function.arguments(2, batch=(3,))
    found = graphir.vmap(graphir.jacrev(function.fn))(*args)
    expected = torch.func.vmap(torch.func.jacrev(function.fn))(*args)
    torch.testing.assert_close(found, expected)
    found = graphir.jacfwd(graphir.vmap(function.fn))(*args)
    torch.testing.assert_close(found, torch.func.jacrev(torch.func.vmap(function.fn))(*args))


def test_gradient_of_each_example() -> None:
    rng = torch.Generator().manual_seed(0)
    w, x, y = (torch.randn(s, generator=rng, dtype=torch.float64) for s in ((3,), (5, 3), (5,)))

    def loss(w: Array, x: Array, y: Array) -> Array:
        return (x @ w - y) ** 2

    found = graphir.vmap(graphir.grad(loss), (None, 0, 0))(w, x, y)
    torch.testing.assert_close(found, 2 * (x @ w - y)[:, None] * x)


def test_axes_in_and_out() -> None:
    rng = torch.Generator().manual_seed(0)
    x, y = (torch.randn(s, generator=rng) for s in ((2, 5, 3), (3, 4, 5)))

    def fn(x: Array, y: Array) -> Any:
        return x @ y, {"sum": x.sum(0)}

    for in_dims, out_dims in (
        ((1, 2), (0, {"sum": 1})), ((1, -1), (2, 0)), ((-2, 2), (-1, {"sum": -1})), ((1, 2), 1),
    ):  # fmt: skip
        found = graphir.vmap(fn, in_dims, out_dims)(x, y)
        # torch takes no negative prefix of a dict: spell it out.
        ends = out_dims if isinstance(out_dims, tuple) else (out_dims, out_dims)
        inner = ends[1]["sum"] if isinstance(ends[1], dict) else ends[1]
        expected = torch.func.vmap(lambda a, b: (a @ b, a.sum(0)), in_dims, (ends[0], inner))(x, y)
        torch.testing.assert_close(found[0], expected[0])
        torch.testing.assert_close(found[1]["sum"], expected[1])


def test_trees() -> None:
    rng = torch.Generator().manual_seed(0)
    params = {"w": torch.randn(4, 3, generator=rng), "b": torch.randn(4, generator=rng)}
    x = torch.randn(7, 3, generator=rng)

    def fn(params: Any, x: Array) -> Array:
        return x @ params["w"] + params["b"]

    found = graphir.vmap(fn, ({"w": 0, "b": 0}, None), 1)(params, x)
    torch.testing.assert_close(found, x @ params["w"].T + params["b"])
    found = graphir.vmap(fn, ({"w": 0, "b": None}, None))(params | {"b": torch.ones(())}, x)
    torch.testing.assert_close(found, params["w"] @ x.T + 1.0)


def test_numpy_numbers_and_results_that_do_not_depend_on_the_example() -> None:
    x = np.arange(6.0).reshape(3, 2)
    found, same = graphir.vmap(lambda x, k: (x * k, k), (0, None))(x, 2.0)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, 2 * x)
    np.testing.assert_array_equal(same, [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(graphir.vmap(lambda x: 1)(x), [1, 1, 1])


@pytest.mark.parametrize("table_mapped", [False, True])
@pytest.mark.parametrize("index_mapped", [False, True])
def test_indexing(table_mapped: bool, index_mapped: bool) -> None:
    if not table_mapped and not index_mapped:
        return
    rng = torch.Generator().manual_seed(0)
    table = torch.randn((3, 4, 2) if table_mapped else (4, 2), generator=rng)
    index = torch.randint(-4, 4, (3, 5) if index_mapped else (5,), generator=rng)

    def fn(table: Array, index: Array) -> Array:
        return table[index]

    def summed(table: Array, index: Array) -> Array:
        return (fn(table, index) ** 2).sum()

    dims = (0 if table_mapped else None, 0 if index_mapped else None)
    torch.testing.assert_close(
        graphir.vmap(fn, dims)(table, index), torch.func.vmap(fn, dims)(table, index)
    )
    # Its gradient scatters.
    torch.testing.assert_close(
        graphir.vmap(graphir.grad(summed), dims)(table, index),
        torch.func.vmap(torch.func.grad(summed), dims)(table, index),
    )


def test_what_is_closed_over_is_the_same_for_all() -> None:
    def outer(w: Array, x: Array) -> Array:
        return graphir.vmap(lambda row: (row * w).sum())(x).sum()

    w, x = torch.tensor([1.0, 2.0]), torch.arange(6.0).reshape(3, 2)
    torch.testing.assert_close(graphir.grad(outer)(w, x), x.sum(0))


def test_the_batch_size_stays_symbolic() -> None:
    def fn(w: Array, x: Array) -> Array:
        return graphir.vmap(lambda row: torch.tanh(row @ w))(x)

    graph = graphir.trace(fn, torch.ones(3), torch.ones(5, 3))
    assert graph.outputs[0].type == "f32(n,)"
    assert not graph.notes


def test_the_batch_is_one_contraction() -> None:
    graph = graphir.trace(
        graphir.vmap(lambda x, w: x @ w, (0, None)), torch.ones(5, 3), torch.ones(3), dynamic=()
    )
    assert [n.op for n in graph.live()] == ["input", "input", "contract"]


def test_errors() -> None:
    x = torch.ones(3, 2)
    with pytest.raises(ShapeError, match=r"`x` has 3 examples and `y` has 4"):
        graphir.vmap(lambda x, y: x + y)(x, torch.ones(4, 2))
    with pytest.raises(ShapeError, match="`k` has 0 axes, so none is axis 0"):
        graphir.vmap(lambda x, k: x * k)(x, 2.0)
    with pytest.raises(ShapeError, match="does not have the structure of the arguments"):
        graphir.vmap(lambda x: x, (0, 0))(x)
    with pytest.raises(ShapeError, match="maps over no argument"):
        graphir.vmap(lambda x: x, None)(x)
    with pytest.raises(ShapeError, match="out_dims=3 is no place"):
        graphir.vmap(lambda x: x, out_dims=3)(x)


def test_an_op_without_a_rule_is_named() -> None:
    from graphir.batching import Batch
    from graphir.graph import Graph

    graph = Graph()
    node = graph.add("iota", size=3)
    with pytest.raises(UnsupportedError, match="iota has no batching rule"):
        Batch(graph, (2,)).rewrite(node, [])


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_an_index_out_of_range_is_named(backend: str) -> None:
    table, ids = torch.ones(4, 2), torch.tensor([[0, 1], [3, 7], [0, 0]])

    def fn(table: Array, ids: Array) -> Array:
        return graphir.vmap(lambda i: table[i])(ids)

    def nested(table: Array, ids: Array) -> Array:
        return graphir.vmap(graphir.vmap(lambda i: table[i]), 1)(ids)

    for each in (fn, nested):
        compiled = graphir.compile(each, backend=backend)
        compiled(table, ids % 4)
        with pytest.raises(graphir.GraphirError, match=r"index 7 is out of range: -4 <= index < 4"):
            compiled(table, ids)
