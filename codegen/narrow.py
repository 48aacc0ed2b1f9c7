"""Products of numbers of 16 bits, which float32 holds exactly.

`prepare` widens the operands of a product to float32, so that its sum is one of float32. A matrix
unit does the same by itself, at several times the rate, where it is given the numbers of 16 bits.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TypeAlias

from graphir.dtypes import bfloat16, float16, float32
from graphir.graph import Node

from .axes import AxisMap

NARROW = frozenset({bfloat16, float16})
Edge: TypeAlias = tuple[Node, int]
"""A node and the position of one of its operands."""


def widens(node: Node) -> bool:
    """Whether a node is nothing but numbers of 16 bits, in float32."""
    return node.op == "cast" and node.dtype is float32 and node.inputs[0].dtype in NARROW


def narrow_edges(node: Node, axes: AxisMap, computed: Container[Node]) -> tuple[Edge, Edge] | None:
    """Where both operands of a product still are of the same 16 bits; None where they are not.

    A product of float32 with 16 bits has none: the float32 would be rounded.

    Args:
        computed: what the product's kernel computes; all else it reads, in the type that it has.
    """
    left, right = (_below(node, position, axes, computed) for position in (0, 1))
    if left is None or right is None:
        return None
    same = left[0].inputs[0].dtype is right[0].inputs[0].dtype
    return (left, right) if same else None


def _below(node: Node, position: int, axes: AxisMap, computed: Container[Node]) -> Edge | None:
    """The operand of the cast that an operand comes from by movement alone."""
    while (node, position) not in axes.cuts:
        node, position = node.inputs[position], 0
        if node not in computed:
            return None
        if widens(node):
            return node, 0
        if not axes.is_alias(node):
            return None
    return None
