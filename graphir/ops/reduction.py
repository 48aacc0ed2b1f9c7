"""Reductions over axes, which drop the axes they reduce. Identity and combiner are data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import DTypeError
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Combiner, Jvp, Kind, OpDef, Vjp
from ..sizes import Shape
from ..value import Value, cast
from .elementwise import select_or_zero


def restore(x: Value, like: Value, axes: tuple[int, ...]) -> Value:
    """`x`, a value without `axes`, stretched back to the shape of `like`."""
    dims = tuple(i for i in range(like.ndim) if i not in axes)
    return x.apply("broadcast", shape=like.sizes, dims=dims)


def _vjp_sum(g: Value, out: Value, x: Value, axes: tuple[int, ...]) -> Value:
    return restore(g, x, axes)


def _vjp_extremum(g: Value, out: Value, x: Value, axes: tuple[int, ...]) -> Value:
    """torch's subgradient of amax and amin: an equal share for each element that attains it."""
    hit = x.apply("eq", restore(out, x, axes))
    count = cast(hit, g.element).apply("sum", axes=axes)
    return select_or_zero(hit, restore(g / count, x, axes))


def _jvp_extremum(
    tangents: Sequence[Value | None], out: Value, x: Value, axes: tuple[int, ...]
) -> Value:
    """The mean tangent of the elements that attain it: the transpose of `_vjp_extremum`."""
    (t,) = tangents
    assert t is not None
    hit = x.apply("eq", restore(out, x, axes))
    count = cast(hit, t.element).apply("sum", axes=axes)
    return select_or_zero(hit, t).apply("sum", axes=axes) / count


def _reduction(name: str, combiner: Combiner, vjp: Vjp, kinds: str, jvp: Jvp | None = None) -> None:
    def infer(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
        (x,) = inputs
        if x.dtype.kind not in kinds:
            raise DTypeError(f"{name} does not take {x.dtype}")
        return tuple(s for i, s in enumerate(x.shape) if i not in attrs["axes"]), x.dtype

    def evaluate(sizes: Any, node: Node, x: Array) -> Array:
        start = np.asarray(combiner.identity(node.dtype), node.dtype.numpy)
        return np.asarray(
            combiner.ufunc.reduce(x, axis=node.attrs["axes"], initial=start, dtype=x.dtype)
        )

    linear = () if jvp else (0,)
    OPS.register(
        OpDef(
            name,
            Kind.REDUCTION,
            infer,
            evaluate,
            (vjp,),
            combiner=combiner,
            linear=linear,
            jvp=jvp,
        )
    )


def _lowest(dtype: DType) -> float | int | bool:
    if dtype.kind == "b":
        return False
    return -float("inf") if dtype.is_float else int(np.iinfo(dtype.numpy).min)


def _highest(dtype: DType) -> float | int | bool:
    if dtype.kind == "b":
        return True
    return float("inf") if dtype.is_float else int(np.iinfo(dtype.numpy).max)


SUM = Combiner("add", lambda dtype: 0, np.add)
MAX = Combiner("maximum", _lowest, np.maximum)
MIN = Combiner("minimum", _highest, np.minimum)

_reduction("sum", SUM, _vjp_sum, "if")
_reduction("amax", MAX, _vjp_extremum, "bif", _jvp_extremum)
_reduction("amin", MIN, _vjp_extremum, "bif", _jvp_extremum)
