"""Which dimensions run along one axis, and which edges are cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import graphir
from graphir.codegen.axes import AxisMap, in_memory, name_axes, same_up_to_ones
from graphir.graph import Graph, Node
from graphir.sizes import Dim


def named(
    fn: Callable[..., Any], *shapes: tuple[int, ...], dynamic: Any = ()
) -> tuple[Graph, AxisMap]:
    """The axes of `fn` as it was written, nothing simplified."""
    graph = graphir.trace(fn, *(torch.zeros(s) for s in shapes), dynamic=dynamic)
    return graph, name_axes(graph)


def only(graph: Graph, op: str) -> Node:
    (found,) = (n for n in graph.live() if n.op == op)
    return found


def test_elementwise_ops_share_axes() -> None:
    graph, axes = named(lambda x, y: torch.tanh(x) + y, (4, 3), (4, 3))
    assert len({axes.of[n] for n in graph.live()}) == 1
    assert [axes.size[a] for a in axes.of[graph.outputs[0]]] == [4, 3]
    assert not axes.cuts


def test_a_contraction_sums_an_axis_of_its_own() -> None:
    graph, axes = named(lambda x, w: x @ w, (6, 3), (3, 5))
    x, w = graph.inputs
    product = only(graph, "contract")
    assert axes.of[product] == (axes.of[x][0], axes.of[w][1])
    assert axes.reduced(product) == (axes.of[x][1],) == (axes.of[w][0],)
    assert axes.space(product) == (*axes.of[product], axes.of[x][1])


def test_a_reduction_keeps_the_other_axes() -> None:
    graph, axes = named(lambda x: x.sum(1), (6, 3, 4))
    total = only(graph, "sum")
    assert axes.of[total] == (axes.of[graph.inputs[0]][0], axes.of[graph.inputs[0]][2])
    assert axes.reduced(total) == (axes.of[graph.inputs[0]][1],)


def test_permutations_and_reshapes_by_ones_move_axes() -> None:
    graph, axes = named(lambda x: x.permute(2, 0, 1)[:, None], (6, 3, 4))
    a, b, c = axes.of[graph.inputs[0]]
    out = axes.of[graph.outputs[0]]
    assert (out[0], *out[2:]) == (c, a, b)
    assert not axes.cuts
    assert same_up_to_ones((6, 1, 3), (6, 3)) == [(0, 0), (2, 1)]
    assert same_up_to_ones((6, 3), (3, 6)) is None


def test_rows_of_the_data_are_one_axis_through_loss_and_gradient() -> None:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return ((x @ w - y) ** 2).mean()

    graph, axes = named(graphir.value_and_grad(loss), (5,), (9, 5), (9,), dynamic=["x", "y"])
    rows = {a for n in graph.live() for a, s in zip(axes.of[n], n.shape, strict=True)
            if isinstance(s, Dim) and n.op != "broadcast"}  # fmt: skip
    assert len(rows) == 1
    assert not axes.cuts


def test_a_matrix_times_itself_is_cut() -> None:
    graph, axes = named(lambda x: x @ x.T, (6, 3))
    product = only(graph, "contract")
    ((edge, reason),) = axes.cuts.items()
    assert edge[0] is product
    assert "two dimensions of" in reason
    assert "would run along one axis" in reason
    # Both operands still have axes, as the product sees them.
    rows, columns = axes.of[product]
    assert rows != columns
    assert {axes.ports[product, 0][0], axes.ports[product, 1][1]} == {rows, columns}


def test_a_matrix_plus_its_transpose_is_cut() -> None:
    graph, axes = named(lambda w: torch.exp(w) + torch.exp(w).T, (6, 6))
    ((edge, reason),) = axes.cuts.items()
    assert edge == (only(graph, "add"), 1)
    assert "exp" in reason or "permute" in reason


def test_the_cut_is_made_where_the_operand_is_in_memory() -> None:
    """`x` under other axes is read again; the product would have to be written first."""
    graph, axes = named(lambda w, x: ((x @ w) * x).sum(1), (3, 3), (6, 3))
    ((edge, _),) = axes.cuts.items()
    assert edge[0].op == "mul"
    assert edge[0].inputs[edge[1]] is graph.inputs[1]


def test_moved_positions_are_cut_along_one_axis_only() -> None:
    graph, axes = named(lambda x: torch.exp(x)[:, 1:3] * 2, (6, 5))
    part = only(graph, "slice")
    assert axes.cuts[part, 0] == "a slice shifts positions along an axis"
    assert axes.ports[part, 0] == (axes.of[part][0], -1)
    graph, axes = named(lambda x: torch.exp(x).reshape(3, 10) * 2, (6, 5))
    assert axes.cuts[only(graph, "reshape"), 0] == "a reshape walks its operand in memory order"
    assert axes.ports[only(graph, "reshape"), 0] == (-1, -1)


def test_picked_rows_are_read_from_memory() -> None:
    graph = graphir.trace(lambda t, i: t[i], torch.zeros(5, 3), torch.zeros(8, dtype=torch.int64))
    axes = name_axes(graph)
    take = only(graph, "take")
    assert axes.cuts == {(take, 0): "rows are picked by index"}
    assert axes.ports[take, 0] == (-1, axes.of[take][1])


def test_one_constant_may_run_along_unrelated_axes() -> None:
    """Equal nodes are one node: what is only repeated joins no axes of its readers."""
    graph, axes = named(
        lambda x, y: ((x * 0 + torch.zeros_like(x)).sum(), (y + torch.zeros_like(y)).sum()),
        (6, 3),
        (6, 3),
    )
    assert not set(axes.of[graph.inputs[0]]) & set(axes.of[graph.inputs[1]])


def test_what_lies_in_memory() -> None:
    graph, _ = named(lambda x: x.T[1:].reshape(-1) + torch.exp(x).T[1:].reshape(-1), (6, 3))
    add = only(graph, "add")
    assert [in_memory(x) for x in add.inputs] == [True, False]


def test_every_edge_has_a_port() -> None:
    graph, axes = named(lambda x, w: torch.softmax(x @ w, 1)[:, 1:].sum(0), (6, 3), (3, 4))
    for node in graph.live():
        assert len(axes.of[node]) == node.ndim
        for position, x in enumerate(node.inputs):
            port = axes.ports[node, position]
            assert len(port) == x.ndim
            if (node, position) not in axes.cuts:
                assert all(a == b or s == 1 or x.op == "broadcast"
                           for a, b, s in zip(port, axes.of[x], x.shape, strict=True))  # fmt: skip
            for a, s in zip(port, x.shape, strict=True):
                assert a < 0 or axes.size[a] == s
