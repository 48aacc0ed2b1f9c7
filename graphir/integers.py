"""What operators mean on whole numbers: powers, bits and shifts. All wrap around, as in torch."""

from __future__ import annotations

from typing import Any

from . import dtypes
from .errors import DTypeError
from .value import (
    Deferred,
    Value,
    binary,
    broadcast_together,
    cast,
    lift_all,
    result_dtype,
)

_SYMBOLS = {"and": "&", "or": "|", "xor": "^", "left_shift": "<<", "right_shift": ">>"}
_LOGIC = {"and": "logical_and", "or": "logical_or", "xor": "ne"}


def power(base: Any, exponent: Any) -> Value:
    """`base ** exponent`; small whole exponents become products, which are exact and smooth.

    Raises:
        DTypeError: for whole numbers to a negative number, as in torch.
    """
    if isinstance(base, Deferred) or isinstance(exponent, Deferred):
        return binary("pow", base, exponent)
    number = exponent if isinstance(exponent, (int, float)) else None
    base, exponent = lift_all(base, exponent)
    dtype = result_dtype(base, exponent)
    if number == 1 and dtype is base.element:
        return base  # type: ignore[no-any-return]
    if dtype.kind == "i":
        weak = base.weak and exponent.weak
        base, exponent = cast(base, dtype), cast(exponent, dtype)
        made = _repeated(base, number) if isinstance(number, int) else _by_bits(base, exponent)
        return type(made)(made.graph, made.node, weak=weak)
    if number in (2, 3) and base.element.is_float:
        return base * base if number == 2 else base * base * base  # type: ignore[no-any-return]
    if number == 0.5 and base.element.is_float:
        return base.apply("sqrt")  # type: ignore[no-any-return]
    return binary("pow", base, exponent)


def _repeated(base: Value, exponent: int) -> Value:
    """By squaring, a product for each bit of a known exponent."""
    if exponent < 0:
        raise DTypeError(
            f"whole numbers ({base.node.type}) to the power of {exponent} are fractions",
            hint=f"convert the base first: x.float() ** {exponent}",
        )
    result = _like(base, 1)
    while exponent:
        if exponent & 1:
            result = result * base
        exponent >>= 1
        base = base * base
    return result


def _by_bits(base: Value, exponent: Value) -> Value:
    """By squaring, a choice for each bit that the exponent's type has; fractions become 0."""
    x, p = broadcast_together("pow", base, exponent)
    odd = _bit(p, 0)
    one, zero = _like(x, 1), _like(x, 0)
    sign = odd.apply("where", _like(x, -1), one) if _is_signed(x) else one
    fraction = x.apply("eq", one).apply("where", one, zero)
    if _is_signed(x):
        fraction = x.apply("eq", _like(x, -1)).apply("where", sign, fraction)
    result, square = odd.apply("where", x, one), x
    for bit in range(1, 8 * p.element.itemsize - _is_signed(p)):
        square = square * square
        result = _bit(p, bit).apply("where", result * square, result)
    if not _is_signed(p):
        return result
    return p.apply("lt", _like(p, 0)).apply("where", fraction, result)


def _is_signed(x: Value) -> bool:
    return x.element is not dtypes.uint8


def _bit(x: Value, place: int) -> Value:
    return x.apply("bitwise_and", _like(x, 1 << place)).apply("ne", _like(x, 0))


def _like(x: Value, value: int) -> Value:
    constant = x.scalar(value, x.element)
    return constant.apply("broadcast", shape=x.sizes, dims=()) if x.ndim else constant


def bitwise(name: str, a: Any, b: Any) -> Value:
    """`&`, `|`, `^`, `<<` and `>>`: logic on bools, the bits of whole numbers.

    A shift by a negative number, or by all bits of the type or more, leaves the sign's bits of a
    right shift, and else 0, as in torch.

    Args:
        name: "and", "or", "xor", "left_shift" or "right_shift".

    Raises:
        DTypeError: for floating-point operands.
    """
    x, y = lift_all(a, b)
    dtype = result_dtype(x, y)
    if dtype is dtypes.bool_ and name in _LOGIC:
        return binary(_LOGIC[name], x, y)
    if dtype.kind != "i":
        taken = "integers and bools" if name in _LOGIC else "integers"
        raise DTypeError(
            f"{_SYMBOLS[name]} takes {taken}, got {x.node.type} and {y.node.type}",
            hint="compare first: (x > 0) & (y > 0)" if name in _LOGIC else "convert: x.long()",
        )
    return binary(f"bitwise_{name}", x, y)


def invert(x: Value) -> Value:
    """`~x`: logic on bools, the bits of whole numbers.

    Raises:
        DTypeError: for floating-point operands.
    """
    if x.element.is_float:
        raise DTypeError(
            f"~ takes integers and bools, got {x.node.type}", hint="compare first: ~(x > 0)"
        )
    return x.apply("logical_not" if x.element is dtypes.bool_ else "bitwise_not", weak=x.weak)
