"""Elementwise composites with torch's meaning: activations, rounding, and sums of products."""

from __future__ import annotations

import math
from typing import Any

from . import dtypes
from .composites import clamp, elementwise, numbered, unsupported_option, where
from .errors import DTypeError
from .precision import rounded_once
from .value import Value, binary, cast, float_value, lift_all, result_dtype, unary

# torch's constants of selu.
_SELU = (1.0507009873554804934193349852946, 1.6732632423543772848170429916717)


def leaky_relu(x: Value, negative_slope: float = 0.01) -> Value:
    """`x` above 0, `negative_slope * x` elsewhere."""
    return where(x > 0, x, x * negative_slope)


def prelu(x: Value, weight: Any) -> Value:
    """leaky_relu with a learned slope: one, or one for each entry of axis 1."""
    (w,) = lift_all(weight) if isinstance(weight, Value) else [x.lift(weight)]
    if w.ndim == 1 and x.ndim > 1 and w.sizes[0] != 1:
        w = w.apply("reshape", shape=(w.sizes[0], *(1,) * (x.ndim - 2)))
    elif w.ndim == 1:
        w = w.apply("reshape", shape=())
    return where(x > 0, x, w * x)


@rounded_once
def elu(x: Value, alpha: float = 1.0) -> Value:
    """`x` above 0, `alpha * (exp(x) - 1)` elsewhere."""
    return _elu(x, alpha, 1.0)


@rounded_once
def celu(x: Value, alpha: float = 1.0) -> Value:
    """`x` above 0, `alpha * (exp(x / alpha) - 1)` elsewhere."""
    return _elu(x, alpha, 1.0 / alpha)


@rounded_once
def selu(x: Value) -> Value:
    """elu scaled so that a layer keeps mean 0 and variance 1."""
    return _elu(x, _SELU[1], 1.0) * _SELU[0]


def _elu(x: Value, alpha: float, scale: float) -> Value:
    # What is not chosen must not overflow: its derivative would be 0 * inf. At 0 the derivative is
    # that of the branch below, but the second one is 0, as in torch.
    above = x > 0
    below = unary("expm1", where(above, 0.0, x * scale)) * alpha
    flat = x * (scale * alpha)
    return where(above, x, where(binary("eq", x, 0.0), flat, below))


@rounded_once
def gelu(x: Value, approximate: str = "none") -> Value:
    """`x` times the normal distribution's cumulative probability at x, exact or by tanh.

    Raises:
        UnsupportedError: for another `approximate` than "none" and "tanh".
    """
    if approximate == "none":
        return x * 0.5 * (1.0 + unary("erf", x * math.sqrt(0.5)))
    if approximate != "tanh":
        raise unsupported_option("gelu", f"approximate={approximate!r}", "use 'none' or 'tanh'")
    inner = (x + 0.044715 * (x * x * x)) * math.sqrt(2 / math.pi)
    return x * 0.5 * (1.0 + unary("tanh", inner))


def hardtanh(x: Value, min_val: float = -1.0, max_val: float = 1.0) -> Value:
    """`x` limited to [min_val, max_val]; at a limit the derivative is 0, as in torch."""
    low, high, x = _limit(x, min_val), _limit(x, max_val), numbered(x)
    return where(x <= low, low, where(x >= high, high, x))


def _limit(x: Value, number: float) -> float | int:
    """A limit in the type of `x`, so that integers stay what they are."""
    return number if x.element.is_float else int(number)


def relu6(x: Value) -> Value:
    """`x` limited to [0, 6]."""
    return hardtanh(x, 0.0, 6.0)


@rounded_once
def hardsigmoid(x: Value) -> Value:
    """`x / 6 + 1/2` limited to [0, 1]."""
    return relu6(x + 3.0) / 6.0


@rounded_once
def hardswish(x: Value) -> Value:
    """`x * hardsigmoid(x)`, with torch's derivatives at -3 and 3."""
    return where(x <= -3.0, 0.0, where(x < 3.0, x * ((x + 3.0) / 6.0), x))


