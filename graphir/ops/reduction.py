"""Reductions over axes, which drop the axes they reduce. Identity and combiner are data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import DTypeError
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Combiner, Jvp, Kind, OpDef, Vjp
from ..sizes import Shape, numel
from ..value import Value, cast
from .elementwise import full_like, select_or_zero


def restore(x: Value, like: Value, axes: tuple[int, ...]) -> Value:
    """`x`, a value without `axes`, stretched back to the shape of `like`."""
    dims = tuple(i for i in range(like.ndim) if i not in axes)
    return x.apply("broadcast", shape=like.sizes, dims=dims)


def _vjp_sum(g: Value, out: Value, x: Value, axes: tuple[int, ...]) -> Value:
    return restore(g, x, axes)


def _vjp_extremum(g: Value, out: Value, x: Value, axes: tuple[int, ...]) -> Value:
    """torch's subgradient of max and min: an equal share for each element that attains it."""
    hit = _hits(out, x, axes)
    count = cast(hit, g.element).apply("sum", axes=axes)
    return select_or_zero(hit, restore(g / count, x, axes))


def _jvp_extremum(
    tangents: Sequence[Value | None], out: Value, x: Value, axes: tuple[int, ...]
) -> Value:
    """The mean tangent of the elements that attain it: the transpose of `_vjp_extremum`."""
    (t,) = tangents
    assert t is not None
    hit = _hits(out, x, axes)
    count = cast(hit, t.element).apply("sum", axes=axes)
    return select_or_zero(hit, t).apply("sum", axes=axes) / count


def _hits(out: Value, x: Value, axes: tuple[int, ...]) -> Value:
    """Where `x` is its extremum: where it is NaN, if that is NaN."""
    hit = x.apply("eq", restore(out, x, axes))
    return hit.apply("logical_or", x.apply("ne", x)) if x.element.is_float else hit


def _vjp_prod(g: Value, out: Value, x: Value, axes: tuple[int, ...]) -> Value:
    return restore(g, x, axes) * product_of_others(x, axes)


def _jvp_prod(
    tangents: Sequence[Value | None], out: Value, x: Value, axes: tuple[int, ...]
) -> Value:
    (t,) = tangents
    assert t is not None
    return (t * product_of_others(x, axes)).apply("sum", axes=axes)


def product_of_others(x: Value, axes: tuple[int, ...]) -> Value:
    """For each element, the product of the others along `axes`: right where some are 0, in every
    derivative, at the price of one product an element."""
    kept = tuple(i for i in range(x.ndim) if i not in axes)
    if not axes:
        return full_like(x, 1.0)
    rows = x.apply("permute", order=(*kept, *axes))
    shape, count = rows.sizes, numel(x.sizes[a] for a in axes)
    rows = rows.apply("reshape", shape=(*shape[: len(kept)], count))
    wide = (*rows.sizes, count)
    at = len(kept)
    spread = rows.apply("broadcast", shape=wide, dims=(*range(at), at + 1))
    place = Value(x.graph, x.graph.add("iota", size=count))
    mine, theirs = (place.apply("broadcast", shape=wide, dims=(at + i,)) for i in (0, 1))
    others = mine.apply("eq", theirs).apply("where", full_like(spread, 1.0), spread)
    out = others.apply("prod", axes=(at + 1,)).apply("reshape", shape=shape)
    back = tuple(int(i) for i in np.argsort((*kept, *axes)))
    return out.apply("permute", order=back)


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
_reduction("prod", Combiner("mul", lambda dtype: 1, np.multiply), _vjp_prod, "if", _jvp_prod)
_reduction("amax", MAX, _vjp_extremum, "bif", _jvp_extremum)
_reduction("amin", MIN, _vjp_extremum, "bif", _jvp_extremum)
