"""Composites with torch's meaning, written over primitives: reductions, selections, softmax and
its kin. They take Values and Python numbers and know neither torch nor NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import Any, TypeAlias

from . import dtypes
from .dtypes import DType
from .errors import DTypeError, UnsupportedError
from .layout import reshape
from .ops.elementwise import zeros_like
from .precision import rounded_once
from .products import linear, matmul
from .sizes import Dim, numel
from .value import (
    Value,
    binary,
    broadcast_together,
    cast,
    float_value,
    lift_all,
    normalise_axes,
    reduce,
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
    """`x * x`; of bools as int64, as in torch."""
    x = cast(x, dtypes.int64) if x.element is dtypes.bool_ else x
    return binary("mul", x, x)


def reciprocal(x: Value) -> Value:
    """`1 / x`."""
    return binary("div", 1.0, x)


def float_power(input: Any, exponent: Any) -> Value:
    """`input ** exponent` in float64."""
    x, p = (cast(v, dtypes.float64) for v in lift_all(input, exponent))
    return binary("pow", x, p)


@rounded_once
def rsqrt(x: Value) -> Value:
    """`1 / sqrt(x)`."""
    return reciprocal(unary("sqrt", x))


def sigmoid(x: Value) -> Value:
    """`1 / (1 + exp(-x))`."""
    return unary("sigmoid", x)


@rounded_once
def logit(x: Value, eps: float | None = None) -> Value:
    """`log(x / (1 - x))`, of `x` limited to [eps, 1 - eps] where that is given; NaN outside of
    [0, 1]. Relatively exact also near 1/2, where it is 0."""
    x = float_value(x)
    if eps is not None:
        x = clamp(x, eps, 1 - eps)
    middle = binary("gt", x, 0.25) & binary("lt", x, 0.75)
    m, end = where(middle, x, 0.5), where(middle, 0.5, x)
    near = unary("log1p", (2 * m - 1) / (1 - m))
    far = unary("log", end) - unary("log1p", -end)
    outside = binary("lt", x, 0.0) | binary("gt", x, 1.0)
    return where(middle, near, where(outside, where(outside, x, 1.0) * nan, far))


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


def numbered(x: Value) -> Value:
    """`x`, but that no derivative flows where it is NaN."""
    if not x.element.is_float:
        return x
    return binary("eq", x, x).apply("where", x, stop_gradient(x), weak=x.weak)


def clamp(x: Value, min: Any = None, max: Any = None) -> Value:
    """`x` limited to [min, max]; at a limit the derivative is 1, at NaN 0, as in torch.

    Raises:
        DTypeError: without any limit, or for one beyond the type of whole numbers.
    """
    if min is None and max is None:
        raise DTypeError(
            "clamp: at least one of min and max is needed", hint="give a limit: x.clamp(min=0.0)"
        )
    given = [v for v in (min, max) if v is not None]
    x, *limits = lift_all(x, *given)
    x = numbered(x)
    min, max = (numbered(v) if isinstance(v, Value) else v for v in (min, max))
    x = cast(x, result_dtype(x, *limits))
    for limit in (min, max):
        if isinstance(limit, int) and not x.element.is_float:
            # A constant beyond the type is an error, where a weak one would wrap around.
            x.graph.constant(limit, x.element)
    if min is not None:
        x = where(_beyond("lt", x, min), min, x)
    return x if max is None else where(_beyond("gt", x, max), max, x)


def _beyond(op: str, x: Value, limit: Any) -> Value:
    """Where `x` lies beyond `limit`, or that is NaN."""
    outside = binary(op, x, limit)
    if isinstance(limit, Value) and limit.element.is_float and not limit.weak:
        return outside | binary("ne", limit, limit)
    return outside


@rounded_once
def softplus(x: Value, beta: float = 1.0, threshold: float = 20.0) -> Value:
    """`log(1 + exp(beta * x)) / beta`, exact for every x; `threshold` other than 20 is obeyed."""
    scaled = x if beta == 1 else x * beta
    y = unary("softplus", scaled) if beta == 1 else unary("softplus", scaled) / beta
    return y if threshold == 20 else where(scaled > threshold, x, y)


@rounded_once
def logsigmoid(x: Value) -> Value:
    """`log(sigmoid(x))` without overflow."""
    return -unary("softplus", -x)


@rounded_once
def silu(x: Value) -> Value:
    """`x * sigmoid(x)`."""
    return x * unary("sigmoid", x)


@rounded_once
def logaddexp(input: Any, other: Any) -> Value:
    """`log(exp(input) + exp(other))` without overflow."""
    x, y = lift_all(input, other)
    # A 0-d operand of a wider type yields to the type of the other before it gets its shape.
    wanted = result_dtype(x, y)
    x, y = cast(x, wanted), cast(y, wanted)
    most = binary("maximum", x, y)
    # Beside an infinity the other has no part; of two, the derivative is NaN, as in torch.
    alone = binary("eq", most, inf) & binary("ne", x, y)
    p, q = where(alone, 0.0, x), where(alone, 0.0, y)
    shift = _finite(stop_gradient(binary("maximum", p, q)))
    sum_ = unary("log", unary("exp", p - shift) + unary("exp", q - shift)) + shift
    return where(alone, most, sum_)


def stop_gradient(x: Value) -> Value:
    """`x`, through which no derivative flows."""
    return x.apply("stop_gradient", weak=x.weak)


def _finite(x: Value) -> Value:
    """`x` with infinities replaced by 0: a shift that cannot make inf - inf."""
    return where(binary("eq", abs(x), inf), zeros_like(x), x)


def any(x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """Whether some element along `dim` is not zero."""
    return reduce("amax", cast(x, dtypes.bool_), dim, keepdim)


def all(x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """Whether no element along `dim` is zero."""
    return reduce("amin", cast(x, dtypes.bool_), dim, keepdim)


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
        raise DTypeError(
            f"mean: a floating-point value is expected, got {x.element}",
            hint="convert it first, e.g. x.float().mean()",
        )
    return _mean(x, dim, keepdim)


@rounded_once
def _mean(x: Value, dim: Axes, keepdim: bool) -> Value:
    return reduce("sum", x, dim, keepdim) / count(x, dim)


@rounded_once
def norm(x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """The Euclidean norm over `dim`; its derivative at 0 is 0, as in torch."""
    total = reduce("sum", square(float_value(x)), dim, keepdim)
    zero = binary("eq", total, 0.0)
    return where(zero, 0.0, unary("sqrt", where(zero, 1.0, total)))


@rounded_once
def logsumexp(x: Value, dim: Axes, keepdim: bool = False) -> Value:
    """`log(sum(exp(x)))` over `dim` without overflow; -inf where every element is."""
    x = float_value(x)
    shift = _finite(stop_gradient(reduce("amax", x, dim, keepdim=True)))
    out = unary("log", reduce("sum", unary("exp", x - shift), dim, keepdim=True)) + shift
    over = normalise_axes("logsumexp", dim, x.ndim)
    return (
        out if keepdim else reshape(out, tuple(s for i, s in enumerate(out.sizes) if i not in over))
    )


def _logits(name: str, x: Value, dim: int | None, dtype: DType | None) -> tuple[Value, int]:
    if dim is None:
        raise unsupported_option(name, "leaving out dim", f"say which axis: {name}(x, dim=-1)")
    return cast(x, dtype) if dtype else float_value(x), dim


def _shifted(x: Value, dim: int) -> Value:
    # The shift cancels in the result, so nothing flows through it at any order.
    return x - stop_gradient(reduce("amax", x, dim, keepdim=True))


def softmax(x: Value, dim: int | None = None, dtype: DType | None = None) -> Value:
    """`exp(x) / sum(exp(x))` along `dim`, without overflow."""
    return _softmax(*_logits("softmax", x, dim, dtype))


@rounded_once
def _softmax(x: Value, dim: int) -> Value:
    e = unary("exp", _shifted(x, dim))
    return e / reduce("sum", e, dim, keepdim=True)


def log_softmax(x: Value, dim: int | None = None, dtype: DType | None = None) -> Value:
    """`log(softmax(x))` along `dim`, without overflow."""
    return _log_softmax(*_logits("log_softmax", x, dim, dtype))


@rounded_once
def _log_softmax(x: Value, dim: int) -> Value:
    shifted = _shifted(x, dim)
    return shifted - unary("log", reduce("sum", unary("exp", shifted), dim, keepdim=True))


def unsupported_option(name: str, option: str, hint: str | None = None) -> UnsupportedError:
    """The error for an option of a known function that graphir does not have."""
    return UnsupportedError(name, f"{name}: {option} is not supported", hint=hint)
