"""Movement: the same elements at other places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import ShapeError
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Kind, OpDef
from ..sizes import Shape, Size, evaluate, evaluate_shape, format_shape, numel
from ..value import Value


def _infer_broadcast(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    (x,) = inputs
    for size, dim in zip(x.shape, attrs["dims"], strict=True):
        if attrs["shape"][dim] != size:
            raise ShapeError(f"broadcast: {x.type} does not fit {format_shape(attrs['shape'])}")
    return attrs["shape"], x.dtype


def _broadcast(sizes: Any, node: Node, x: Array) -> Array:
    shape = evaluate_shape(node.shape, sizes)
    aligned = [1] * len(shape)
    for size, dim in zip(np.shape(x), node.attrs["dims"], strict=True):
        aligned[dim] = size
    return np.broadcast_to(np.reshape(x, aligned), shape)


def _vjp_broadcast(g: Value, o: Value, x: Value, shape: Shape, dims: tuple[int, ...]) -> Value:
    return g.apply("sum", axes=tuple(i for i in range(len(shape)) if i not in dims))


def _infer_reshape(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    (x,) = inputs
    if numel(x.shape) != numel(attrs["shape"]):
        raise ShapeError(
            f"reshape: {x.type} has {numel(x.shape)} elements, "
            f"{format_shape(attrs['shape'])} has {numel(attrs['shape'])}"
        )
    return attrs["shape"], x.dtype


def _vjp_permute(g: Value, o: Value, x: Value, order: tuple[int, ...]) -> Value:
    return g.apply("permute", order=tuple(int(i) for i in np.argsort(order)))


# slice: along `axis`, `length` elements from `start` in steps of `step` (which may be negative).
def _infer_slice(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    (x,) = inputs
    shape = list(x.shape)
    shape[attrs["axis"]] = attrs["length"]
    return tuple(shape), x.dtype


def _positions(node: Node, sizes: Any, count: Size) -> Array:
    return np.asarray(node.attrs["start"] + node.attrs["step"] * np.arange(evaluate(count, sizes)))


def _slice(sizes: Any, node: Node, x: Array) -> Array:
    return np.take(x, _positions(node, sizes, node.attrs["length"]), axis=node.attrs["axis"])


def _vjp_slice(
    g: Value, o: Value, x: Value, axis: int, start: int, step: int, length: Size
) -> Value:
    return g.apply("embed", axis=axis, start=start, step=step, length=x.sizes[axis])


# embed: the transpose of slice: `x` at those positions of an axis of `length`, zeros elsewhere.
def _embed(sizes: Any, node: Node, x: Array) -> Array:
    axis = node.attrs["axis"]
    out = np.zeros(evaluate_shape(node.shape, sizes), x.dtype)
    at: list[Any] = [slice(None)] * out.ndim
    at[axis] = _positions(node, sizes, x.shape[axis])
    out[tuple(at)] = x
    return out


def _vjp_embed(
    g: Value, o: Value, x: Value, axis: int, start: int, step: int, length: Size
) -> Value:
    return g.apply("slice", axis=axis, start=start, step=step, length=x.sizes[axis])


OPS.register(
    OpDef(
        "broadcast",
        Kind.MOVEMENT,
        _infer_broadcast,
        _broadcast,
        (_vjp_broadcast,),
        linear=(0,),
        doc="axis i of x becomes axis dims[i]; the others repeat it",
    )
)
OPS.register(
    OpDef(
        "reshape",
        Kind.MOVEMENT,
        _infer_reshape,
        lambda sizes, node, x: np.reshape(x, evaluate_shape(node.shape, sizes)),
        (lambda g, o, x, shape: g.apply("reshape", shape=x.sizes),),
        linear=(0,),
    )
)
OPS.register(
    OpDef(
        "permute",
        Kind.MOVEMENT,
        lambda inputs, a: (tuple(inputs[0].shape[i] for i in a["order"]), inputs[0].dtype),
        lambda sizes, node, x: np.transpose(x, node.attrs["order"]),
        (_vjp_permute,),
        linear=(0,),
    )
)
OPS.register(OpDef("slice", Kind.MOVEMENT, _infer_slice, _slice, (_vjp_slice,), linear=(0,)))
OPS.register(OpDef("embed", Kind.MOVEMENT, _infer_slice, _embed, (_vjp_embed,), linear=(0,)))
