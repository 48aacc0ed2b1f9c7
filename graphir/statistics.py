"""Statistics as composites: what leaves out missing values (NaN), and how variables vary together.

They take Values and Python numbers, and mean what torch's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import dtypes
from .composites import Axes, clamp, count, mean, unsupported_option, where
from .composites import sum as total
from .dtypes import DType
from .errors import ShapeError
from .layout import concatenate, reshape
from .matrices import diagonal
from .precision import rounded_once
from .products import matmul, outer
from .value import Value, binary, cast, float_value, lift_all, reduce, unary


def _missing(x: Value) -> Value:
    return binary("ne", x, x)


def _larger(op: str, input: Any, other: Any) -> Value:
    x, y = lift_all(input, other)
    return where(binary(op, x, y) | _missing(y), x, y)


def fmax(input: Any, other: Any) -> Value:
    """The larger of the two, the other one beside NaN; of equals the derivative is the first's."""
    return _larger("ge", input, other)


def fmin(input: Any, other: Any) -> Value:
    """The smaller of the two, the other one beside NaN; of equals the derivative is the first's."""
    return _larger("le", input, other)


def nansum(x: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The sum over `dim` (all by default) of what is not NaN."""
    return total(where(_missing(x), 0, x) if x.element.is_float else x, dim, keepdim, dtype)


def nanmean(x: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The mean over `dim` (all by default) of what is not NaN; NaN where there is nothing else.

    Raises:
        DTypeError: for integers and bools, as in torch.
    """
    if not x.element.is_float:
        return mean(x, dim, keepdim, dtype)
    x = cast(x, dtype) if dtype else x
    return _nanmean(x, dim, keepdim)


@rounded_once
def _nanmean(x: Value, dim: Axes, keepdim: bool) -> Value:
    there = cast(binary("eq", x, x), x.element)
    return nansum(x, dim, keepdim) / reduce("sum", there, dim, keepdim)


@rounded_once
def cov(x: Value, *, correction: float = 1, fweights: Any = None, aweights: Any = None) -> Value:
    """How variables, the rows of `x`, vary together: products of distances from the means, summed
    over the columns and divided by their number less `correction` (or 0 if that is less).

    Raises:
        ShapeError: for more than two axes.
        UnsupportedError: for weights.
    """
    if x.ndim > 2:
        raise ShapeError(
            f"cov: one variable, or a matrix with one in each row, is expected, got {x.node.type}"
        )
    if fweights is not None or aweights is not None:
        raise unsupported_option("cov", "weighing observations", "weigh the columns before")
    x = float_value(x)
    rows = x if x.ndim == 2 else reshape(x, (1, x.sizes[0] if x.ndim else 1))
    centred = rows - mean(rows, 1, keepdim=True)
    number = count(rows, 1)
    over = max(number - correction, 0) if isinstance(number, int) else number - correction
    found = matmul(centred, centred.apply("permute", order=(1, 0))) / over
    return found if x.ndim == 2 else reshape(found, ())


@rounded_once
def corrcoef(x: Value) -> Value:
    """The correlation of variables, the rows of `x`: `cov` over both standard deviations.

    Raises:
        ShapeError: for more than two axes.
    """
    found = cov(x)
    if not found.ndim:
        return found / found
    spread = unary("sqrt", diagonal(found))
    return clamp(found / outer(spread, spread), -1, 1)


def numpy_cov(
    x: Value, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: float | None = None
) -> Value:
    """np.cov: variables are rows, or columns without `rowvar`; those of `y` follow."""
    less = (0 if bias else 1) if ddof is None else ddof
    return cov(_variables(x, y, rowvar), correction=less)


def numpy_corrcoef(x: Value, y: Any = None, rowvar: bool = True) -> Value:
    """np.corrcoef."""
    return corrcoef(_variables(x, y, rowvar))


def _variables(x: Value, y: Any, rowvar: bool) -> Value:
    given: Sequence[Value] = [x] if y is None else lift_all(x, y)
    found = []
    for v in given:
        v = v if v.element.is_float else cast(v, dtypes.float64)
        if v.ndim == 2 and not rowvar:
            v = v.apply("permute", order=(1, 0))
        found.append(v if v.ndim == 2 or y is None else reshape(v, (1, *v.sizes)))
    return found[0] if y is None else concatenate(found, 0)
