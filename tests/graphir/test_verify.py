"""The verifier finds each kind of broken graph, by stage and node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest

from graphir import dtypes
from graphir.graph import Graph, Node, Pruned
from graphir.value import Value
from graphir.verify import VerifyError, verify


def product() -> Graph:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float32, "x"))
    y = Value(g, g.add_input((3,), dtypes.float32, "y"))
    g.outputs = [(x * y + x * x).node]
    return g


def test_a_sound_graph_passes() -> None:
    verify(product(), "test")
    verify(Graph(), "test")


def swap(g: Graph, node: Node, new: Node) -> None:
    """Put `new` in the place of `node` without any of the checks of `Graph.add`."""
    key = next(k for k, v in g._table.items() if v is node)
    g._table[key] = new
    edges = [(x, data["operand"]) for x, _, data in g.nx.in_edges(node, data=True)]
    g.nx.remove_node(node)
    g.nx.add_node(new)
    for x, operand in edges:
        g.nx.add_edge(x, new, operand=operand)


def cycle(g: Graph) -> None:
    g.nx.add_edge(g.outputs[0], g.outputs[0].inputs[0], operand=0)


def lost_edge(g: Graph) -> None:
    square = g.outputs[0].inputs[1]
    g.nx.remove_edge(square.inputs[0], square)


def swapped_operands(g: Graph) -> None:
    node = g.outputs[0]
    for x, _, data in g.nx.in_edges(node, data=True):
        data["operand"] = 1 - node.inputs.index(x)


def wrong_shape(g: Graph) -> None:
    node = g.outputs[0]
    swap(g, node, replace(node, shape=(4,)))


def wrong_dtype(g: Graph) -> None:
    node = g.outputs[0]
    swap(g, node, replace(node, dtype=dtypes.float64))


def unhashable(g: Graph) -> None:
    node = g.outputs[0]
    swap(g, node, replace(node, attrs=MappingProxyType({"axes": [0]})))


def wrong_id(g: Graph) -> None:
    node = g.outputs[0]
    swap(g, node, replace(node, id=17))


def ill_typed(g: Graph) -> None:
    node = g.outputs[0]
    swap(g, node, replace(node, op="logical_and"))


def foreign_output(g: Graph) -> None:
    g.outputs = product().outputs


def foreign_pruned(g: Graph) -> None:
    g.pruned = [Pruned(product().inputs[0], "data")]


def lost_input(g: Graph) -> None:
    g.inputs.pop()


def exchanged_inputs(g: Graph) -> None:
    g.inputs.reverse()


def captured_node(g: Graph) -> None:
    g.captured[g.outputs[0]] = [1, 2, 3]


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (cycle, "cycle"),
        (lost_edge, "the edges do not mirror its inputs"),
        (swapped_operands, "the edges do not mirror its inputs"),
        (wrong_shape, r"its type rule says f32\(3,\)"),
        (wrong_dtype, r"its type rule says f32\(3,\)"),
        (unhashable, "do not hash"),
        (wrong_id, "not its creation number"),
        (ill_typed, "its type rule refuses it"),
        (foreign_output, "it is in `outputs` but not in the graph"),
        (foreign_pruned, "it is in `pruned` but not in the graph"),
        (lost_input, "it is not one of the graph's inputs"),
        (exchanged_inputs, "it is not the input number 0"),
        (captured_node, "it is not one of the graph's inputs"),
    ],
)
def test_damage_is_found(damage: Callable[[Graph], None], text: str) -> None:
    g = product()
    damage(g)
    with pytest.raises(VerifyError, match=text) as caught:
        verify(g, "the pass")
    assert caught.value.stage == "the pass"
    assert "after the pass" in str(caught.value)
