"""Graphs as text for machines: JSON that is read back exactly, and GraphML."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np

from . import dtypes
from .dtypes import DType
from .dump import Naming
from .errors import GraphirError, Location
from .frontend.torch_arrays import as_array, as_tensor
from .graph import Graph, IndexRange, Node, Pruned
from .opdef import OPS
from .ops.custom import Rule
from .sizes import Dim

FORMAT = "graphir.graph"
VERSION = 1
_DTYPES = {d.name: d for d in dtypes.ALL}


def to_json(graph: Graph, *, indent: int | None = None) -> str:
    """Everything that `graph` holds, its dead nodes and captured arrays too.

    Raises:
        GraphirError: for an attribute or a captured array that JSON cannot hold.
    """
    document = {
        "format": FORMAT,
        "version": VERSION,
        "nodes": [
            {
                "op": n.op,
                "inputs": [x.id for x in n.inputs],
                "attrs": {k: _encode(v) for k, v in n.attrs.items()},
                "type": n.type,
            }
            for n in graph.nodes
        ],
        "inputs": [n.id for n in graph.inputs],
        "outputs": [n.id for n in graph.outputs],
        "names": [[n.id, name] for n, name in graph.names.items()],
        "locations": [[n.id, [list(at) for at in lines]] for n, lines in graph.locations.items()],
        "captured": [[n.id, _encode_array(a)] for n, a in graph.captured.items()],
        "pruned": [
            [p.node.id, p.reason, p.name, list(p.location) if p.location else None]
            for p in graph.pruned
        ],
        "backward": sorted(n.id for n in graph.backward),
        "hints": graph.hints,
        "ranges": [
            [r.node.id, r.low, r.high, list(r.location) if r.location else None, r.ignored]
            for r in graph.ranges
        ],
        "notes": graph.notes,
    }
    return json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False)


def from_json(text: str) -> Graph:
    """The graph that `to_json` wrote: equal node for node, under the same numbers.

    Raises:
        GraphirError: where the text is not such a graph, or of a newer version; an unknown op or
            a node that does not fit its op's type rule is named.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise GraphirError(f"this is no JSON: {error}", hint=_HINT) from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise GraphirError("this JSON is not a graph of graphir's", hint=_HINT)
    if document.get("version") != VERSION:
        raise GraphirError(
            f"this graph is of version {document.get('version')!r}, version {VERSION} is read here",
            hint="write it anew with this version of graphir",
        )
    try:
        return _read(document)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise GraphirError(f"this graph is damaged ({what})", hint=_HINT) from None


_HINT = "read what Graph.to_json wrote, unchanged"


def _read(document: Mapping[str, Any]) -> Graph:
    graph = Graph(hints=dict(document["hints"]), notes=list(document["notes"]))
    nodes: list[Node] = []
    backward = set(document["backward"])
    for number, row in enumerate(document["nodes"]):
        if row["op"] not in OPS:
            raise GraphirError(
                f"node %{number} is of an unknown op {row['op']!r}",
                hint="it may be a custom op: declare it first, then read the graph",
            )
        attrs = {k: _decode(v) for k, v in row["attrs"].items()}
        operands = [_node(nodes, i) for i in row["inputs"]]
        with graph.located([], backward=number in backward):
            try:
                node = graph.add(row["op"], *operands, **attrs)
            except GraphirError as error:
                raise GraphirError(f"node %{number} does not fit: {error.message}",
                                   hint=_HINT) from None  # fmt: skip
        if node.id != number or node.type != row["type"]:
            raise GraphirError(
                f"node %{number} is {node.type}, the file says {row['type']}", hint=_HINT
            )
        nodes.append(node)
    graph.inputs = [_node(nodes, i) for i in document["inputs"]]
    graph.outputs = [_node(nodes, i) for i in document["outputs"]]
    graph.names = {_node(nodes, i): name for i, name in document["names"]}
    graph.locations = {
        _node(nodes, i): [Location(*at) for at in lines] for i, lines in document["locations"]
    }
    graph.captured = {_node(nodes, i): _decode_array(a) for i, a in document["captured"]}
    graph.pruned = [
        Pruned(_node(nodes, i), reason, name, Location(*at) if at else None)
        for i, reason, name, at in document["pruned"]
    ]
    graph.ranges = [
        IndexRange(_node(nodes, i), low, high, Location(*at) if at else None, *ignored)
        for i, low, high, at, *ignored in document["ranges"]
    ]
    return graph


