"""The contraction: a sum of products over named axes, which every matrix product is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import DTypeError, ShapeError
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Kind, OpDef
from ..sizes import Shape, Size
from ..value import Value


def _infer(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    a, b = inputs
    if a.dtype is not b.dtype:
        raise DTypeError(
            f"matmul: operands must have one dtype, got {a.type} and {b.type}",
            hint="convert one of them, e.g. x.to(w.dtype)",
        )
    sizes: dict[str, Size] = {}
    for labels, x in ((attrs["lhs"], a), (attrs["rhs"], b)):
        for label, size in zip(labels, x.shape, strict=True):
            if sizes.setdefault(label, size) != size:
                raise ShapeError(f"contract: sizes differ: {a.type} and {b.type}")
    return tuple(sizes[label] for label in attrs["out"]), a.dtype


def _evaluate(sizes: Any, node: Node, a: Array, b: Array) -> Array:
    spec = f"{node.attrs['lhs']},{node.attrs['rhs']}->{node.attrs['out']}"
    return np.asarray(np.einsum(spec, a, b, optimize=True), node.dtype.numpy)


# Each label of an operand occurs in the other operand or in the output, so the cotangent of one
# operand is again one contraction: of the output's cotangent with the other operand.
def _vjp_lhs(g: Value, o: Value, a: Value, b: Value, lhs: str, rhs: str, out: str) -> Value:
    return g.apply("contract", b, lhs=out, rhs=rhs, out=lhs)


def _vjp_rhs(g: Value, o: Value, a: Value, b: Value, lhs: str, rhs: str, out: str) -> Value:
    return a.apply("contract", g, lhs=lhs, rhs=out, out=rhs)


OPS.register(
    OpDef("contract", Kind.CONTRACTION, _infer, _evaluate, (_vjp_lhs, _vjp_rhs), linear=(0, 1))
)
