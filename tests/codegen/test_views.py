"""Where a value lies in memory: addresses through movement ops, against the evaluator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphir import dtypes
from graphir.codegen.program import Binding, Buffer, Role
from graphir.codegen.views import START, View, row_major, view
from graphir.evaluate import evaluate
from graphir.graph import Graph, Node
from graphir.sizes import Dim
from graphir.sizes import evaluate as number


def stored(graph: Graph, node: Node, binding: Binding = Binding.WHOLE) -> dict[Node, Buffer]:
    return {node: Buffer("x", node.dtype, node.shape, Role.INPUT, binding, node)}


def read(place: View, shape: tuple[int, ...], memory: np.ndarray[Any, Any]) -> Any:
    """The value that the view describes, element by element as a kernel does."""
    out = np.empty(shape)
    for position in np.ndindex(*shape):
        offset, there = number(place.offset, {}), True
        for i, size, dim in zip(position, shape, place.dims, strict=True):
            at, rest = divmod(i - dim.shift, dim.step)
            if dim.length is not None and (rest or not 0 <= at < number(dim.length, {})):
                there = False
            offset += at * number(dim.stride, {})
            assert size
        out[position] = memory[offset] if there else 0
    return out


@st.composite
def chains(draw: Any) -> Graph:
    """A few movement ops, one after another."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    graph = Graph()
    node = graph.add_input(shape, dtypes.float64, "x")
    for _ in range(draw(st.integers(1, 4))):
        shape = node.shape
        op = draw(st.sampled_from(["slice", "embed", "permute", "reshape", "broadcast"]))
        axis = draw(st.integers(0, len(shape) - 1)) if shape else 0
        if op == "permute":
            node = graph.add("permute", node, order=tuple(draw(st.permutations(range(len(shape))))))
        elif op == "broadcast":
            place = draw(st.integers(0, len(shape)))
            wide = (*shape[:place], draw(st.integers(1, 3)), *shape[place:])
            dims = tuple(i for i in range(len(wide)) if i != place)
            node = graph.add("broadcast", node, shape=wide, dims=dims)
        elif op == "reshape":
            count = int(np.prod(shape))
            first = draw(st.sampled_from([d for d in range(1, count + 1) if count % d == 0]))
            rest = count // first
            second = draw(st.sampled_from([d for d in range(1, rest + 1) if rest % d == 0]))
            node = graph.add("reshape", node, shape=(first, second, rest // second))
        elif shape and op == "slice":
            start = draw(st.integers(0, shape[axis] - 1))
            step = draw(st.sampled_from([1, 2, -1, -2]))
            longest = (shape[axis] - 1 - start if step > 0 else start) // abs(step) + 1
            length = draw(st.integers(1, longest))
            node = graph.add("slice", node, axis=axis, start=start, step=step, length=length)
        elif shape:
            step, start = draw(st.sampled_from([1, 2, 3])), draw(st.integers(0, 2))
            length = start + step * (shape[axis] - 1) + 1 + draw(st.integers(0, 2))
            node = graph.add("embed", node, axis=axis, start=start, step=step, length=length)
    graph.outputs = [node]
    return graph


@settings(max_examples=300, deadline=None)
@given(chains())
def test_a_view_reads_what_the_evaluator_computes(graph: Graph) -> None:
    (source,), (node,) = graph.inputs, graph.outputs
    place = view(node, stored(graph, source))
    if place is None:
        return
    x = np.random.default_rng(0).normal(size=source.shape)
    np.testing.assert_array_equal(read(place, node.shape, x.ravel()), evaluate(graph, [x])[0])


def moved(shape: tuple[Any, ...], *steps: tuple[str, dict[str, Any]]) -> tuple[Graph, Node, Node]:
    graph = Graph()
    source = node = graph.add_input(shape, dtypes.float64, "x")
    for op, attrs in steps:
        node = graph.add(op, node, **attrs)
    return graph, source, node


N = Dim.symbol("n")
SOME_ROWS = ("slice", {"axis": 0, "start": 3, "step": 2, "length": 2})
SOME_COLUMNS = ("slice", {"axis": 1, "start": 1, "step": 1, "length": 4})


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((8, 6), [("reshape", {"shape": (2, 4, 6)})]),
        ((8, 6), [("reshape", {"shape": (48,)})]),
        ((8, 6), [("permute", {"order": (1, 0)}), ("reshape", {"shape": (2, 3, 8)})]),
        ((8, 6), [SOME_ROWS, ("reshape", {"shape": (2, 3, 2)})]),
        ((8, 6), [SOME_COLUMNS, ("reshape", {"shape": (8, 2, 2)})]),
        ((N, 6), [("reshape", {"shape": (N, 2, 3)})]),
        ((N, 6), [("reshape", {"shape": (N * 6,)})]),
        ((N, 6), [("reshape", {"shape": (N * 2, 3)})]),
        ((N, 6), [("reshape", {"shape": (1, N, 1, 6)})]),
        ((9,), [("slice", {"axis": 0, "start": 2, "step": 1, "length": 6}),
                ("reshape", {"shape": (3, 2)})]),
    ],
    ids=str,
)  # fmt: skip
def test_reshapes_that_need_no_copy(shape: Any, steps: Any) -> None:
    graph, source, node = moved(shape, *steps)
    assert view(node, stored(graph, source)) is not None


@pytest.mark.parametrize(
    ("shape", "steps"),
    [
        ((8, 6), [("permute", {"order": (1, 0)}), ("reshape", {"shape": (48,)})]),
        ((8, 6), [SOME_COLUMNS, ("reshape", {"shape": (32,)})]),
        ((8, 6), [("broadcast", {"shape": (8, 2, 6), "dims": (0, 2)}),
                  ("reshape", {"shape": (16, 6)})]),
    ],
    ids=str,
)  # fmt: skip
def test_reshapes_that_do(shape: Any, steps: Any) -> None:
    graph, source, node = moved(shape, *steps)
    assert view(node, stored(graph, source)) is None


def test_rows_of_a_batch_stay_rows() -> None:
    graph, source, node = moved(
        (N, 6), ("reshape", {"shape": (N, 2, 3)}),
        ("slice", {"axis": 0, "start": 1, "step": 1, "length": N - 1}),
    )  # fmt: skip
    place = view(node, stored(graph, source, Binding.ROWS))
    assert place is not None
    assert place.dims[0].rows
    assert (place.dims[0].first, place.dims[0].by) == (1, 1)
    # They cannot be joined with another axis: the shuffle scatters them.
    graph, source, node = moved((N, 6), ("reshape", {"shape": (N * 6,)}))
    assert view(node, stored(graph, source, Binding.ROWS)) is None


def test_a_number_a_step() -> None:
    graph, source, _ = moved(())
    place = view(source, stored(graph, source, Binding.STEP))
    assert place is not None
    assert str(place.offset) == "step"
    assert str(START) == "start"


def test_computed_values_have_no_address() -> None:
    graph = Graph()
    x = graph.add_input((4,), dtypes.float64, "x")
    part = graph.add("slice", graph.add("exp", x), axis=0, start=0, step=1, length=2)
    assert view(part, stored(graph, x)) is None


def test_strides_are_in_elements() -> None:
    assert row_major((2, 3, 4)) == [12, 4, 1]
    assert [str(s) for s in row_major((N, 3, N))] == ["3*n", "n", "1"]
