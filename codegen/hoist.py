"""Late scalars, taken out of sums, so that one pass suffices.

A value that varies along the streamed axis but needs a finished sum over that axis (the cotangent
of sqrt(mean(r²)) needs the mean) would take a second pass. Where it is a sum of terms
(late scalar) × (row-local value), linear ops carry the terms along, and a sum over the axis becomes
the same sum of scalars times sums of row-local values: all in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphir.graph import Graph, Node
from graphir.rewrite import rebuild_with_map
from graphir.simplify import simplify
from graphir.value import Value

from .axes import AxisMap

_MAX_TERMS = 4  # a sum of more late terms costs more accumulators than a second pass


@dataclass(frozen=True)
class Late:
    """One term: the product of a scalar that is known late and a value that is not."""

    scalar: Node
    local: Node


def hoist(graph: Graph, axes: AxisMap, stream: int) -> Graph:
    """`graph` with late scalars outside of the sums over `stream`; itself where there are none."""
    late = _late_nodes(graph, axes, stream)
    if not any(stream in axes.of[n] for n in late):
        return graph
    terms: dict[Node, list[Late]] = {}
    tainted: set[Node] = set()
    fired: list[Node] = []

    def replace(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        if node not in late:
            return None
        parts = _terms(new, node, operands, terms, tainted)
        if parts is not None and len(parts) <= _MAX_TERMS:
            if stream in axes.reduced(node):
                fired.append(node)
                return _joined(new, parts)
        else:
            parts = None
        made = new.add(node.op, *operands, **node.attrs)
        tainted.add(made)
        if parts is not None:
            terms[made] = parts
        return made

    # `rebuild` calls in topological order, so the terms of operands are there already.
    hoisted, _ = rebuild_with_map(graph, replace)
    return simplify(hoisted) if fired else graph


def _late_nodes(graph: Graph, axes: AxisMap, stream: int) -> set[Node]:
    """Nodes that depend on a finished sum over `stream`."""
    late: set[Node] = set()
    done: set[Node] = set()
    for node in graph.live():
        if any(x in late or x in done for x in node.inputs):
            late.add(node)
        if stream in axes.reduced(node):
            done.add(node)
    return late


def _joined(new: Graph, parts: list[Late]) -> Node:
    total: Value | None = None
    for part in parts:
        local = Value(new, part.local)
        scalar = Value(new, part.scalar)
        spread = scalar.apply("broadcast", shape=local.sizes, dims=()) if local.ndim else scalar
        term = spread.apply("mul", local)
        total = term if total is None else total.apply("add", term)
    assert total is not None
    return total.node


def _terms(
    new: Graph,
    node: Node,
    operands: tuple[Node, ...],
    terms: dict[Node, list[Late]],
    tainted: set[Node],
) -> list[Late] | None:
    """`node` as late terms, or None where it is not linear in what is late."""
    if not node.dtype.is_float:
        return None

    def local(op: str, *xs: Node) -> Node:
        return new.add(op, *xs, **node.attrs)

    def one(shape_of: Node) -> Node:
        c = new.constant(1.0, node.dtype)
        if not shape_of.shape:
            return c
        return new.add("broadcast", c, shape=shape_of.shape, dims=())

    if node.op == "broadcast" and not operands[0].shape:
        return [Late(operands[0], one(node))]
    known = [terms.get(x) for x in operands]
    if any(x in tainted and k is None for x, k in zip(operands, known, strict=True)):
        return None
    first = known[0]
    match node.op:
        case "neg" | "broadcast" | "reshape" | "permute" | "slice" | "embed" | "sum" if first:
            return [Late(t.scalar, local(node.op, t.local)) for t in first]
        case "mul" | "contract" if known[0] and not known[1]:
            return [Late(t.scalar, local(node.op, t.local, operands[1])) for t in known[0]]
        case "mul" | "contract" if known[1] and not known[0]:
            return [Late(t.scalar, local(node.op, operands[0], t.local)) for t in known[1]]
        # Not the product of two sums: (s*x - m)^2, spelt out, would cancel where x varies little.
        case "mul" if known[0] and known[1] and 1 in (len(known[0]), len(known[1])):
            return [
                Late(new.add("mul", s.scalar, t.scalar), local("mul", s.local, t.local))
                for s in known[0]
                for t in known[1]
            ]
        case "div" if known[0] and not known[1]:
            return [Late(t.scalar, local("div", t.local, operands[1])) for t in known[0]]
        case "div" if known[1] and len(known[1]) == 1 and not known[0]:
            t = known[1][0]
            inverse = new.add("div", new.constant(1.0, node.dtype), t.scalar)
            return [Late(inverse, local("div", operands[0], t.local))]
        case "div" if known[0] and known[1] and len(known[1]) == 1:
            t = known[1][0]
            return [
                Late(new.add("div", s.scalar, t.scalar), local("div", s.local, t.local))
                for s in known[0]
            ]
        case "add" | "sub" if known[0] and known[1]:
            right = known[1]
            if node.op == "sub":
                right = [Late(t.scalar, new.add("neg", t.local)) for t in right]
            return _merged(new, known[0] + right)
        case "where":
            return _where_terms(new, operands, known)
    return None


def _merged(new: Graph, parts: list[Late]) -> list[Late]:
    """One term for each scalar: each term costs a sum of its own over the stream."""
    found: dict[Node, Node] = {}
    for part in parts:
        known = found.get(part.scalar)
        found[part.scalar] = part.local if known is None else new.add("add", known, part.local)
    return [Late(scalar, local) for scalar, local in found.items()]


def _where_terms(
    new: Graph, operands: tuple[Node, ...], known: list[list[Late] | None]
) -> list[Late] | None:
    """A select is linear in the branch that is late where the other branch is zero."""
    condition, x, y = operands
    for mine, other, keep in ((known[1], y, True), (known[2], x, False)):
        if mine and _is_zero(other):
            return [
                Late(
                    t.scalar,
                    new.add("where", condition, *((t.local, other) if keep else (other, t.local))),
                )
                for t in mine
            ]
    return None


def _is_zero(node: Node) -> bool:
    while node.op == "broadcast":
        node = node.inputs[0]
    return node.op == "constant" and not any(node.attrs["value"])
