"""Indexing by integer arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import DTypeError, ShapeError
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Kind, OpDef
from ..sizes import Shape, Size, evaluate_shape
from ..value import Value


# take: rows of x by an integer array: out[i..., j...] = x[index[i...], j...].
def _infer_take(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    x, index = inputs
    if index.dtype.kind != "i":
        raise DTypeError(
            f"an index must be an integer array, got {index.type}",
            hint="convert it, e.g. ids.long(), or select with torch.where",
        )
    if not x.shape:
        raise ShapeError("a 0-d value cannot be indexed")
    return index.shape + x.shape[1:], x.dtype


def _vjp_take(g: Value, o: Value, x: Value, index: Value) -> Value:
    return g.apply("scatter_add", index, size=x.sizes[0])


# scatter_add: the transpose of take: out[index[i...], j...] += x[i..., j...], in i's order.
def _infer_scatter(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    x, index = inputs
    return (attrs["size"], *x.shape[index.ndim :]), x.dtype


def _scatter(sizes: Any, node: Node, x: Array, index: Array) -> Array:
    out = np.zeros(evaluate_shape(node.shape, sizes), x.dtype)
    np.add.at(out, index, x)
    return out


def _vjp_scatter(g: Value, o: Value, x: Value, index: Value, size: Size) -> Value:
    return g.apply("take", index)


OPS.register(
    OpDef(
        "take",
        Kind.INDEXING,
        _infer_take,
        lambda sizes, node, x, index: np.take(x, index, axis=0),
        (_vjp_take, None),
        linear=(0,),
    )
)
OPS.register(
    OpDef(
        "scatter_add",
        Kind.INDEXING,
        _infer_scatter,
        _scatter,
        (_vjp_scatter, None),
        linear=(0,),
    )
)
