"""Graphs written and read back."""

from __future__ import annotations

import io
import json
from typing import Any

import models_to_see as models
import networkx as nx
import numpy as np
import pytest
import torch

from graphir import dtypes
from graphir.errors import GraphirError, Location
from graphir.evaluate import evaluate
from graphir.graph import Graph, IndexRange, Node
from graphir.serialise import from_json, to_json
from graphir.simplify import simplify
from graphir.sizes import Dim
from graphir.tracing import trace_graph
from graphir.transforms import value_and_grad
from graphir.value import Value
from graphir.verify import verify

CASES = [
    (models.linear, models.linear_params()),
    (models.huber, models.linear_params()),
    (models.mlp, models.mlp_params()),
    (models.deep, models.deep_params()),
]


def everything(graph: Graph) -> list[Any]:
    """All that a graph holds, with numbers for nodes."""

    def row(n: Node) -> Any:
        return n.id, n.op, [x.id for x in n.inputs], dict(n.attrs), n.shape, n.dtype

    return [
        [row(n) for n in graph.nodes],
        sorted((a.id, b.id, k["operand"]) for a, b, k in graph.nx.edges(data=True)),
        [n.id for n in graph.inputs],
        [n.id for n in graph.outputs],
        {n.id: name for n, name in graph.names.items()},
        {n.id: lines for n, lines in graph.locations.items()},
        [(p.node.id, p.reason, p.name, p.location) for p in graph.pruned],
        sorted(n.id for n in graph.backward),
        graph.hints,
        [(r.node.id, r.low, r.high, r.location) for r in graph.ranges],
        graph.notes,
    ]


@pytest.mark.parametrize(("loss", "params"), CASES)
@pytest.mark.parametrize("simplified", [False, True])
def test_exact_round_trip(loss: Any, params: Any, simplified: bool) -> None:
    graph = trace_graph(value_and_grad(loss), params, *models.data())
    if simplified:
        graph = simplify(graph)
    text = graph.to_json()
    read = Graph.from_json(text)
    verify(read, "reading")
    assert everything(read) == everything(graph)
    assert read.to_json() == text
    assert str(read) == str(graph)
    # New nodes join it as they would have joined the original.
    assert read.add("exp", read.outputs[0]).id == graph.add("exp", graph.outputs[0]).id


def test_attributes_of_every_kind() -> None:
    g = Graph()
    n, k = Dim.symbol("n"), Dim.symbol("k")
    x = g.add_input((n * k - 1, 2), dtypes.float64, "x")
    for value in (-0.0, 0.0, float("nan"), float("inf"), 1e-300):
        g.constant(value, dtypes.float64)
    g.add("cast", x, dtype=dtypes.float16)
    g.ranges = [IndexRange(x, 0, 7, Location("/a/ü.py", 3)), IndexRange(x, 0, 7, None)]
    read = from_json(to_json(g, indent=2))
    assert everything(read) == everything(g)
    assert read.nodes[0].shape == (n * k - 1, 2)


@pytest.mark.parametrize("kind", ["torch", "numpy"])
def test_captured_arrays_keep_their_bits_and_kind(kind: str) -> None:
    held: Any = np.array([1.5, -0.0, np.nan, 1e-40], np.float32)
    if kind == "torch":
        held = torch.from_numpy(held)
    x0: Any = held[:].copy() if kind == "numpy" else held.clone()
    graph = trace_graph(lambda x: (x * held).sum(), x0)
    read = from_json(graph.to_json())
    ((node, array),) = read.captured.items()
    assert node is read.inputs[1]
    assert type(array) is type(held)
    assert np.asarray(array).tobytes() == np.asarray(held).tobytes()


def test_the_same_values_come_out() -> None:
    params, (x, y) = models.linear_params(), models.data()
    graph = simplify(trace_graph(value_and_grad(models.linear), params, x, y))
    arrays = [a.numpy() for a in (*params, x, y)]
    for a, b in zip(
        evaluate(graph, arrays), evaluate(from_json(graph.to_json()), arrays), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def small() -> dict[str, Any]:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float32, "x"))
    g.outputs = [x.apply("exp").node]
    document: dict[str, Any] = json.loads(g.to_json())
    return document


def damaged(change: str) -> str:
    document = small()
    match change:
        case "op":
            document["nodes"][1]["op"] = "expp"
        case "version":
            document["version"] = 99
        case "order":
            document["nodes"].reverse()
        case "type":
            document["nodes"][1]["type"] = "f64(3,)"
        case "missing":
            del document["outputs"]
        case "output":
            document["outputs"] = [7]
        case "negative":
            document["outputs"] = [-1]
        case "dtype":
            document["nodes"][0]["attrs"]["dtype"] = {"dtype": "float99"}
        case "value":
            document["nodes"][0]["attrs"]["dtype"] = {"pickle": "float32"}
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "not a graph"),
        ('{"format": "onnx"}', "not a graph"),
        (damaged("version"), "version 99"),
        (damaged("op"), "%1 is of an unknown op 'expp'"),
        (damaged("order"), "no node %0|does not fit|damaged"),
        (damaged("type"), r"%1 is f32\(3,\), the file says f64"),
        (damaged("missing"), "damaged"),
        (damaged("output"), "no node %7"),
        (damaged("negative"), "no node %-1"),
        (damaged("dtype"), "damaged"),
        (damaged("value"), "damaged"),
    ],
)
def test_what_is_no_graph(text: str, message: str) -> None:
    with pytest.raises(GraphirError, match=message):
        from_json(text)


def test_attributes_that_json_cannot_hold() -> None:
    g = Graph()
    x = g.add_input((3,), dtypes.float32, "x")
    object.__setattr__(x, "attrs", {"of": frozenset()})
    with pytest.raises(GraphirError, match="frozenset"):
        g.to_json()


def test_graphml_is_read_by_networkx() -> None:
    graph = simplify(trace_graph(value_and_grad(models.huber), models.linear_params(),
                                 *models.data()))  # fmt: skip
    read = nx.read_graphml(io.BytesIO(graph.to_graphml().encode()), node_type=int)
    live = {n.id for n in graph.live()} | {n.id for n in graph.inputs}
    assert set(read) == live
    assert read.number_of_edges() == sum(len(n.inputs) for n in graph.live())
    assert {d["op"] for _, d in read.nodes(data=True)} == {n.op for n in graph.live()}
    mul = next(n for n in graph.live() if n.op == "contract")
    assert read.nodes[mul.id]["lines"].startswith("models_to_see.py:")
