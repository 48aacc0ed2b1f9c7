"""Forward accumulation: tangents written into the graph beside the values they belong to."""

from __future__ import annotations

from collections.abc import Sequence

from .differentiate import between, carries, check_floating
from .errors import ShapeError, UnsupportedError
from .graph import Graph, Node
from .opdef import Kind
from .ops.elementwise import zeros_like
from .value import Value


def pushforward(
    outputs: Sequence[Value], wrt: Sequence[Value], tangents: Sequence[Value]
) -> list[Value]:
    """The Jacobian-vector product: how `outputs` move where `wrt` move along `tangents`.

    Only nodes on a path from `wrt` to `outputs` get a tangent; an output without one gets zeros.

    Args:
        wrt: independent of each other; what they are computed from does not move.
        tangents: one for each of `wrt`, of its type.

    Raises:
        ShapeError: for a tangent of another type.
        DTypeError: for an integer or bool in `outputs` or `wrt`.
        UnsupportedError: where an op on the path has no rule of forward mode.
    """
    check_floating(outputs, wrt)
    for w, t in zip(wrt, tangents, strict=True):
        if w.node.type != t.node.type:
            raise ShapeError(
                f"the tangent must be of the value's type {w.node.type}, got {t.node.type}"
            )
    if not outputs:
        return []
    graph = outputs[0].graph
    moving = {w.node: t.node for w, t in zip(wrt, tangents, strict=True)}
    _, needed = between(graph, list(moving), [y.node for y in outputs])
    for node in sorted(needed - moving.keys(), key=lambda n: n.id):
        with graph.located(graph.locations.get(node, []), backward=True):
            moving[node] = _tangent(graph, node, moving)
    return [
        type(y)(graph, moving[y.node], y.weak) if y.node in moving else zeros_like(y)
        for y in outputs
    ]


def _tangent(graph: Graph, node: Node, moving: dict[Node, Node]) -> Node:
    """The tangent of `node`, from those of its operands."""
    op = node.definition
    out, *operands = (Value(graph, n) for n in (node, *node.inputs))
    tangents = [
        Value(graph, moving[x]) if x in moving and carries(node, i) else None
        for i, x in enumerate(node.inputs)
    ]
    if op.jvp is not None:
        result: Node = op.jvp(tangents, out, *operands, **node.attrs).node
    else:
        result = _sum_of_parts(graph, node, tangents)
    if result.type != node.type:
        raise ShapeError(f"{node.op}: the tangent must be {node.type}, got {result.type}")
    return result


def _sum_of_parts(graph: Graph, node: Node, tangents: Sequence[Value | None]) -> Node:
    """Each operand's part of the tangent, added up."""
    op = node.definition
    out, *operands = (Value(graph, n) for n in (node, *node.inputs))
    total: Node | None = None
    for i, t in enumerate(tangents):
        if t is None:
            continue
        vjp = op.vjp(i)
        if i in op.linear:
            moved = (*node.inputs[:i], t.node, *node.inputs[i + 1 :])
            part = graph.add(node.op, *moved, **node.attrs)
        elif op.kind is Kind.ELEMENTWISE and vjp is not None:
            # A diagonal Jacobian is its own transpose.
            part = vjp(t, out, *operands, **node.attrs).node
        else:
            raise UnsupportedError(
                node.op,
                f"{node.op} has no rule of forward mode",
                hint="differentiate in reverse: graphir.grad, vjp or jacrev",
            )
        total = part if total is None else graph.add("add", total, part)
    assert total is not None
    return total
