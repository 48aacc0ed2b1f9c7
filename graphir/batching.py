"""One example's nodes rewritten for a batch of examples, which have leading axes.

A function is traced for one example, on stand-ins. What depends on the stand-ins is then written
again with the batches in their place; the nodes of the one example are left dead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import networkx as nx

from .errors import UnsupportedError
from .graph import Graph, Node
from .sizes import Dim, Shape, Size, numel
from .value import Value


def stand_in(like: Value, shape: Shape) -> Value:
    """One example: a value of this shape and of the dtype of `like`, equal to no other."""
    x = like.scalar(0, like.element)
    if shape:
        x = x.apply("broadcast", shape=tuple(shape), dims=())
    return x.apply("copy", tag=len(like.graph.nx))


def batched(
    outputs: Sequence[Value], given: Sequence[tuple[Value, Value]], lead: Shape
) -> list[Value]:
    """`outputs` for a batch of examples, each of shape `lead + output.shape`.

    Args:
        given: pairs of a stand-in and its batch, of shape `lead + stand_in.shape`.

    Raises:
        UnsupportedError: for an op that has no batching rule.
    """
    if not outputs:
        return []
    graph = outputs[0].graph
    batch = Batch(graph, tuple(lead))
    after = {s.node for s, _ in given}
    after = after.union(*(nx.descendants(graph.nx, x) for x in after))
    ends = {y.node for y in outputs}
    needed = ends.union(*(nx.ancestors(graph.nx, end) for end in ends)) & after
    known: dict[Node, Node] = {s.node: many.node for s, many in given}
    for node in sorted(needed - known.keys(), key=lambda n: n.id):
        lines = graph.locations.get(node, [])
        with graph.located(lines, backward=node in graph.backward):
            operands = [
                Operand(Value(graph, known.get(x, x)), x.ndim, x in known) for x in node.inputs
            ]
            made = batch.rewrite(node, operands)
        known[node] = made.node
        if node in graph.names and made.node not in graph.names:
            graph.names[made.node] = graph.names[node]
    # What was pruned of the one example was pruned of the batch.
    graph.pruned = [replace(p, node=known.get(p.node, p.node)) for p in graph.pruned]
    # So is what was promised of one example's index, which its argument must keep.
    graph.ranges = [
        replace(r, node=_argument(known[r.node]) if r.node in known else r.node)
        for r in graph.ranges
    ]
    return [
        type(y)(graph, known[y.node])
        if y.node in known
        else type(y)(graph, batch.spread(Value(graph, y.node)).node)
        for y in outputs
    ]


def _argument(node: Node) -> Node:
    """The argument that `node` holds the elements of, with its axes moved."""
    while node.op in ("permute", "reshape"):
        (node,) = node.inputs
    return node


@dataclass(frozen=True)
class Operand:
    """An operand of a node that is rewritten.

    Attributes:
        value: with the leading axes where it is `many`.
        ndim: the rank of one example.
        many: whether it differs between examples.
    """

    value: Value
    ndim: int
    many: bool


Rule: TypeAlias = Callable[["Batch", Node, Sequence[Operand]], Value]


@dataclass(frozen=True)
class Batch:
    """The leading axes that a function is carried over."""

    graph: Graph
    lead: Shape

    @property
    def rank(self) -> int:
        """How many leading axes there are."""
        return len(self.lead)

    def rewrite(self, node: Node, operands: Sequence[Operand]) -> Value:
        """`node` for the whole batch.

        Raises:
            UnsupportedError: where there is no rule for its op.
        """
        from .batching_rules import BY_KIND, BY_OP

        rule = BY_OP.get(node.op) or BY_KIND.get(node.kind)
        if rule is None:
            raise UnsupportedError(
                node.op,
                f"{node.op} has no batching rule, so vmap and Jacobians do not go through it",
                hint="write the batched computation out, with a leading axis",
            )
        made = rule(self, node, operands)
        assert made.sizes == (*self.lead, *node.shape), (node, made)
        return made

    def spread(self, x: Value) -> Value:
        """One value repeated for every example."""
        return x.apply(
            "broadcast",
            shape=(*self.lead, *x.sizes),
            dims=tuple(range(self.rank, self.rank + x.ndim)),
        )

    def every(self, x: Operand) -> Value:
        """The operand with the leading axes, whether or not it differs."""
        return x.value if x.many else self.spread(x.value)

    def shifted(self, axes: Sequence[int]) -> tuple[int, ...]:
        """Axes of one example as axes of the batch."""
        return tuple(axis + self.rank for axis in axes)

    def flat(self, x: Value, ndim: int) -> Value:
        """The leading axes joined with the first axis of the example, of rank `ndim`."""
        first = numel((*self.lead, x.sizes[self.rank])) if ndim else numel(self.lead)
        rest = x.sizes[self.rank + 1 :]
        return x.apply("reshape", shape=(first, *rest))

    def offset(self, index: Value, size: Size) -> Value:
        """Indices into the rows of each example as indices into the joined rows of all."""
        start = Value(self.graph, self.graph.add("iota", size=numel(self.lead)))
        if isinstance(size, Dim):
            stride = Value(self.graph, self.graph.add("size", size=size))
        else:
            stride = start.scalar(size, start.element)
        start = start.apply("mul", stride.apply("broadcast", shape=start.sizes, dims=()))
        if index.element is not start.element:
            start = start.apply("cast", dtype=index.element)
        start = start.apply("reshape", shape=self.lead)
        shape = index.sizes
        return index.apply(
            "add", start.apply("broadcast", shape=shape, dims=tuple(range(self.rank)))
        )
