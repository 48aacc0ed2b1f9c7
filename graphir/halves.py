"""What a product or quotient of a half type and a number is computed in.

torch keeps the number in float32 and rounds the result alone; NumPy rounds the number to the half
type first. They agree on numbers that the half type holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .dtypes import DType, bool_, float32
from .rewrite import constant_value

if TYPE_CHECKING:
    from .value import Value


def computed_in(op: str, x: Value, y: Value, dtype: DType) -> DType:
    """The type in which the elementwise primitive `op` is computed, `dtype` being its result's.

    torch: float32 for `number * x`, `x * number` and `x / number`, where the number is Python's
    or a 0-d array of another type; sums, `number / x` and powers round the number first.
    """
    halves = dtype.is_float and dtype.itemsize == 2 and not (x.weak and y.weak)
    if not halves or x.flavour != "torch" or op not in ("mul", "div"):
        return dtype
    numbers = [v for v in ((x, y) if op == "mul" else (y,)) if v.weak or not v.ndim]
    held = all(v.element is dtype or _holds(dtype, v) for v in numbers)
    return dtype if held else float32


def _holds(dtype: DType, x: Value) -> bool:
    """Whether `dtype` holds the number `x` without rounding, as far as the trace shows."""
    value = constant_value(x.node)
    if value is None:
        return x.element is bool_
    with np.errstate(over="ignore"):
        return float(np.asarray(value).astype(dtype.numpy)) == value
