"""Elementwise functions of real numbers: exponentials, angles, rounding and their kin."""

from __future__ import annotations

import math

import numpy as np

from ..opdef import Array
from ..value import Value, unary
from .elementwise import POSITIVE, declare, full_like, zeros_like

# Where they are smooth: away from the ends of their domain, and within one step of rounding.
INSIDE = (-0.8, 0.8)
STEP = (0.1, 0.4)


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _erf(x: Array) -> Array:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(x.dtype)


def _reciprocal_root(x: Value) -> Value:
    """`1 / sqrt(1 - x * x)`, the derivative of asin, without cancellation near 1."""
    # At the ends its own derivative is infinite, but that of the product there is inf - inf.
    end = abs(x).apply("eq", full_like(x, 1.0))
    return 1.0 / unary("sqrt", end.apply("where", 1.0 - x * x, (1.0 - x) * (1.0 + x)))


def _atan2_part(g: Value, part: Value, other: Value) -> Value:
    """`g * part / (part² + other²)` without overflow; 0 at the origin, as in torch."""
    r = part.apply("hypot", other)
    flat = r.apply("eq", zeros_like(r))
    safe = flat.apply("where", full_like(r, 1.0), r)
    return g * flat.apply("where", zeros_like(r), part / safe / safe)


def _hypot_part(g: Value, out: Value, part: Value) -> Value:
    flat = out.apply("eq", zeros_like(out))
    ratio = part / flat.apply("where", full_like(out, 1.0), out)
    return g * flat.apply("where", zeros_like(out), ratio)


def _integer_remainder(x: Array, y: Array) -> Array:
    return np.where(y == 0, 0, np.fmod(x, np.where(y == 0, 1, y))).astype(x.dtype)


def _fmod(x: Array, y: Array) -> Array:
    return np.fmod(x, y) if x.dtype.kind == "f" else _integer_remainder(x, y)


def _quotient(x: Array, y: Array) -> Array:
    safe = np.where(y == 0, 1, y).astype(x.dtype)
    return np.where(y == 0, 0, (x - np.fmod(x, safe)) // safe).astype(x.dtype)


declare("exp", np.exp, lambda g, o, x: g * o, torch=("exp",), numpy=("exp",))
declare("expm1", np.expm1, lambda g, o, x: g * (o + 1.0), torch=("expm1",), numpy=("expm1",))
declare("log", np.log, lambda g, o, x: g / x, domain=POSITIVE, torch=("log",), numpy=("log",))
declare(
    "log1p",
    np.log1p,
    lambda g, o, x: g / (x + 1.0),
    domain=(-0.5, 3.0),
    torch=("log1p",),
    numpy=("log1p",),
)
declare(
    "sqrt", np.sqrt, lambda g, o, x: g * 0.5 / o, domain=POSITIVE, torch=("sqrt",), numpy=("sqrt",)
)
declare("sin", np.sin, lambda g, o, x: g * unary("cos", x), torch=("sin",), numpy=("sin",))
declare("cos", np.cos, lambda g, o, x: -g * unary("sin", x), torch=("cos",), numpy=("cos",))
declare("tanh", np.tanh, lambda g, o, x: g * (1.0 - o * o), torch=("tanh",), numpy=("tanh",))
declare("sinh", np.sinh, lambda g, o, x: g * unary("cosh", x), torch=("sinh",), numpy=("sinh",))
declare("cosh", np.cosh, lambda g, o, x: g * unary("sinh", x), torch=("cosh",), numpy=("cosh",))
declare("sigmoid", _sigmoid, lambda g, o, x: g * (o * (1.0 - o)), torch=("sigmoid",))
# softplus overflows as log(1 + exp(x)) and its second derivative as a quotient: a primitive.
declare("softplus", _softplus, lambda g, o, x: g * unary("sigmoid", x))
declare("exp2", np.exp2, lambda g, o, x: g * (o * math.log(2)), torch=("exp2",), numpy=("exp2",))
declare(
    "log2",
    np.log2,
    lambda g, o, x: g / (x * math.log(2)),
    domain=POSITIVE,
    torch=("log2",),
    numpy=("log2",),
)
declare(
    "log10",
    np.log10,
    lambda g, o, x: g / (x * math.log(10)),
    domain=POSITIVE,
    torch=("log10",),
    numpy=("log10",),
)
declare(
    "tan",
    np.tan,
    lambda g, o, x: g * (1.0 + o * o),
    domain=(-1.2, 1.2),
    torch=("tan",),
    numpy=("tan",),
)
declare(
    "asin",
    np.arcsin,
    lambda g, o, x: g * _reciprocal_root(x),
    domain=INSIDE,
    torch=("asin", "arcsin"),
    numpy=("arcsin", "asin"),
)
declare(
    "acos",
    np.arccos,
    lambda g, o, x: -g * _reciprocal_root(x),
    domain=INSIDE,
    torch=("acos", "arccos"),
    numpy=("arccos", "acos"),
)
declare(
    "atan",
    np.arctan,
    lambda g, o, x: g / (1.0 + x * x),
    torch=("atan", "arctan"),
    numpy=("arctan", "atan"),
)
declare(
    "atan2",
    np.arctan2,
    lambda g, o, y, x: _atan2_part(g, x, y),
    lambda g, o, y, x: -_atan2_part(g, y, x),
    torch=("atan2", "arctan2"),
    numpy=("arctan2", "atan2"),
)
# The root of a sum of squares that overflows or vanishes where the result does not.
declare(
    "hypot",
    np.hypot,
    lambda g, o, x, y: _hypot_part(g, o, x),
    lambda g, o, x, y: _hypot_part(g, o, y),
    torch=("hypot",),
    numpy=("hypot",),
)
declare(
    "erf",
    _erf,
    lambda g, o, x: g * (unary("exp", -(x * x)) * (2 / math.sqrt(math.pi))),
    torch=("erf", "special_erf"),
)

# Rounding: the derivative is zero wherever there is one. Integers are whole (see composites).
for _name, _round in (
    ("floor", np.floor), ("ceil", np.ceil), ("rint", np.rint), ("trunc", np.trunc)
):  # fmt: skip
    declare(_name, _round, None, domain=STEP)

# The remainder of truncated division, of the sign of x, and the whole quotient of integers. An
# integer divided by 0 gives 0, as what a mask leaves out is computed too.
declare(
    "fmod",
    _fmod,
    lambda g, o, x, y: g,
    lambda g, o, x, y: -g * unary("trunc", x / y),
    domain=STEP,
    kinds="if",
    torch=("fmod",),
    numpy=("fmod",),
)
declare("quotient", _quotient, None, None, kinds="i")
