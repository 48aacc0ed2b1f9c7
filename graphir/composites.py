"""Composites with torch's meaning, written over primitives: reductions, selections, softmax and
its kin. They take Values and Python numbers and know neither torch nor NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, TypeAlias

from . import dtypes
from .dtypes import DType
from .errors import DTypeError, ShapeError, UnsupportedError, user_location
from .graph import IndexRange
from .layout import axis_of, move_axis, reshape, unsqueeze
from .ops.elementwise import full_like, zeros_like
from .products import linear, matmul
from .sizes import Dim, Size, format_shape, numel
from .value import (
    Value,
    binary,
    broadcast_together,
    cast,
    float_value,
    lift_all,
    normalise_axes,
    reduce,
    require_equal,
    result_dtype,
    unary,
)

__all__ = ["linear", "matmul"]  # what Value's operators look for here

Axes: TypeAlias = int | Sequence[int] | None


# -- elementwise -------------------------------------------------------------------------------


def elementwise(op: str, x: Value) -> Value:
    """The unary primitive `op`; a type that it does not take is computed in float32."""
    if x.element.is_float:
        return x.apply(op, weak=x.weak)
    try:
        return x.apply(op, weak=x.weak)
    except DTypeError:
        return float_value(x).apply(op, weak=x.weak)


def square(x: Value) -> Value:
    """`x * x`."""
    return binary("mul", x, x)


def reciprocal(x: Value) -> Value:
    """`1 / x`."""
    return binary("div", 1.0, x)


def rsqrt(x: Value) -> Value:
    """`1 / sqrt(x)`."""
    return reciprocal(unary("sqrt", x))


def sigmoid(x: Value) -> Value:
    """`1 / (1 + exp(-x))`."""
    return unary("sigmoid", x)


def logical_not(x: Value) -> Value:
    """Where `x` is zero or False."""
    return cast(x, dtypes.bool_).apply("logical_not")


def where(condition: Any, input: Any, other: Any) -> Value:
    """`input` where `condition` holds, else `other`, promoted and broadcast.

    Raises:
        DTypeError: for a condition that is not bool.
    """
    c, x, y = lift_all(condition, input, other)
    dtype = result_dtype(x, y)
    if x.weak and y.weak and dtype.is_float:
        dtype = dtypes.float32
    c, x, y = broadcast_together("where", c, cast(x, dtype), cast(y, dtype))
    return c.apply("where", x, y)


def clamp(x: Value, min: Any = None, max: Any = None) -> Value:
    """`x` limited to [min, max]; at a limit the derivative is 1, as in torch; NaN stays.

    Raises:
        DTypeError: without any limit.
    """
    if min is None and max is None:
        raise DTypeError("clamp: at least one of min and max is needed",
                         hint="give a limit: x.clamp(min=0.0)")
    if min is not None:
        x = where(binary("lt", x, min), min, x)
    return x if max is None else where(binary("gt", x, max), max, x)


def softplus(x: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """`log(1 + exp(beta * x)) / beta`, exact for every x; `threshold` other than 20 is obeyed."""
    scaled = x if beta == 1 else x * beta
    y = unary("softplus", scaled) if beta == 1 else unary("softplus", scaled) / beta
    return y if threshold == 20 else where(scaled > threshold, x, y)


def logsigmoid(x: Value) -> Value:
    """`log(sigmoid(x))` without overflow."""
    return -unary("softplus", -x)


def silu(x: Value) -> Value:
    """`x * sigmoid(x)`."""
    return x * unary("sigmoid", x)


def logaddexp(input: Any, other: Any) -> Value:
    """`log(exp(input) + exp(other))` without overflow."""
    x, y = lift_all(input, other)
    shift = _finite(stop_gradient(binary("maximum", x, y)))
    return unary("log", unary("exp", x - shift) + unary("exp", y - shift)) + shift


def stop_gradient(x: Value) -> Value:
    """`x`, through which no derivative flows."""
    return x.apply("stop_gradient", weak=x.weak)


def _finite(x: Value) -> Value:
    """`x` with infinities replaced by 0: a shift that cannot make inf - inf."""
    return where(binary("eq", abs(x), inf), zeros_like(x), x)


# -- reductions --------------------------------------------------------------------------------


def sum(x: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The sum over `dim` (all by default); integers and bools are summed as int64."""
    wide = dtype or (x.element if x.element.is_float else dtypes.int64)
    return reduce("sum", cast(x, wide), dim, keepdim)


