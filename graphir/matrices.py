"""Composites about the diagonal and the triangles of matrices: selects under masks of positions."""

from __future__ import annotations

from .composites import sum as total
from .composites import where
from .dtypes import bool_, uint8
from .errors import ShapeError
from .in_place import Step
from .layout import axis_of, permute, reshape
from .selection import iota
from .sizes import Dim, Size
from .symbolic import NeedsNumber
from .value import Value, cast, reduce


def _matrices(what: str, x: Value) -> None:
    if x.ndim < 2:
        raise ShapeError(
            f"{what}: a matrix or a batch of matrices is expected, got {x.node.type}",
            hint="add an axis, e.g. x[None, :]",
        )


def _offsets(like: Value, rows: Size, columns: Size) -> Value:
    """For each place of a matrix, how far it lies right of the diagonal."""
    return iota(like, columns) - reshape(iota(like, rows), (rows, 1))


def tril(x: Value, diagonal: int = 0) -> Value:
    """`x` with zeros above that diagonal."""
    _matrices("tril", x)
    return where(_offsets(x, *x.sizes[-2:]) <= diagonal, x, x.scalar(0, x.element))


def triu(x: Value, diagonal: int = 0) -> Value:
    """`x` with zeros below that diagonal."""
    _matrices("triu", x)
    return where(_offsets(x, *x.sizes[-2:]) >= diagonal, x, x.scalar(0, x.element))


def diagonal(x: Value, offset: int = 0, dim0: int = 0, dim1: int = 1) -> Value:
    """The elements `x[i, i + offset]` of two axes, along a new last axis.

    Raises:
        ShapeError: for two names of one axis.
        NeedsNumber: where the length depends on a size that is not known.
    """
    a, b = axis_of("diagonal", dim0, x.ndim), axis_of("diagonal", dim1, x.ndim)
    if a == b:
        raise ShapeError("diagonal: dim0 and dim1 name one axis", hint="name two axes")
    options = (offset, a, b)
    return x.viewed(
        Step(
            ("diagonal", *options),
            lambda value: _picked(value, *options),
            lambda value, new: _put_diagonal(value, new, *options),
        )
    )


def _put_diagonal(x: Value, new: Value, offset: int, a: int, b: int) -> Value:
    """`x` with `new` on a diagonal of the axes `a` and `b`."""
    order = (*(i for i in range(x.ndim) if i not in (a, b)), a, b)
    rows = permute(x, order)
    last = new.ndim - 1
    start, count = max(-offset, 0), rows.sizes[-2]
    if new.sizes[last] != count:
        new = new.apply("embed", axis=last, start=start, step=1, length=count)
    wide = new.apply("broadcast", shape=rows.sizes, dims=tuple(range(last + 1)))
    on = _offsets(x, *rows.sizes[-2:]) == offset
    on = on.apply("broadcast", shape=rows.sizes, dims=(last, last + 1))
    return permute(on.apply("where", wide, rows), [order.index(i) for i in range(x.ndim)])


def _picked(x: Value, offset: int, a: int, b: int) -> Value:
    rest = [i for i in range(x.ndim) if i not in (a, b)]
    x = permute(x, (*rest, a, b))
    rows, columns = x.sizes[-2:]
    if rows != columns or offset:
        names = [n for s in (rows, columns) if isinstance(s, Dim) for n in s.names]
        if not isinstance(rows, int) or not isinstance(columns, int):
            raise NeedsNumber(frozenset(names), f"diagonal of {x.node.type}")
        first, second = max(-offset, 0), max(offset, 0)
        length = max(min(rows - first, columns - second), 0)
        x = x.apply("slice", axis=x.ndim - 2, start=first, step=1, length=length)
        x = x.apply("slice", axis=x.ndim - 1, start=second, step=1, length=length)
    number = cast(x, uint8) if x.element is bool_ else x
    size = x.sizes[-1]
    on = _offsets(x, size, size) == 0
    return cast(reduce("sum", where(on, number, x.scalar(0, number.element)), -1), x.element)


def trace(x: Value, offset: int = 0, dim0: int = 0, dim1: int = 1) -> Value:
    """The sum of a diagonal."""
    _matrices("trace", x)
    return total(diagonal(x, offset, dim0, dim1), -1)


def diag(x: Value, diagonal: int = 0) -> Value:
    """A matrix's diagonal, or the matrix with this diagonal.

    Raises:
        ShapeError: for neither a vector nor a matrix.
    """
    if x.ndim == 2:
        return _diagonal(x, diagonal)
    if x.ndim != 1:
        raise ShapeError(f"diag: a vector or a matrix is expected, got {x.node.type}")
    return diag_embed(x, diagonal)


_diagonal = diagonal


def diag_embed(x: Value, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Value:
    """Matrices that hold the last axis of `x` on a diagonal, and zeros elsewhere."""
    size = x.sizes[-1] + abs(offset)
    at = _offsets(x, size, size) == offset
    start = max(-offset, 0)
    last = x.ndim - 1
    rows = x.apply("embed", axis=last, start=start, step=1, length=size) if offset else x
    wide = reshape(rows, (*rows.sizes, 1))
    out = where(at, wide, x.scalar(0, x.element))
    a, b = axis_of("diag_embed", dim1, out.ndim), axis_of("diag_embed", dim2, out.ndim)
    order = list(range(x.ndim - 1))
    for place, axis in sorted(((a, out.ndim - 2), (b, out.ndim - 1))):
        order.insert(place, axis)
    return permute(out, order)
