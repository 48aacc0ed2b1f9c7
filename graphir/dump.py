"""A graph as text: typed, compact and stable."""

from __future__ import annotations

from typing import Any

import numpy as np

from .dtypes import DType
from .graph import Graph, Node
from .sizes import format_shape


def dump(graph: Graph) -> str:
    """The live part of `graph`, a line a node, then what was pruned and the notes.

        graph(x: f32(n, 3), w: f32(3,))
          %2 = contract(x, w, "nd,d->n")   f32(n,)   train.py:17
          return %2

    Inputs go by their names (all of them are shown), constants by their numbers.
    """
    text = Naming(graph)
    arguments = ", ".join(f"{text.operand(x)}: {x.type}" for x in graph.inputs)
    lines = [f"graph({arguments})"]
    rows = [
        (f"{text.operand(node)} = {text.expression(node)}", node.type, text.lines(node))
        for node in graph.live()
        if node.op not in ("input", "constant")
    ]
    left = max((len(row[0]) for row in rows), default=0)
    middle = max((len(row[1]) for row in rows), default=0)
    lines += [
        f"  {expression:{left}}   {type_:{middle}}   {where}".rstrip()
        for expression, type_, where in rows
    ]
    lines.append("  return " + ", ".join(text.operand(x) for x in graph.outputs))
    if graph.pruned:
        lines.append("pruned:")
        lines += [f"  {entry}" for entry in graph.pruned]
    if graph.notes:
        lines.append("notes:")
        lines += [f"  {note}" for note in graph.notes]
    return "\n".join(lines)


class Naming:
    """How the nodes of one graph are written: shared by the dump and the drawings."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def operand(self, node: Node) -> str:
        """`x`, `%3` or, for a constant, its number."""
        if node.op == "constant":
            return format_constant(node)
        if node.op == "input":
            return self.graph.names[node]
        return f"%{node.id}"

    def expression(self, node: Node) -> str:
        """`mul(x, %3)`, `sum(%4, axes=(0,))`, `contract(x, w, "nd,d->n")`."""
        parts = [self.operand(x) for x in node.inputs]
        attrs = dict(node.attrs)
        if node.op == "contract":
            parts.append(f'"{attrs.pop("lhs")},{attrs.pop("rhs")}->{attrs.pop("out")}"')
        # What the type at the end of the line says already.
        attrs.pop("dtype", None)
        if attrs.get("shape") == node.shape:
            del attrs["shape"]
        parts += [f"{name}={_format(value)}" for name, value in attrs.items()]
        return f"{node.op}({', '.join(parts)})"

    def lines(self, node: Node) -> str:
        """The user's lines, sorted: `train.py:17, train.py:21`."""
        return ", ".join(map(str, sorted(self.graph.locations.get(node, []))))


def format_constant(node: Node) -> str:
    """The number that a constant holds, as short as tells it apart: `2`, `0.1`, `true`."""
    value = np.frombuffer(node.attrs["value"], node.dtype.numpy)[0]
    if node.dtype.kind == "b":
        return "true" if value else "false"
    if node.dtype.kind == "i":
        return str(int(value))
    return (
        np.format_float_positional(value, unique=True, trim="0")
        if (value == 0 or 1e-4 <= abs(value) < 1e6)
        else str(value)
    )


def _format(value: Any) -> str:
    if isinstance(value, DType):
        return value.short
    if isinstance(value, tuple):
        return format_shape(value)
    return str(value)
