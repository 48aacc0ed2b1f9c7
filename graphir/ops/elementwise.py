"""Elementwise primitives: arithmetic, comparisons and selection. Operands are of one shape and
one dtype (but for `where` and `cast`). The functions of real numbers are in `functions.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..errors import DTypeError
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Infer, Kind, OpDef, Vjp
from ..sizes import Shape
from ..value import Value, cast, unary

REAL = (-2.0, 2.0)
POSITIVE = (0.1, 3.0)


def _same(name: str, result: DType | None = None, kinds: str = "bif") -> Infer:
    def infer(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
        first = inputs[0]
        for x in inputs:
            if x.shape != first.shape or x.dtype is not first.dtype:
                raise DTypeError(f"{name}: operands must agree, got {first.type} and {x.type}")
        if first.dtype.kind not in kinds:
            raise DTypeError(
                f"{name} does not take {first.dtype}",
                hint="convert the operand first, e.g. x.float()",
            )
        return first.shape, result or first.dtype

    return infer


def declare(
    name: str,
    function: Callable[..., Any],
    *vjps: Vjp | None,
    domain: tuple[float, float] = REAL,
    result: DType | None = None,
    kinds: str = "f",
    torch: Sequence[str] = (),
    numpy: Sequence[str] = (),
) -> OpDef:
    """Declare one. `torch` and `numpy` default to the op's own name; pass () spelled None."""

    def evaluate(sizes: Any, node: Node, *arrays: Array) -> Array:
        return np.asarray(function(*arrays))

    return OPS.register(
        OpDef(
            name,
            Kind.ELEMENTWISE,
            _same(name, result, kinds),
            evaluate,
            vjps,
            domain,
            torch=tuple(torch),
            numpy=tuple(numpy),
        )
    )


def select_or_zero(condition: Value, ct: Value) -> Value:
    """`ct` where `condition` holds, else 0: a select, so that no NaN leaks through a product."""
    return condition.apply("where", ct, zeros_like(ct))


def zeros_like(x: Value) -> Value:
    """Zeros of the shape and dtype of `x`."""
    return full_like(x, 0.0)


def full_like(x: Value, value: float) -> Value:
    """A constant of the shape and dtype of `x`."""
    c = x.scalar(value, x.element)
    return c.apply("broadcast", shape=x.sizes, dims=()) if x.ndim else c


def _tie_share(g: Value, mine: Value, other: Value, mine_wins: str) -> Value:
    """torch's subgradient of maximum and minimum: half to each side at a tie, all to both where
    one is NaN."""
    tie, lost = mine.apply("eq", other), other.apply(mine_wins, mine)
    return tie.apply("where", g * 0.5, lost.apply("where", zeros_like(g), g))


def _pow_base(g: Value, out: Value, x: Value, p: Value) -> Value:
    # x^-1 times 0 is no number at 0, nor is its derivative: a power of 0 is left alone.
    moving = p.apply("ne", zeros_like(p))
    return select_or_zero(moving, g * p * x.apply("pow", select_or_zero(moving, p - 1.0)))


def _pow_exponent(g: Value, out: Value, x: Value, p: Value) -> Value:
    zero = zeros_like(x)
    flat = x.apply("eq", zero).apply("logical_and", p.apply("ge", zero))
    return flat.apply(
        "where", zeros_like(g), g * out * flat.apply("where", full_like(x, 1.0), x).apply("log")
    )


