"""The reference evaluator: types, sizes, width, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphir import dtypes
from graphir.errors import DTypeError, GraphirError, Location, ShapeError
from graphir.evaluate import bind_sizes, evaluate, evaluate_nodes
from graphir.graph import Graph, IndexRange
from graphir.sizes import Dim
from graphir.value import Value, contract, reduce, unary

N, M = Dim.symbol("n"), Dim.symbol("m")


def linear_graph() -> Graph:
    g = Graph()
    x = Value(g, g.add_input((N, 3), dtypes.float32, "x"))
    w = Value(g, g.add_input((3,), dtypes.float32, "w"))
    b = Value(g, g.add_input((), dtypes.float32, "b", weak=True))
    g.outputs = [(contract(x, w, "nd,d->n") + b).node]
    return g


def test_a_linear_model() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (y,) = evaluate(linear_graph(), [x, np.float32([1, 2, 3]), 0.5])
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, [8.5, 26.5])


def test_torch_tensors_are_taken_detached() -> None:
    w = torch.ones(3, requires_grad=True)
    (y,) = evaluate(linear_graph(), [torch.ones(2, 3), w, torch.tensor(1.0)])
    np.testing.assert_array_equal(y, [4, 4])


def test_captured_arrays_are_not_arguments() -> None:
    g = linear_graph()
    g.captured[g.inputs[1]] = torch.tensor([1.0, 2.0, 3.0])
    (y,) = evaluate(g, [np.ones((1, 3), np.float32), 0.0])
    np.testing.assert_array_equal(y, [6])


def test_wide_computes_in_float64_but_holds_the_narrow_constant() -> None:
    g = Graph()
    x = Value(g, g.add_input((4,), dtypes.float32, "x"))
    as_half = x.apply("cast", dtype=dtypes.float16)
    tenth = x.scalar(0.1, dtypes.float32)
    g.outputs = [as_half.node, reduce("sum", x, 0).node, tenth.node, (x > 0.0).node]
    values = np.array([1 / 3, 2 / 3, 1e-9, 1.0])
    half, total, constant, positive = evaluate(g, [values], wide=True)
    assert half.dtype == total.dtype == constant.dtype == np.float64
    assert positive.dtype == np.bool_
    np.testing.assert_array_equal(half, values)
    assert total == values.sum()
    assert constant == np.float64(np.float32(0.1))


def test_inf_and_nan_follow_ieee_without_warnings() -> None:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float64, "x"))
    g.outputs = [unary("log", x).node, (1.0 / x).node]
    log, reciprocal = evaluate(g, [np.array([0.0, -1.0, 1.0])])
    np.testing.assert_array_equal(log, [-np.inf, np.nan, 0])
    assert reciprocal[0] == np.inf


def test_every_node_that_is_needed() -> None:
    g = linear_graph()
    values = evaluate_nodes(g, [np.ones((2, 3), np.float32), np.ones(3, np.float32), 1])
    assert set(values) == set(g.live())
    for node, value in values.items():
        assert value.dtype == node.dtype.numpy


def sized_graph() -> Graph:
    g = Graph()
    g.add_input((N, M), dtypes.float32, "x")
    g.add_input((N - 1,), dtypes.float32, "differences")  # type: ignore[arg-type]
    g.add_input((M,), dtypes.float32, "w")
    return g


def test_sizes_are_solved_for_symbols() -> None:
    assert bind_sizes(sized_graph(), [(5, 2), (4,), (2,)]) == {"n": 5, "m": 2}


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (
            [(5, 2), (5,), (2,)],
            (
                "argument `differences`: shape (n - 1,) is expected, got (5,): "
                "its axis 0 must be n - 1"
            ),
        ),
        (
            [(5, 2), (4,), (3,)],
            "argument `w`: shape (m,) is expected, got (3,): m is 2 in `x` and 3 here",
        ),
        (
            [(5,), (4,), (2,)],
            "argument `x`: shape (n, m) is expected, got (5,): it has 1 axes, not 2",
        ),
        (
            [(0, 2), (4,), (2,)],
            "argument `x`: shape (n, m) is expected, got (0, 2): its axis 0 is empty",
        ),
        ([(5, 2), (4,)], "3 arguments are expected (`x`, `differences`, `w`), got 2"),
    ],
)
def test_shapes_that_contradict(shapes: list[tuple[int, ...]], text: str) -> None:
    with pytest.raises(ShapeError) as caught:
        bind_sizes(sized_graph(), shapes)
    assert caught.value.message == text


def test_a_size_that_no_argument_tells() -> None:
    g = Graph()
    g.add_input((N - 1,), dtypes.float32, "x")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="no argument has an axis of size n"):
        bind_sizes(g, [(4,)])


@pytest.mark.parametrize("value", [np.ones((2, 3)), np.ones((2, 3), np.int64)])
def test_another_dtype_is_refused_by_name(value: np.ndarray) -> None:
    with pytest.raises(DTypeError, match="argument `x`: float32 is expected, got"):
        evaluate(linear_graph(), [value, np.ones(3, np.float32), 0.0])


def test_a_float_is_no_integer() -> None:
    g = Graph()
    g.outputs = [g.add_input((), dtypes.int64, "k", weak=True)]
    assert evaluate(g, [3])[0] == 3
    with pytest.raises(DTypeError, match="argument `k`: int64 is expected, got float64"):
        evaluate(g, [3.5])


def test_index_ranges_are_checked() -> None:
    g = Graph()
    x = Value(g, g.add_input((4,), dtypes.float64, "x"))
    i = g.add_input((2,), dtypes.int64, "labels")
    g.outputs = [g.add("take", x.node, i)]
    g.ranges = [IndexRange(i, 0, 4, Location("model.py", 12))]
    assert evaluate(g, [np.arange(4.0), np.array([3, 0])])[0].tolist() == [3, 0]
    with pytest.raises(
        GraphirError,
        match=r"`labels`: index -1 is out of range: 0 <= index < 4 "
        r"  at model.py:12",
    ):
        evaluate(g, [np.arange(4.0), np.array([0, -1])])
