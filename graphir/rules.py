"""The rules of simplification: one row each, exact in IEEE arithmetic unless the row says why not.

This file holds the rows about arithmetic; `structure.py` those about axes, `sums.py` about sums.
The driver is `simplify.simplify`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .dtypes import DType, limits, promote
from .evaluate import compute
from .graph import Node
from .opdef import OPS, Kind
from .rewrite import Builder, Rule, constant_value, filled
from .structure import STRUCTURE
from .sums import SUMS

Apply = Callable[[Builder, Node], Node | None]


def _is(node: Node, value: float) -> bool:
    """Whether `node` holds `value` everywhere; for floats, with its sign of zero."""
    held = constant_value(node)
    if held is None or held != value:
        return False
    return not node.dtype.is_float or math.copysign(1, held) == math.copysign(1, value)


def _fold(b: Builder, node: Node) -> Node | None:
    if not node.inputs or any(x.op != "constant" for x in node.inputs):
        return None
    values = [constant_value(x) for x in node.inputs]
    arrays = [np.asarray(v, x.dtype.numpy) for v, x in zip(values, node.inputs, strict=True)]
    with np.errstate(all="ignore"):
        return b.graph.constant(compute(node, {}, arrays).item(), node.dtype)


def _either(identity: float, integer: float | None = None) -> Apply:
    """Drops an operand, on either side, that holds `identity` (`integer` for whole numbers)."""

    def apply(b: Builder, node: Node) -> Node | None:
        x, y = node.inputs
        value = identity if node.dtype.is_float or integer is None else integer
        return x if _is(y, value) else y if _is(x, value) else None

    return apply


def _right(identity: float) -> Apply:
    """Drops a right operand that holds `identity`."""
    return lambda b, node: node.inputs[0] if _is(node.inputs[1], identity) else None


def _times_minus_one(b: Builder, node: Node) -> Node | None:
    x, y = node.inputs
    if _is(y, -1.0):
        return b.add("neg", x)
    return b.add("neg", y) if node.op == "mul" and _is(x, -1.0) else None


def _sum_of_negative(b: Builder, node: Node) -> Node | None:
    x, y = node.inputs
    if y.op == "neg":
        return b.add("sub" if node.op == "add" else "add", x, *y.inputs)
    return b.add("sub", y, *x.inputs) if node.op == "add" and x.op == "neg" else None


def _product_of_negatives(b: Builder, node: Node) -> Node | None:
    x, y = node.inputs
    return b.add(node.op, *x.inputs, *y.inputs) if x.op == y.op == "neg" else None


def _operand_of(op: str) -> Apply:
    """`op(op(x))` is x."""

    def apply(b: Builder, node: Node) -> Node | None:
        (x,) = node.inputs
        return x.inputs[0] if x.op == op else None

    return apply


def _divide_by_power_of_two(b: Builder, node: Node) -> Node | None:
    x, y = node.inputs
    held = constant_value(y)
    if held is None or not math.isfinite(held) or abs(math.frexp(held)[0]) != 0.5:
        return None
    bounds = limits(node.dtype)
    reciprocal = 1 / held
    if not float(bounds.smallest_normal) <= abs(reciprocal) <= float(bounds.max):
        return None
    return b.add("mul", x, filled(b, y, reciprocal))


def _power(b: Builder, node: Node) -> Node | None:
    x, p = node.inputs
    if _is(p, 1):
        return x
    if _is(p, 2):
        return b.add("mul", x, x)
    if _is(p, 0.5):
        return b.add("sqrt", x)
    if _is(p, -1):
        return b.add("div", filled(b, x, 1.0), x)
    return None


def _cast(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.dtype is node.dtype:
        return x
    if x.op == "cast" and _widens(x.inputs[0].dtype, x.dtype):
        return b.add("cast", x.inputs[0], dtype=node.dtype)
    return None


def _widens(a: DType, b: DType) -> bool:
    """Whether `b` holds every value of `a`."""
    return a.kind == "b" or (a.kind == b.kind and promote(a, b) is b)


def _where(b: Builder, node: Node) -> Node | None:
    condition, x, y = node.inputs
    held = constant_value(condition)
    if held is not None:
        return x if held else y
    if x is y:
        return x
    if condition.op == "logical_not":
        return b.add("where", *condition.inputs, y, x)
    return None


def _of_broadcasts(b: Builder, node: Node) -> Node | None:
    if not node.inputs or any(x.op != "broadcast" for x in node.inputs):
        return None
    dims = tuple(sorted({d for x in node.inputs for d in x.attrs["dims"]}))
    if len(dims) == node.ndim:
        return None
    shape = tuple(node.shape[d] for d in dims)
    operands = []
    for x in node.inputs:
        (small,) = x.inputs
        if x.attrs["dims"] != dims:
            places = tuple(dims.index(d) for d in x.attrs["dims"])
            small = b.add("broadcast", small, shape=shape, dims=places)
        operands.append(small)
    return b.add("broadcast", b.add(node.op, *operands, **node.attrs), shape=node.shape, dims=dims)


def _of_nothing(b: Builder, node: Node) -> Node | None:
    if 0 in node.shape:
        made = node.op == "broadcast" and node.inputs[0].op == "constant"
        return None if made else filled(b, node, 0)
    if not node.inputs or 0 not in node.inputs[0].shape:
        return None
    combiner = OPS[node.op].combiner
    return filled(b, node, combiner.identity(node.dtype) if combiner is not None else 0)


_COMPUTED = tuple(kind for kind in Kind if kind is not Kind.SOURCE)

ALGEBRA = (
    Rule(
        "of nothing",
        _COMPUTED,
        "no elements are those of a constant; joined or placed, they are the identity or zeros",
        _of_nothing,
    ),
    Rule(
        "copy",
        ("copy",),
        "it names an argument for differentiation and computes nothing",
        lambda b, node: node.inputs[0],
    ),
    Rule(
        "custom_vjp",
        ("custom_vjp",),
        "derivatives are taken before: what is left of it is its value",
        lambda b, node: node.inputs[0],
    ),
    Rule(
        "stop_gradient",
        ("stop_gradient",),
        "derivatives are taken before: what is left of it is its value",
        lambda b, node: node.inputs[0],
    ),
    Rule(
        "constants",
        Kind.ELEMENTWISE,
        "NumPy computes it in the node's dtype; exp and its like may differ from the kernel's "
        "by its last bit",
        _fold,
    ),
    Rule(
        "x+(-0)",
        ("add",),
        "-0.0 (or a whole 0) is the identity of addition; +0.0 is not",
        _either(-0.0, integer=0),
    ),
    Rule("x-0", ("sub",), "-0.0 - 0.0 is -0.0", _right(0.0)),
    Rule("x*1", ("mul",), "1 is the identity of multiplication", _either(1.0)),
    Rule("x/1", ("div",), "1 is the identity of division", _right(1.0)),
    Rule("x*-1", ("mul", "div"), "only the sign bit changes", _times_minus_one),
    Rule("-(-x)", ("neg",), "the sign bit flips twice", _operand_of("neg")),
    Rule("x+(-y)", ("add", "sub"), "IEEE defines x - y as x + (-y)", _sum_of_negative),
    Rule("(-x)*(-y)", ("mul", "div"), "the signs of the operands cancel", _product_of_negatives),
    Rule(
        "x/2^k",
        ("div",),
        "both round the same number once, as 2^-k is a normal number",
        _divide_by_power_of_two,
    ),
    Rule(
        "x^c",
        ("pow",),
        "x*x and 1/x round once, as a good pow does; x^0.5 is sqrt as in torch, "
        "which differs for -0 and -inf only",
        _power,
    ),
    Rule(
        "cast",
        ("cast",),
        "a cast to the same dtype does nothing, one to a wider dtype loses nothing",
        _cast,
    ),
    Rule("not not", ("logical_not",), "it is its own inverse", _operand_of("logical_not")),
    Rule(
        "where", ("where",), "the choice is known, or there is none, or it is turned round", _where
    ),
    Rule(
        "op of broadcasts",
        Kind.ELEMENTWISE,
        "equal elements give equal results: compute each once",
        _of_broadcasts,
    ),
)

RULES: tuple[Rule, ...] = (*ALGEBRA, *STRUCTURE, *SUMS)