declare(
    "add",
    np.add,
    lambda g, o, x, y: g,
    lambda g, o, x, y: g,
    kinds="bif",
    torch=("add",),
    numpy=("add",),
)
declare(
    "sub",
    np.subtract,
    lambda g, o, x, y: g,
    lambda g, o, x, y: -g,
    kinds="if",
    torch=("sub", "subtract"),
    numpy=("subtract",),
)
declare(
    "mul",
    np.multiply,
    lambda g, o, x, y: g * y,
    lambda g, o, x, y: g * x,
    kinds="bif",
    torch=("mul", "multiply"),
    numpy=("multiply",),
)
declare(
    "div",
    np.true_divide,
    lambda g, o, x, y: g / y,
    lambda g, o, x, y: -g * (o / y),
    domain=POSITIVE,
    torch=("div", "divide", "true_divide"),
    numpy=("divide", "true_divide"),
)
declare("pow", np.power, _pow_base, _pow_exponent, domain=POSITIVE)
declare(
    "neg",
    np.negative,
    lambda g, o, x: -g,
    kinds="if",
    torch=("neg", "negative"),
    numpy=("negative",),
)
declare(
    "abs",
    np.abs,
    lambda g, o, x: g * unary("sign", x),
    kinds="if",
    torch=("abs", "absolute"),
    numpy=("abs", "absolute", "fabs"),
)
declare(
    "sign",
    lambda x: np.asarray(x > 0).astype(x.dtype) - np.asarray(x < 0).astype(x.dtype),
    None,
    kinds="if",
    torch=("sign", "sgn"),
)
declare(
    "relu",
    lambda x: np.maximum(x, 0),
    # So written as to let through what meets a NaN, as torch does.
    lambda g, o, x: x.apply("le", zeros_like(x)).apply("where", zeros_like(g), g),
    kinds="if",
    torch=("relu",),
)
declare(
    "maximum",
    np.maximum,
    lambda g, o, x, y: _tie_share(g, x, y, "gt"),
    lambda g, o, x, y: _tie_share(g, y, x, "gt"),
    kinds="bif",
    torch=("maximum",),
    numpy=("maximum",),
)
declare(
    "minimum",
    np.minimum,
    lambda g, o, x, y: _tie_share(g, x, y, "lt"),
    lambda g, o, x, y: _tie_share(g, y, x, "lt"),
    kinds="bif",
    torch=("minimum",),
    numpy=("minimum",),
)

for _name, _function, _torch, _numpy in (
    ("eq", np.equal, ("eq",), ("equal",)),
    ("ne", np.not_equal, ("ne", "not_equal"), ("not_equal",)),
    ("lt", np.less, ("lt", "less"), ("less",)),
    ("le", np.less_equal, ("le", "less_equal"), ("less_equal",)),
    ("gt", np.greater, ("gt", "greater"), ("greater",)),
    ("ge", np.greater_equal, ("ge", "greater_equal"), ("greater_equal",)),
    ("logical_and", np.logical_and, ("logical_and",), ("logical_and",)),
    ("logical_or", np.logical_or, ("logical_or",), ("logical_or",)),
):
    declare(
        _name,
        _function,
        None,
        None,
        result=dtypes.bool_,
        kinds="b" if _name.startswith("logical") else "bif",
        torch=_torch,
        numpy=_numpy,
    )
declare(
    "logical_not",
    np.logical_not,
    None,
    result=dtypes.bool_,
    kinds="b",
    torch=("logical_not",),
    numpy=("logical_not",),
)

declare("bitwise_and", np.bitwise_and, None, None, kinds="i")
declare("bitwise_or", np.bitwise_or, None, None, kinds="i")
declare("bitwise_xor", np.bitwise_xor, None, None, kinds="i")
# NumPy's shifts by all bits or more, or by a negative number, give what torch's do.
declare("bitwise_left_shift", np.left_shift, None, None, kinds="i")
declare("bitwise_right_shift", np.right_shift, None, None, kinds="i")
declare("bitwise_not", np.invert, None, kinds="i")

# `copy` gives an argument of an inner differentiated function an identity of its own, by its tag.
declare("copy", np.asarray, lambda g, o, x, tag: g, kinds="bif")
declare("stop_gradient", np.asarray, None, kinds="bif")


def _infer_where(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    condition, x, y = inputs
    if condition.dtype is not dtypes.bool_:
        raise DTypeError(
            f"where: the condition must be bool, got {condition.dtype}",
            hint="compare it, e.g. torch.where(x > 0, a, b)",
        )
    if not condition.shape == x.shape == y.shape or x.dtype is not y.dtype:
        raise DTypeError(f"where: operands must agree, got {x.type} and {y.type}")
    return x.shape, x.dtype


OPS.register(
    OpDef(
        "where",
        Kind.ELEMENTWISE,
        _infer_where,
        lambda sizes, node, c, x, y: np.asarray(np.where(c, x, y)),
        (
            None,
            lambda g, o, c, x, y: select_or_zero(c, g),
            lambda g, o, c, x, y: c.apply("where", zeros_like(g), g),
        ),
    )
)
OPS.register(
    OpDef(
        "cast",
        Kind.ELEMENTWISE,
        lambda inputs, a: (inputs[0].shape, a["dtype"]),
        lambda sizes, node, x: np.asarray(x).astype(node.dtype.numpy),
        (lambda g, o, x, dtype: cast(g, x.element),),
        linear=(0,),
    )
)
