"""How each primitive carries leading axes: one example's nodes rewritten for a batch of them.

A function is traced for one example, on stand-ins. What depends on the stand-ins is then written
again with the batches in their place; the nodes of the one example are left dead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_letters
from typing import TypeAlias

import networkx as nx

from .errors import UnsupportedError
from .graph import Graph, Node
from .opdef import Kind
from .ops.custom import Rule as CustomRule
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
    return [
        type(y)(graph, known[y.node])
        if y.node in known
        else type(y)(graph, batch.spread(Value(graph, y.node)).node)
        for y in outputs
    ]


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
        rule = _RULES.get(node.op) or _BY_KIND.get(node.kind)
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


def _elementwise(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    first, *rest = (batch.every(x) for x in operands)
    return first.apply(node.op, *rest, **node.attrs)


def _reduction(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    axes = batch.shifted(node.attrs["axes"])
    return operands[0].value.apply(node.op, **{**node.attrs, "axes": axes})


def _broadcast(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    return operands[0].value.apply(
        "broadcast",
        shape=(*batch.lead, *node.shape),
        dims=(*range(batch.rank), *batch.shifted(node.attrs["dims"])),
    )


def _reshape(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    return operands[0].value.apply("reshape", shape=(*batch.lead, *node.shape))


def _permute(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    order = (*range(batch.rank), *batch.shifted(node.attrs["order"]))
    return operands[0].value.apply("permute", order=order)


def _along_axis(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    axis = node.attrs["axis"] + batch.rank
    return operands[0].value.apply(node.op, **{**node.attrs, "axis": axis})


def _contract(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    """The leading axes are labels of the result, and of the operands that have them."""
    lhs, rhs, out = (node.attrs[name] for name in ("lhs", "rhs", "out"))
    free = [c for c in ascii_letters if c not in lhs + rhs + out]
    extra = "".join(free[: batch.rank])
    if operands[0].many:
        lhs = extra + lhs
    if operands[1].many:
        rhs = extra + rhs
    x, y = (operand.value for operand in operands)
    return x.apply("contract", y, lhs=lhs, rhs=rhs, out=extra + out)


def _take(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    x, index = operands
    if not x.many:
        return x.value.apply("take", index.value)
    if index.many:
        rows = batch.offset(index.value, x.value.sizes[batch.rank])
        return batch.flat(x.value, x.ndim).apply("take", rows)
    # The rows come first: (lead, r, ...) -> (r, lead, ...), and back behind the index's axes.
    k = batch.rank
    order = (k, *range(k), *range(k + 1, x.value.ndim))
    taken = x.value.apply("permute", order=order).apply("take", index.value)
    return _lead_first(batch, taken, index.ndim)


def _scatter_add(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    x, index = operands
    k, size = batch.rank, node.attrs["size"]
    if not index.many:
        order = (*range(k, k + index.ndim), *range(k), *range(k + index.ndim, x.value.ndim))
        moved = x.value.apply("permute", order=order)
        return _lead_first(batch, moved.apply("scatter_add", index.value, size=size), 1)
    rows = batch.offset(index.value, size)
    total = numel((*batch.lead, size))
    out = batch.every(x).apply("scatter_add", rows, size=total)
    return out.apply("reshape", shape=(*batch.lead, *node.shape))


def _custom_vjp(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    """The rule of one example, itself carried over the batch where it is asked for."""
    rule: CustomRule = node.attrs["rule"]
    made, *inputs = operands

    def one(values: Sequence[Value]) -> tuple[list[Value], list[tuple[Value, Value]]]:
        """Stand-ins for the values that differ between examples, and their pairs."""
        singles, pairs = [], []
        for x, operand in zip(values, inputs, strict=True):
            single = stand_in(x, x.sizes[batch.rank :]) if operand.many else x
            singles.append(single)
            if operand.many:
                pairs.append((single, x))
        return singles, pairs

    def pull(values: Sequence[Value], output: int, ct: Value) -> list[Value | None]:
        singles, pairs = one(values)
        g = stand_in(ct, ct.sizes[batch.rank :])
        found = rule.pull(singles, output, g)
        some = [f for f in found if f is not None]
        mapped = iter(batched(some, [*pairs, (g, ct)], batch.lead))
        results: list[Value | None] = []
        for f, x in zip(found, inputs, strict=True):
            y = None if f is None else next(mapped)
            # Every example adds to the cotangent of what they share.
            if y is not None and not x.many:
                y = y.apply("sum", axes=tuple(range(batch.rank)))
            results.append(y)
        return results

    def push(values: Sequence[Value], output: int, tangents: Sequence[Value | None]) -> Value:
        assert rule.push is not None
        singles, pairs = one(values)
        moving: list[Value | None] = []
        for t, operand in zip(tangents, inputs, strict=True):
            differs = t is not None and operand.many
            single = stand_in(t, t.sizes[batch.rank :]) if t is not None and differs else t
            moving.append(single)
            if t is not None and single is not None and differs:
                pairs.append((single, t))
        return batched([rule.push(singles, output, moving)], pairs, batch.lead)[0]

    carried = CustomRule(rule.name, pull, push if rule.push is not None else None)
    values = [x.value for x in inputs]
    output = node.attrs["output"]
    return batch.every(made).apply("custom_vjp", *values, rule=carried, output=output)


def _lead_first(batch: Batch, x: Value, before: int) -> Value:
    """`x` with its leading axes, which stand after `before` others, in front."""
    k = batch.rank
    order = (*range(before, before + k), *range(before), *range(before + k, x.ndim))
    return x.apply("permute", order=order)


_BY_KIND: Mapping[Kind, Rule] = {Kind.ELEMENTWISE: _elementwise, Kind.REDUCTION: _reduction}

_RULES: Mapping[str, Rule] = {
    "broadcast": _broadcast,
    "reshape": _reshape,
    "permute": _permute,
    "slice": _along_axis,
    "embed": _along_axis,
    "contract": _contract,
    "take": _take,
    "scatter_add": _scatter_add,
    "custom_vjp": _custom_vjp,
}
