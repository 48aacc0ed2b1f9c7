"""The rebuilding of graphs that every pass shares, and what a rule of simplification is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any, TypeAlias

import numpy as np

from .errors import Location
from .graph import Graph, Node
from .opdef import OPS, Kind
from .sizes import Dim, Size

# (the new graph, the old node, its operands in the new graph) -> its stand-in, or None to copy it
Replace: TypeAlias = Callable[[Graph, Node, tuple[Node, ...]], Node | None]


def rebuild(graph: Graph, replace: Replace) -> Graph:
    """A new graph of the live nodes of `graph`, each what `replace` makes of it.

    Everything that a graph knows beside its nodes comes along: all inputs in order, outputs,
    names, locations (merged where nodes merge), captured arrays, hints, ranges, pruned entries
    and notes. An entry about a node that did not survive becomes a note.
    """
    return rebuild_with_map(graph, replace)[0]


def rebuild_with_map(graph: Graph, replace: Replace) -> tuple[Graph, dict[Node, Node]]:
    """`rebuild`, and the new node of each live old one."""
    new = Graph(hints=dict(graph.hints), notes=list(graph.notes))
    mapping: dict[Node, Node] = {}
    for node in graph.inputs:
        with new.located(graph.locations.get(node, [])):
            mapping[node] = new.add_input(
                node.shape, node.dtype, graph.names[node], weak=node.attrs["weak"]
            )
    for node in graph.live():
        if node in mapping:
            continue
        lines = graph.locations.get(node, [])
        with new.located(lines, backward=node in graph.backward):
            operands = tuple(mapping[x] for x in node.inputs)
            made = replace(new, node, operands)
            if made is None:
                made = new.add(node.op, *operands, **node.attrs)
        mapping[node] = made
        _merge_lines(new, made, lines)
        if node in graph.names and made not in new.names:
            new.names[made] = graph.names[node]
    new.outputs = [mapping[node] for node in graph.outputs]
    new.captured = {mapping[node]: array for node, array in graph.captured.items()}
    new.ranges = [replaced(r, node=mapping[r.node]) for r in graph.ranges if r.node in mapping]
    _carry_pruned(graph, new, mapping)
    return new, mapping


def copy_graph(graph: Graph) -> Graph:
    """The live nodes of `graph` as a graph of their own, numbered anew."""
    return rebuild(graph, lambda new, node, operands: None)


@dataclass(frozen=True)
class Rule:
    """One simplification.

    Attributes:
        name: what it does, in a few characters, e.g. `x*1`.
        ops: the ops it looks at, by name or by kind.
        why: why the value is the same, or what is given up.
        apply: from a node whose operands are simplified to the better node, which it builds with
            the Builder; None where the pattern does not fit.
    """

    name: str
    ops: tuple[str | Kind, ...] | Kind
    why: str
    apply: Callable[[Builder, Node], Node | None]

    def names(self) -> list[str]:
        """The ops it looks at, by name."""
        wanted = self.ops if isinstance(self.ops, tuple) else (self.ops,)
        return [name for name, op in OPS.items() if name in wanted or op.kind in wanted]


class Builder:
    """Adds nodes in simplified form: what a rule builds is itself simplified as it is built.

    The operands of a new node are in simplified form already, so each rule looks only at the
    node and a step or two below it, and one pass over a graph is linear in its nodes.
    """

    def __init__(self, graph: Graph, rules: dict[str, list[Rule]], fired: list[str]) -> None:
        self.graph = graph
        self._rules = rules
        self._fired = fired

    def add(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        """`op(*inputs, **attrs)`, or what the rules make of it."""
        node = self.graph.add(op, *inputs, **attrs)
        for rule in self._rules.get(op, ()):
            better = rule.apply(self, node)
            if better is not None and better is not node:
                self._fired.append(rule.name)
                return better
        return node


def constant_value(node: Node) -> float | int | bool | None:
    """The number that a constant, or a broadcast of one, holds; None for anything else."""
    if node.op == "broadcast":
        (node,) = node.inputs
    if node.op != "constant":
        return None
    value: float | int | bool = np.frombuffer(node.attrs["value"], node.dtype.numpy)[0].item()
    return value


def filled(b: Builder, like: Node, value: float | Size) -> Node:
    """A number, or a size, in the shape and dtype of `like`."""
    if isinstance(value, Dim):
        c = b.add("cast", b.add("size", size=value), dtype=like.dtype)
    else:
        c = b.graph.constant(value, like.dtype)
    return b.add("broadcast", c, shape=like.shape, dims=()) if like.ndim else c


def _merge_lines(graph: Graph, node: Node, lines: list[Location]) -> None:
    """Add the lines of a node to the one that stands in for it. An argument has but its own."""
    if node.op != "input":
        known = graph.locations.setdefault(node, [])
        known.extend(line for line in lines if line not in known)


def _carry_pruned(graph: Graph, new: Graph, mapping: dict[Node, Node]) -> None:
    told: set[Node] = set()
    for entry in graph.pruned:
        node = mapping.get(entry.node)
        if node is None:
            where = ", ".join(map(str, graph.locations.get(entry.node, [])[:1]))
            note = f"pruned {entry.node.op}{' at ' + where if where else ''}: {entry.reason}"
            if note not in new.notes:
                new.notes.append(note)
        elif node not in told:
            told.add(node)
            new.pruned.append(replaced(entry, node=node))