@rounded_once
def softsign(x: Value) -> Value:
    """`x / (1 + abs(x))`."""
    return x / (1.0 + abs(x))


@rounded_once
def tanhshrink(x: Value) -> Value:
    """`x - tanh(x)`."""
    return x - unary("tanh", x)


@rounded_once
def mish(x: Value) -> Value:
    """`x * tanh(softplus(x))`."""
    return x * unary("tanh", unary("softplus", x))


# -- sums of products --------------------------------------------------------------------------


def exp2(x: Value) -> Value:
    """`2 ** x`."""
    return unary("exp2", x)


def expm1(x: Value) -> Value:
    """`exp(x) - 1`."""
    return unary("expm1", x)


def log1p(x: Value) -> Value:
    """`log(1 + x)`."""
    return unary("log1p", x)


@rounded_once
def lerp(input: Any, end: Any, weight: Any) -> Value:
    """`input + weight * (end - input)`, exact at both ends."""
    a, b, w = lift_all(input, end, weight)
    near, far = a + w * (b - a), b - (b - a) * (1.0 - w)
    if isinstance(weight, (int, float)):
        return near if abs(weight) < 0.5 else far
    return where(abs(w) < 0.5, near, far)


@rounded_once
def addcmul(input: Any, tensor1: Any, tensor2: Any, value: float = 1) -> Value:
    """`input + value * tensor1 * tensor2`; of integers with `value` cut to one, as in torch."""
    product = binary("mul", tensor1, tensor2)
    (x,) = lift_all(input) if isinstance(input, Value) else [product.lift(input)]
    if not (x.element.is_float or product.element.is_float):
        value = int(value)
    return binary("add", x, product if value == 1 else product * value)


@rounded_once
def addcdiv(input: Any, tensor1: Any, tensor2: Any, value: float = 1) -> Value:
    """`input + value * tensor1 / tensor2`."""
    ratio = binary("div", tensor1, tensor2)
    return binary("add", input, ratio if value == 1 else ratio * value)


@rounded_once
def xlogy(input: Any, other: Any) -> Value:
    """`input * log(other)`, and 0 where `input` is 0, unless `other` is NaN."""
    x, y = (float_value(v) for v in lift_all(input, other))
    # A 0-d `other` of a wider type yields to the type of `input` before it gets its shape.
    y = cast(y, result_dtype(x, y))
    outside = (y <= 0.0) | (y == math.inf)
    flat = binary("eq", x, 0.0) & outside
    return x * unary("log", where(flat, 1.0, y))


# -- rounding ----------------------------------------------------------------------------------


def rounded(op: str, x: Value) -> Value:
    """The rounding primitive `op`; integers are whole already."""
    return elementwise(op, x) if x.element.is_float else x


def floor(x: Value) -> Value:
    """The greatest whole number that is not above."""
    return rounded("floor", x)


def ceil(x: Value) -> Value:
    """The least whole number that is not below."""
    return rounded("ceil", x)


def trunc(x: Value) -> Value:
    """The whole number next to x on the way to 0."""
    return rounded("trunc", x)


def frac(x: Value) -> Value:
    """What `trunc` takes away."""
    return x - trunc(x)


def round(x: Value, decimals: int = 0) -> Value:
    """The nearest whole number, or the nearest with that many decimals; halves go to the even."""
    if not decimals or not x.element.is_float:
        return rounded("rint", x)
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return rounded("rint", x * scale) / scale
    return rounded("rint", x / scale) * scale


def remainder(input: Any, other: Any) -> Value:
    """The remainder of the division rounded down: of the sign of `other`, as Python's `%`."""
    x, y = _divided(input, other)
    r = binary("fmod", x, y)
    return where(_above_floor(r, y), r + y, r)


def floor_divide(input: Any, other: Any) -> Value:
    """The quotient rounded down, as Python's `//`."""
    x, y = _divided(input, other)
    if not result_dtype(x, y).is_float:
        q = binary("quotient", x, y)
        return where(_above_floor(binary("fmod", x, y), y), q - 1, q)
    # Whole but for rounding, and infinite or NaN where y is 0.
    near = rounded("rint", (x - remainder(x, y)) / y)
    return where(binary("eq", y, 0), x / y, near)