def _node(nodes: list[Node], number: int) -> Node:
    if not 0 <= number < len(nodes):
        raise GraphirError(f"there is no node %{number} here", hint=_HINT)
    return nodes[number]


def _encode(value: Any) -> Any:
    """JSON of an attribute. What JSON has no word for becomes an object with one key."""
    match value:
        case None | bool() | str():
            return value
        case int() if not isinstance(value, np.generic):
            return value
        case float() if not isinstance(value, np.generic):
            return value if math.isfinite(value) else {"float": repr(value)}
        case bytes():
            return {"bytes": base64.b64encode(value).decode("ascii")}
        case DType():
            return {"dtype": value.name}
        case Dim():
            return {"dim": [[list(monomial), factor] for monomial, factor in value.terms]}
        case tuple():
            return {"tuple": [_encode(x) for x in value]}
        case Rule():
            raise GraphirError(
                f"`{value}` has a rule of differentiation (custom_vjp), a Python function, which "
                "cannot be written as JSON",
                hint="write the graph that compile makes: its derivatives are taken, the rule gone",
            )
        case _:
            raise GraphirError(
                f"an attribute of type {type(value).__name__} cannot be written as JSON",
                hint="use numbers, strings, bytes, dtypes, sizes and tuples of them",
            )


def _decode(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    match kind:
        case "float":
            return float(held)
        case "bytes":
            return base64.b64decode(held)
        case "dtype":
            return _DTYPES[held]
        case "dim":
            return Dim([(tuple(monomial), factor) for monomial, factor in held])
        case "tuple":
            return tuple(_decode(x) for x in held)
        case _:
            raise ValueError(f"unknown value {kind!r}")


def _encode_array(array: Any) -> dict[str, Any]:
    """A captured array's bits; tensors are told from arrays, and come back as they were."""
    tensor = not isinstance(array, (np.ndarray, np.generic))
    values = np.ascontiguousarray(as_array(array) if tensor else array)
    return {
        "kind": "torch" if tensor else "numpy",
        "dtype": values.dtype.name,
        "shape": list(np.shape(array)),
        "data": base64.b64encode(values.tobytes()).decode("ascii"),
    }


def _decode_array(held: Mapping[str, Any]) -> Any:
    flat = np.frombuffer(base64.b64decode(held["data"]), _DTYPES[held["dtype"]].numpy)
    values = flat.reshape(held["shape"]).copy()
    if held["kind"] == "numpy":
        return values
    return as_tensor(values)


def to_graphml(graph: Graph) -> str:
    """The live nodes and their edges as GraphML, through networkx."""
    text = Naming(graph)
    plain: nx.MultiDiGraph[int] = nx.MultiDiGraph()
    live = [*graph.inputs, *(n for n in graph.live() if n.op != "input")]
    pruned = {p.node: p.reason for p in graph.pruned}
    outputs = {n: i for i, n in enumerate(graph.outputs)}
    for n in live:
        plain.add_node(
            n.id, op=n.op, label=text.operand(n), expression=text.expression(n), type=n.type,
            lines=text.lines(n), backward=n in graph.backward, output=outputs.get(n, -1),
            pruned=pruned.get(n, ""),
        )  # fmt: skip
    for n in live:
        for position, x in enumerate(n.inputs):
            plain.add_edge(x.id, n.id, operand=position)
    return "\n".join(nx.generate_graphml(plain)) + "\n"
