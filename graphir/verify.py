"""The verifier: what holds of every graph, checked after every pass in tests."""

from __future__ import annotations

import networkx as nx

from .errors import GraphirError
from .graph import Graph, Node
from .sizes import format_shape


class VerifyError(GraphirError):
    """A pass wrote a graph that breaks its own rules: a bug in graphir, not in the user's code.

    Attributes:
        stage: the pass after which it was found.
        node: where, or None where it concerns the whole graph.
    """

    def __init__(self, stage: str, node: Node | None, message: str) -> None:
        self.stage, self.node = stage, node
        at = f" at {node!r}" if node is not None else ""
        super().__init__(
            f"after {stage}{at}: {message}",
            hint="please report this with the function that was traced",
        )


def verify(graph: Graph, stage: str) -> None:
    """Check every rule that passes rely on.

    Nodes stand in topological order, the edges of the networkx graph mirror the nodes' inputs,
    shapes and dtypes are what the ops' type rules give, and whatever the graph holds about nodes
    (inputs, outputs, names, captured arrays, …) is about nodes of its own.

    Args:
        stage: the pass that wrote the graph, for the message.

    Raises:
        VerifyError: naming the stage and the node.
    """
    if not nx.is_directed_acyclic_graph(graph.nx):
        raise VerifyError(stage, None, "the graph has a cycle")
    nodes = graph.nodes
    if set(nodes) != set(graph.nx):
        raise VerifyError(stage, None, "the table and the networkx graph hold different nodes")
    for position, node in enumerate(nodes):
        if node.id != position:
            raise VerifyError(stage, node, f"its id is not its creation number {position}")
        _verify_node(graph, node, stage)
    _verify_belonging(graph, stage)


def _verify_node(graph: Graph, node: Node, stage: str) -> None:
    for x in node.inputs:
        if x.id >= node.id:
            raise VerifyError(stage, node, f"its input {x!r} was made after it")
    edges = sorted(
        ((data["operand"], x) for x, _, data in graph.nx.in_edges(node, data=True)),
        key=lambda edge: edge[0],
    )
    if edges != list(enumerate(node.inputs)):
        raise VerifyError(stage, node, "the edges do not mirror its inputs")
    try:
        hash(tuple(node.attrs.items()))
    except TypeError as error:
        raise VerifyError(stage, node, f"its attributes do not hash: {error}") from error
    try:
        shape, dtype = node.definition.infer(node.inputs, node.attrs)
    except GraphirError as error:
        raise VerifyError(stage, node, f"its type rule refuses it: {error.message}") from error
    if shape != node.shape or dtype is not node.dtype:
        raise VerifyError(stage, node, f"its type rule says {dtype.short}{format_shape(shape)}")


def _verify_belonging(graph: Graph, stage: str) -> None:
    held = {
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "names": graph.names,
        "locations": graph.locations,
        "captured": graph.captured,
        "pruned": [p.node for p in graph.pruned],
        "ranges": [r.node for r in graph.ranges],
    }
    for what, nodes in held.items():
        for node in nodes:
            if node not in graph.nx:
                raise VerifyError(stage, node, f"it is in `{what}` but not in the graph")
    for position, node in enumerate(graph.inputs):
        if node.op != "input" or node.attrs["index"] != position:
            raise VerifyError(stage, node, f"it is not the input number {position}")
    stray = {n for n in graph.nx if n.op == "input"} - set(graph.inputs)
    stray |= graph.captured.keys() - set(graph.inputs)
    for node in sorted(stray, key=lambda n: n.id):
        raise VerifyError(stage, node, "it is not one of the graph's inputs")