def _divided(input: Any, other: Any) -> tuple[Value, Value]:
    """The operands of a division: a whole number beyond the type is the one that it wraps around
    to, before signs are compared."""
    x, y = lift_all(input, other)
    dtype = result_dtype(x, y)
    if dtype.kind == "i" and not (x.weak and y.weak):
        x, y = cast(x, dtype), cast(y, dtype)
    return x, y


def _above_floor(r: Value, y: Value) -> Value:
    """Where a quotient that was cut to a whole number, leaving `r`, lies above the floor."""
    return binary("ne", r, 0) & binary("ne", binary("lt", r, 0), binary("lt", y, 0))


def divide(input: Any, other: Any, rounding_mode: str | None = None) -> Value:
    """torch's div: the quotient, or with `rounding_mode` the one rounded down or to 0.

    Raises:
        UnsupportedError: for another `rounding_mode` than None, "floor" and "trunc".
    """
    if rounding_mode is None:
        return binary("div", input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise unsupported_option(
            "div", f"rounding_mode={rounding_mode!r}", "use None, 'floor' or 'trunc'"
        )
    x, y = lift_all(input, other)
    both = x + y
    return trunc(binary("div", x, y)) if both.element.is_float else binary("quotient", x, y)


# -- logic -------------------------------------------------------------------------------------


def logical_xor(input: Any, other: Any) -> Value:
    """Where exactly one of them is not zero."""
    x, y = (cast(v, dtypes.bool_) for v in lift_all(input, other))
    return binary("ne", x, y)


def isnan(x: Value) -> Value:
    """Where `x` is not a number."""
    return binary("ne", x, x)


def isinf(x: Value) -> Value:
    """Where `x` is infinite."""
    return binary("eq", abs(x), math.inf) if x.element.is_float else binary("ne", x, x)


def isfinite(x: Value) -> Value:
    """Where `x` is a finite number."""
    return binary("lt", abs(x), math.inf) if x.element.is_float else binary("eq", x, x)


def nan_to_num(
    x: Value, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Value:
    """`x` with numbers in place of NaN and infinities: the type's limits by default."""
    if not x.element.is_float:
        return x
    limits = dtypes.limits(x.element)
    high = float(limits.max) if posinf is None else posinf
    low = float(limits.min) if neginf is None else neginf
    x = where(isnan(x), nan or 0.0, x)
    return where(binary("eq", x, math.inf), high, where(binary("eq", x, -math.inf), low, x))


def sign(x: Value) -> Value:
    """-1, 0 or 1; bools stay as they are."""
    return x if x.element is dtypes.bool_ else elementwise("sign", x)


def clamp_min(x: Value, min: Any) -> Value:
    """`x`, at least `min`."""
    return clamp(x, min=min)


def clamp_max(x: Value, max: Any) -> Value:
    """`x`, at most `max`."""
    return clamp(x, max=max)


@rounded_once
def deg2rad(x: Value) -> Value:
    """Degrees as radians."""
    return float_value(x) * (math.pi / 180)


@rounded_once
def rad2deg(x: Value) -> Value:
    """Radians as degrees."""
    return float_value(x) * (180 / math.pi)


def threshold(x: Value, threshold: float, value: float) -> Value:
    """`x` where it is above `threshold`, else `value`."""
    return where(x <= threshold, _limit(x, value), x)


def heaviside(input: Any, values: Any) -> Value:
    """0 below zero, 1 above, `values` at zero.

    Raises:
        DTypeError: for operands of two dtypes, as in torch.
    """
    x, y = lift_all(input, values)
    if x.element is not y.element:
        raise DTypeError(f"heaviside: one dtype is expected, got {x.node.type} and {y.node.type}")
    return where(binary("eq", x, 0), y, cast(x > 0, x.element))
