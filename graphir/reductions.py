"""Reductions as composites: products, extrema with indices, spread, norms and running sums."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from . import dtypes
from .composites import Axes, count, mean, norm, stop_gradient, unsupported_option, where
from .dtypes import DType
from .errors import DTypeError, ShapeError, UnsupportedError
from .layout import axis_of, flatten, move_axis, reshape, unsqueeze
from .precision import rounded_once
from .selection import iota, one_hot_mask
from .sizes import Dim, Size
from .symbolic import SymbolicSize
from .value import (
    Value,
    binary,
    cast,
    float_value,
    normalise_axes,
    reduce,
    unary,
)


class Extremum(NamedTuple):
    """What torch's max and min along an axis give."""

    values: Value
    indices: Value


class Moments(NamedTuple):
    """What torch's var_mean and std_mean give: the spread and the mean."""

    spread: Value
    mean: Value


def prod(x: Value, dim: Axes = None, keepdim: bool = False, dtype: DType | None = None) -> Value:
    """The product over `dim` (all by default); integers and bools are multiplied as int64."""
    wide = dtype or (x.element if x.element.is_float else dtypes.int64)
    return reduce("prod", cast(x, wide), dim, keepdim)


def extreme(op: str, x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """`amax` or `amin` over `dim`; equals share its derivative.

    Raises:
        ShapeError: where there are no elements to choose from.
    """
    _some_of(op, x, dim)
    return reduce(op, x, dim, keepdim)


def _some_of(op: str, x: Value, dim: Axes) -> None:
    """Raise ShapeError where an axis that an extremum is taken over has no elements."""
    axes = normalise_axes(op, dim, x.ndim)
    if 0 in (x.sizes[a] for a in axes):
        raise ShapeError(
            f"{op[1:]}: {x.node.type} has no elements to choose from",
            hint="take it over axes that have elements, or leave out what is empty",
        )


def _number(like: Value, size: Size) -> Value:
    """A size as an int64 scalar."""
    if isinstance(size, Dim):
        return SymbolicSize(like.graph, size, type(like)).value()
    return like.scalar(size)


def _position(op: str, x: Value, axis: int) -> Value:
    """Where along `axis` the extremum stands first, or the first NaN; the axis stays, of size 1.

    It is the least position of those that hold the extremum: exact, and the same on every target.
    """
    best = reduce(op, x, axis, keepdim=True)
    hit = binary("eq", x, best)
    if x.element.is_float:
        hit = hit | binary("ne", x, x)
        # Where one is NaN all others lose: an extremum equals none of them.
    place = iota(x, x.sizes[axis])
    place = reshape(place, (x.sizes[axis], *(1,) * (x.ndim - 1 - axis)))
    return reduce("amin", where(hit, place, _number(x, x.sizes[axis])), axis, keepdim=True)


def _arg(op: str, x: Value, dim: int | None, keepdim: bool) -> Value:
    x = stop_gradient(x)
    _some_of(op, x, dim)
    if dim is None:
        found = _position(op, flatten(x), 0)
        return reshape(found, (1,) * x.ndim if keepdim else ())
    if not x.ndim:
        return _position(op, flatten(x), 0).apply("reshape", shape=())
    axis = axis_of(op[1:], dim, x.ndim)
    found = _position(op, x, axis)
    return found if keepdim else reshape(found, (*x.sizes[:axis], *x.sizes[axis + 1 :]))


def argmax(x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """The position of the largest element along `dim`, the first of equals; of all by default."""
    return _arg("amax", x, dim, keepdim)


def argmin(x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """The position of the smallest element along `dim`, the first of equals; of all by default."""
    return _arg("amin", x, dim, keepdim)


def extremum(op: str, x: Value, dim: int, keepdim: bool = False) -> Extremum:
    """torch's max or min along `dim`: the derivative flows to the element at the index alone."""
    if not x.ndim:
        return Extremum(x, _arg(op, x, None, False))
    axis = axis_of(op[1:], dim, x.ndim)
    index = _arg(op, x, axis, keepdim=False)
    # A sum of one element, in which the others have no part; bools have no sum.
    number = cast(x, dtypes.uint8) if x.element is dtypes.bool_ else x
    mask = one_hot_mask(index, x.sizes[axis], axis)
    values = reduce("sum", where(mask, number, _zero(number)), axis)
    values = cast(values, x.element)
    if keepdim:
        values, index = unsqueeze(values, axis), unsqueeze(index, axis)
    return Extremum(values, index)


def _zero(like: Value) -> Value:
    return like.scalar(0, like.element)


def count_nonzero(x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """How many elements along `dim` are not zero."""
    return reduce("sum", cast(cast(x, dtypes.bool_), dtypes.int64), dim, keepdim)


# -- spread ------------------------------------------------------------------------------------


@rounded_once
def var(x: Value, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> Value:
    """The mean squared distance from the mean, over count - correction (or 0 if that is less).

    Raises:
        DTypeError: for integers and bools, as in torch.
    """
    if not x.element.is_float:
        raise DTypeError(
            f"var: a floating-point value is expected, got {x.element}",
            hint="convert it first, e.g. x.float().var()",
        )
    centred = x - (mean(x, dim, keepdim=True) if x.ndim else x)
    number = count(x, dim)
    if isinstance(number, int):
        degrees = max(number - correction, 0)
        total = reduce("sum", centred * centred, dim, keepdim)
        return total / float(degrees)
    return reduce("sum", centred * centred, dim, keepdim) / (number - correction)


@rounded_once
def std(x: Value, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> Value:
    """The square root of `var`; its derivative at 0 is 0, as in torch."""
    spread = var(x, dim, correction, keepdim)
    zero = binary("eq", spread, 0.0)
    return where(zero, 0.0, unary("sqrt", where(zero, 1.0, spread)))


def var_mean(x: Value, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> Moments:
    """`var` and the mean."""
    return Moments(var(x, dim, correction, keepdim), mean(x, dim, keepdim))


def std_mean(x: Value, dim: Axes = None, correction: float = 1, keepdim: bool = False) -> Moments:
    """`std` and the mean."""
    return Moments(std(x, dim, correction, keepdim), mean(x, dim, keepdim))


# -- norms -------------------------------------------------------------------------------------


@rounded_once
def vector_norm(x: Value, ord: float = 2, dim: Axes = None, keepdim: bool = False) -> Value:
    """The p-norm over `dim` as of one vector, for any p; its derivative at 0 is 0, as in torch."""
    x = float_value(x)
    if ord == 2:
        return norm(x, dim, keepdim)
    size = abs(x)
    if ord in (inf, -inf):
        return extreme("amax" if ord > 0 else "amin", size, dim, keepdim)
    if ord == 0:
        return reduce("sum", cast(binary("ne", x, 0.0), x.element), dim, keepdim)
    if ord == 1:
        return reduce("sum", size, dim, keepdim)
    # |x|^p and total^(1/p) with no derivative at 0, where theirs is 0 or infinite.
    powers = _power(size, ord, inf if ord < 0 else 0.0)
    total = reduce("sum", powers, dim, keepdim)
    if ord < 0:
        endless = binary("eq", total, inf)
        return where(endless, 0.0, binary("pow", where(endless, 1.0, total), 1 / ord))
    return _power(total, 1 / ord, 0.0)


def _power(x: Value, exponent: float, at_zero: float) -> Value:
    zero = binary("eq", x, 0.0)
    return where(zero, at_zero, binary("pow", where(zero, 1.0, x), exponent))


@rounded_once
def matrix_norm(
    x: Value, ord: float | str = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False
) -> Value:
    """A norm of matrices: "fro", or the largest (smallest) sum of a column or a row.

    Raises:
        UnsupportedError: for the spectral and the nuclear norm.
    """
    x = float_value(x)
    rows, columns = (axis_of("matrix_norm", a, x.ndim) for a in dim)
    if ord == "fro":
        return norm(x, (rows, columns), keepdim)
    if ord not in (1, -1, inf, -inf):
        raise unsupported_option(
            "matrix_norm", f"the order {ord!r}", "use 'fro', 1, -1, inf or -inf"
        )
    summed, chosen = (rows, columns) if ord in (1, -1) else (columns, rows)
    sums = reduce("sum", abs(x), summed, keepdim=True)
    out = reduce("amax" if ord > 0 else "amin", sums, chosen, keepdim=True)
    if keepdim:
        return out
    return reshape(out, tuple(s for i, s in enumerate(out.sizes) if i not in (rows, columns)))


def linalg_norm(
    x: Value, ord: float | str | None = None, dim: Axes = None, keepdim: bool = False
) -> Value:
    """NumPy's and torch's `linalg.norm`: of a vector, of matrices, or of all elements."""
    if ord is None:
        return vector_norm(x, 2, dim, keepdim)
    axes = tuple(range(x.ndim)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if len(axes) == 2:
        return matrix_norm(x, ord, axes, keepdim)
    if isinstance(ord, str) or len(axes) != 1:
        raise unsupported_option(
            "norm", f"the order {ord!r} over {len(axes)} axes", "name one axis or two with dim="
        )
    return vector_norm(x, ord, axes, keepdim)


def torch_norm(
    x: Value,
    p: float | str | None = "fro",
    dim: Axes = None,
    keepdim: bool = False,
    dtype: DType | None = None,
) -> Value:
    """`torch.norm`: the p-norm of the elements over `dim`, also of a matrix.

    Raises:
        UnsupportedError: for the nuclear norm.
    """
    x = cast(x, dtype) if dtype else x
    if isinstance(p, str) and p != "fro":
        raise unsupported_option("norm", f"p={p!r}", "use a number or 'fro'")
    return vector_norm(x, 2 if p in ("fro", None) else float(p or 0), dim, keepdim)


@rounded_once
def normalize(x: Value, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Value:
    """`x` over its p-norm along `dim`, which counts as `eps` at least."""
    size = vector_norm(x, p, dim, keepdim=True)
    return x / where(size < eps, eps, size)


# -- running sums ------------------------------------------------------------------------------


def _running(name: str, op: str, x: Value, dim: int, blank: float) -> Value:
    if not x.ndim:
        return x
    axis = axis_of(name, dim, x.ndim)
    size = x.sizes[axis]
    if isinstance(size, Dim):
        raise UnsupportedError(
            name,
            f"{name} over an axis of {size} elements, a number known only when the kernel runs, "
            "is not supported",
            hint="compile with dynamic=(), or sum along an axis of fixed size",
        )
    rows = move_axis(x, axis, -1)
    upto = reshape(iota(x, size), (size, 1)) >= iota(x, size)
    out = reduce(op, where(upto, unsqueeze(rows, -2), x.scalar(blank, x.element)), -1)
    return move_axis(out, -1, axis)


def cumsum(x: Value, dim: int, dtype: DType | None = None) -> Value:
    """The sums of the first elements along `dim`: for each, a sum under a triangular mask.

    Raises:
        UnsupportedError: along an axis whose size is known only when the kernel runs.
    """
    wide = dtype or (x.element if x.element.is_float else dtypes.int64)
    return _running("cumsum", "sum", cast(x, wide), dim, 0)


def cumprod(x: Value, dim: int, dtype: DType | None = None) -> Value:
    """The products of the first elements along `dim`, as `cumsum`.

    Raises:
        UnsupportedError: along an axis whose size is known only when the kernel runs.
    """
    wide = dtype or (x.element if x.element.is_float else dtypes.int64)
    return _running("cumprod", "prod", cast(x, wide), dim, 1)


def flat_axis(x: Value, dim: int | None) -> tuple[Value, int]:
    """NumPy's rule for running sums and their kin: no axis means the flattened array."""
    return (flatten(x), 0) if dim is None else (x, dim)
