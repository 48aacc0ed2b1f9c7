"""Reverse accumulation: gradients written into the graph they differentiate, and pruned."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import networkx as nx

from .errors import DTypeError, ShapeError
from .graph import Graph, Node, Pruned
from .ops.elementwise import zeros_like
from .sizes import format_shape
from .value import Value

# Why an op passes no cotangent on, in plain words; any other op says that it has no derivative.
_NO_DERIVATIVE = {
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), "the comparison has no derivative"),
    **dict.fromkeys(
        ("logical_and", "logical_or", "logical_not"), "a truth value has no derivative"
    ),
    "sign": "the derivative of sign is zero",
    "stop_gradient": "stop_gradient",
}


def gradients(output: Value, wrt: Sequence[Value], cotangent: Value | None = None) -> list[Value]:
    """The derivative of `output` with respect to each of `wrt`, as new nodes of their graph.

    Only nodes on a path from `wrt` to `output` get a cotangent. What else the output needs goes
    to `graph.pruned` with a reason. A `wrt` that does not reach the output gets zeros and a word
    in `graph.notes`.

    Args:
        cotangent: the derivative of what follows with respect to `output`, of its type; without
            it the output must be a scalar.

    Raises:
        ShapeError: for an output that is no scalar (without a cotangent), or a cotangent of
            another shape.
        DTypeError: for an integer or bool in `output` or `wrt`.
    """
    graph = output.graph
    if cotangent is not None:
        return pullback([output], [cotangent], wrt)
    check_floating([output], wrt)
    if output.sizes:
        raise ShapeError(
            f"a gradient needs a scalar output, got shape {format_shape(output.sizes)}",
            hint="reduce it with .mean() or .sum()",
        )
    with graph.located(graph.locations.get(output.node, []), backward=True):
        cotangent = output.scalar(1.0, output.element)
    return _pullback([output], [cotangent], wrt, is_loss=True)


def pullback(
    outputs: Sequence[Value], cotangents: Sequence[Value], wrt: Sequence[Value]
) -> list[Value]:
    """`gradients` of several outputs at once: the vector-Jacobian product.

    Args:
        cotangents: one for each output, of its type.

    Raises:
        ShapeError: for a cotangent of another type.
        DTypeError: for an integer or bool in `outputs` or `wrt`.
    """
    check_floating(outputs, wrt)
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent.node.type != output.node.type:
            raise ShapeError(
                f"the cotangent must be of the output's type {output.node.type}, "
                f"got {cotangent.node.type}"
            )
    return _pullback(outputs, cotangents, wrt, is_loss=False)


def _pullback(
    outputs: Sequence[Value], cotangents: Sequence[Value], wrt: Sequence[Value], *, is_loss: bool
) -> list[Value]:
    if not wrt:
        return []
    graph = wrt[0].graph
    targets, ends = [w.node for w in wrt], [y.node for y in outputs]
    reached, needed = between(graph, targets, ends)
    _record_pruned(outputs, targets, reached, needed, aside=is_loss)
    found = _accumulate(graph, outputs, cotangents, needed)
    for w in targets:
        if w not in needed and is_loss:
            note = f"parameter `{name_of(graph, w)}` does not reach the loss: its gradient is zero"
            if note not in graph.notes:
                graph.notes.append(note)
    return [
        type(w)(graph, (found[w.node] if w.node in needed else zeros_like(w).node), w.weak)
        for w in wrt
    ]


def between(
    graph: Graph, targets: Sequence[Node], ends: Sequence[Node]
) -> tuple[set[Node], set[Node]]:
    """What depends on `targets` by edges that carry a derivative, and what of that `ends` need."""
    paths = differentiable_edges(graph)
    reached = set(targets).union(*(nx.descendants(paths, w) for w in targets))
    inside = set(ends).union(*(nx.ancestors(paths, end) for end in ends))
    return reached, reached & inside


def carries(node: Node, position: int) -> bool:
    """Whether a derivative flows from `node` to its operand at `position`."""
    return (
        node.dtype.is_float
        and node.inputs[position].dtype.is_float
        and node.definition.vjp(position) is not None
    )


def differentiable_edges(graph: Graph) -> nx.DiGraph[Node]:
    """The graph without the edges that carry no derivative."""
    paths: nx.DiGraph[Node] = nx.DiGraph()
    paths.add_nodes_from(graph.nx)
    paths.add_edges_from(
        (x, node)
        for node in graph.nodes
        for position, x in enumerate(node.inputs)
        if carries(node, position)
    )
    return paths


def _accumulate(
    graph: Graph, outputs: Sequence[Value], given: Sequence[Value], needed: set[Node]
) -> dict[Node, Node]:
    """The cotangent of every node of `needed`. Later users add theirs first."""
    cotangents: dict[Node, Node] = {}
    for output, ct in zip(outputs, given, strict=True):
        before = cotangents.get(output.node)
        with graph.located(graph.locations.get(output.node, []), backward=True):
            cotangents[output.node] = (
                ct.node if before is None else graph.add("add", before, ct.node)
            )
    for node in sorted(needed, key=lambda n: n.id, reverse=True):
        wanted = [
            (position, x)
            for position, x in enumerate(node.inputs)
            if x in needed and carries(node, position)
        ]
        if not wanted:
            continue
        # All of them strong: a Python number's weak dtype has been settled by the primal.
        g, out, *operands = (Value(graph, n) for n in (cotangents[node], node, *node.inputs))
        with graph.located(graph.locations.get(node, []), backward=True):
            for position, x in wanted:
                vjp = node.definition.vjp(position)
                assert vjp is not None
                part: Node = vjp(g, out, *operands, **node.attrs).node
                if part.type != x.type:
                    raise ShapeError(
                        f"{node.op}: the derivative for operand {position} must be {x.type}, "
                        f"got {part.type}"
                    )
                before = cotangents.get(x)
                cotangents[x] = part if before is None else graph.add("add", before, part)
    return cotangents


def _record_pruned(
    outputs: Sequence[Value],
    targets: Collection[Node],
    reached: set[Node],
    needed: set[Node],
    *,
    aside: bool,
) -> None:
    """Put on record which nodes get no cotangent and why, once a node.

    Args:
        aside: tell also of what depends on `targets` but is no part of the outputs.
    """
    graph = outputs[0].graph
    ends = {output.node for output in outputs}
    # A node that an earlier gradient did without and this one needs is not pruned any more.
    graph.pruned = [p for p in graph.pruned if p.node not in needed]
    told = {p.node for p in graph.pruned}
    inside = set(ends)
    for node in reversed(graph.live(ends)):
        # What only the making of `wrt` needs is no part of the function being differentiated.
        starts_here = node in targets and needed.isdisjoint(node.inputs)
        if node in inside and not starts_here:
            inside.update(node.inputs)
    from_targets: set[Node] = set()
    from_inputs: set[Node] = set()
    for node in graph.nodes:
        if node in targets or not from_targets.isdisjoint(node.inputs):
            from_targets.add(node)
        if node.op == "input" or not from_inputs.isdisjoint(node.inputs):
            from_inputs.add(node)
        if node in needed or node in told or node not in from_inputs:
            continue
        if node in inside:
            reason = _reason(graph, node, reached, from_targets)
        elif aside and node in from_targets:
            reason = "no path to the loss"
        else:
            continue
        # An argument's line is that of the call that traced, which says nothing.
        lines = graph.locations.get(node, []) if node.op != "input" else []
        name = graph.names.get(node, "")
        graph.pruned.append(Pruned(node, reason, name, lines[0] if lines else None))


def _reason(graph: Graph, node: Node, reached: set[Node], from_targets: set[Node]) -> str:
    """Why `node`, which the output needs, gets no cotangent."""
    if node in reached:
        return "no path to the loss has a derivative"
    if node.op == "input":
        return f"`{name_of(graph, node)}` is data: no gradient was asked for it"
    if node not in from_targets:
        return "computed from data only"
    if reached.isdisjoint(node.inputs):
        return "computed only from what has no derivative"
    if not node.dtype.is_float and node.op not in _NO_DERIVATIVE:
        return f"{node.dtype} has no derivative"
    return _NO_DERIVATIVE.get(node.op, f"{node.op} has no derivative")


def name_of(graph: Graph, node: Node) -> str:
    """What the user calls `node`; the copy of an argument goes by the argument's name."""
    while node not in graph.names and node.op in ("copy", "cast"):
        (node,) = node.inputs
    return graph.names.get(node, f"%{node.id}")


def check_floating(outputs: Sequence[Value], wrt: Sequence[Value]) -> None:
    """Raise for values that have no derivatives.

    Raises:
        DTypeError: for an integer or bool in `outputs` or `wrt`, by name.
    """
    for output in outputs:
        if not output.element.is_float:
            raise DTypeError(
                f"a gradient needs a floating output, got {output.node.type}",
                hint="convert the loss, e.g. loss.float(), and check that it is not a count",
            )
    for w in wrt:
        if not w.element.is_float:
            raise DTypeError(
                f"`{name_of(w.graph, w.node)}` is {w.element}: only floating arguments have "
                "gradients",
                hint="convert it, e.g. x.float(), or differentiate with respect to another one",
            )