def count(x: Value, dim: Axes = None) -> int | Value:
    """How many elements lie along `axes`: an int, or an int64 scalar where a Dim is among them."""
    total = numel(x.sizes[a] for a in normalise_axes("mean", dim, x.ndim))
    if isinstance(total, int):
        return total
    if len(total.terms) > 1:
        return _size(x, total)
    monomial, factor = total.terms[0]
    result = _size(x, Dim.symbol(monomial[0]))
    for name in monomial[1:]:
        result = result * _size(x, Dim.symbol(name))
    return result if factor == 1 else result * factor


def _size(x: Value, size: Dim) -> Value:
    return type(x)(x.graph, x.graph.add("size", size=size), weak=True)


def mean(x: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The mean over `dim` (all by default).

    Raises:
        DTypeError: for integers and bools, as in torch.
    """
    x = cast(x, dtype) if dtype else x
    if not x.element.is_float:
        raise DTypeError(f"mean: a floating-point value is expected, got {x.element}",
                         hint="convert it first, e.g. x.float().mean()")
    return reduce("sum", x, dim, keepdim) / count(x, dim)


def var(x: Value, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> Value:
    """The mean squared distance from the mean, over count - correction."""
    centred = x - mean(x, dim, keepdim=True) if x.ndim else x - x
    return reduce("sum", centred * centred, dim, keepdim) / (count(x, dim) - correction)


def std(x: Value, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> Value:
    """The square root of `var`."""
    return unary("sqrt", var(x, dim, correction, keepdim))


def norm(x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """The Euclidean norm over `dim`; its derivative at 0 is 0, as in torch."""
    total = reduce("sum", square(float_value(x)), dim, keepdim)
    zero = binary("eq", total, 0.0)
    return where(zero, 0.0, unary("sqrt", where(zero, 1.0, total)))


def logsumexp(x: Value, dim: Axes, keepdim: bool = False) -> Value:
    """`log(sum(exp(x)))` over `dim` without overflow; -inf where every element is."""
    x = float_value(x)
    shift = _finite(stop_gradient(reduce("amax", x, dim, keepdim=True)))
    out = unary("log", reduce("sum", unary("exp", x - shift), dim, keepdim=True)) + shift
    over = normalise_axes("logsumexp", dim, x.ndim)
    return out if keepdim else reshape(
        out, tuple(s for i, s in enumerate(out.sizes) if i not in over))


def _shifted(name: str, x: Value, dim: int | None, dtype: DType | None) -> Value:
    if dim is None:
        raise unsupported_option(name, "leaving out dim", f"say which axis: {name}(x, dim=-1)")
    x = cast(x, dtype) if dtype else float_value(x)
    # The shift cancels in the result, so nothing flows through it at any order.
    return x - stop_gradient(reduce("amax", x, dim, keepdim=True))


def softmax(x: Value, dim: int | None = None, dtype: DType | None = None) -> Value:
    """`exp(x) / sum(exp(x))` along `dim`, without overflow."""
    e = unary("exp", _shifted("softmax", x, dim, dtype))
    return e / reduce("sum", e, dim, keepdim=True)


def log_softmax(x: Value, dim: int | None = None, dtype: DType | None = None) -> Value:
    """`log(softmax(x))` along `dim`, without overflow."""
    shifted = _shifted("log_softmax", x, dim, dtype)
    return shifted - unary("log", reduce("sum", unary("exp", shifted), dim, keepdim=True))


# -- selection by integers ---------------------------------------------------------------------


def iota(like: Value, size: Size) -> Value:
    """0, 1, …, size - 1 in the graph of `like`, int64."""
    return type(like)(like.graph, like.graph.add("iota", size=size))


def one_hot_mask(index: Value, size: Size, axis: int = -1) -> Value:
    """Bools of the shape of `index` with a new axis of `size`: True where its position is `index`.

    A select by this mask is a gather whose derivative is again a select.
    """
    at = axis_of("one_hot", axis, index.ndim + 1)
    positions = reshape(iota(index, size), (size, *(1,) * (index.ndim - at)))
    return binary("eq", unsqueeze(index, at), positions)


def select(x: Value, index: Value, axis: int) -> Value:
    """`x` at position `index` of `axis`, which goes; `index` has the other axes' shape.

    What is not selected is not multiplied by 0 but left out, so it may be inf or NaN.
    """
    mask = one_hot_mask(index, x.sizes[axis], axis)
    return reduce("sum", where(mask, x, zeros_like(x)), axis)


def promise_range(index: Value, low: int, high: Size) -> None:
    """Have `low <= index < high` checked on the host, where `index` is an argument itself."""
    if index.node.op == "input" and isinstance(high, int):
        promise = IndexRange(index.node, low, high, user_location())
        known = {(r.node, r.low, r.high) for r in index.graph.ranges}
        if (promise.node, promise.low, promise.high) not in known:
            index.graph.ranges.append(promise)


def require_integers(what: str, index: Value) -> None:
    """Raise DTypeError unless `index` holds integers."""
    if index.element.kind != "i":
        raise DTypeError(f"{what}: the index must hold integers, got {index.node.type}",
                         hint="convert it, e.g. index.long(), or select with torch.where")


def gather(x: Value, dim: int, index: Value) -> Value:
    """`out[.., i, ..] = x[.., index[.., i, ..], ..]` along `dim`, the shape of `index`.

    Raises:
        ShapeError: where the ranks differ, or another axis of `index` is longer than that of `x`.
        DTypeError: for an index that is not integer.
    """
    require_integers("gather", index)
    axis = axis_of("gather", dim, x.ndim)
    if index.ndim != x.ndim:
        raise ShapeError(f"gather: the index must have the rank of the value, got {index.node.type}"
                         f" for {x.node.type}", hint="add axes, e.g. index[:, None]")
    for i, (s, t) in enumerate(zip(x.sizes, index.sizes, strict=True)):
        if i != axis and s != t:
            if isinstance(s, int) and isinstance(t, int) and t < s:
                x = x.apply("slice", axis=i, start=0, step=1, length=t)
            else:
                require_equal(f"gather: the index {format_shape(index.sizes)} is longer than "
                              f"{format_shape(x.sizes)} on axis {i}", s, t, x.graph.hints,
                              "shorten the index")
    promise_range(index, 0, x.sizes[axis])
    boolean = x.element is dtypes.bool_
    x = cast(x, dtypes.uint8) if boolean else x
    if index.sizes[axis] == 1:
        flat = reshape(index, index.sizes[:axis] + index.sizes[axis + 1:])
        out = unsqueeze(select(x, flat, axis), axis)
    else:
        spread = unsqueeze(move_axis(x, axis, -1), axis)
        mask = one_hot_mask(index, x.sizes[axis])
        out = reduce("sum", where(mask, spread, full_like(spread, 0)), -1)
    return cast(out, dtypes.bool_) if boolean else out


def unsupported_option(name: str, option: str, hint: str | None = None) -> UnsupportedError:
    """The error for an option of a known function that graphir does not have."""
    return UnsupportedError(name, f"{name}: {option} is not supported", hint=hint)
