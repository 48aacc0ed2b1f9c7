"""Writing at positions: new values with some elements replaced or added to, all differentiable.

Of several writes to one element the last one counts, and sums are in the order of the writes, so
the same bits come out every time.
"""

from __future__ import annotations

from typing import Any

from . import dtypes
from .errors import DTypeError, ShapeError, UnsupportedError
from .in_place import stretched
from .layout import axis_of, move_axis, reshape, unsqueeze
from .ops.elementwise import full_like
from .selection import iota, one_hot_mask, promise_range, require_integers
from .sizes import format_shape
from .symbolic import require_equal
from .value import Value, cast, reduce


def masked(x: Value, mask: Value, new: Any, axis: int = 0) -> Value:
    """`new` where `mask`, which has the axes of `x` from `axis` on, holds.

    Raises:
        ShapeError: where the shapes do not fit.
        UnsupportedError: for a number of new elements that depends on the data.
    """
    full = cast(spread_over(x, mask, x.lift(new), axis), x.element)
    return held_along(x, mask, axis).apply("where", full, x)


def held_along(x: Value, mask: Value, axis: int) -> Value:
    """`mask`, which has the axes of `x` from `axis` on, in the shape of `x`.

    Raises:
        ShapeError: where it does not fit.
    """
    end = axis + mask.ndim
    for mine, its in zip(mask.sizes, x.sizes[axis:end], strict=True):
        require_equal(
            f"a mask of {format_shape(mask.sizes)} does not fit axis {axis} of {x.node.type}",
            mine,
            its,
            x.graph.hints,
            "it must have the sizes of the axes that it selects from",
        )
    return mask.apply("broadcast", shape=x.sizes, dims=tuple(range(axis, end)))


def spread_over(x: Value, mask: Value, value: Value, axis: int) -> Value:
    """What is written at `x[mask]`, one for all elements that the mask holds, in the shape of `x`.

    Raises:
        ShapeError, UnsupportedError: as `masked`.
    """
    end = axis + mask.ndim
    many = value.ndim - (x.ndim - end) - 1
    if many >= 0 and value.sizes[many] != 1:
        raise UnsupportedError(
            "boolean mask",
            f"x[mask] = y with as many elements of y ({value.node.type}) as the mask holds, a "
            "number that depends on the data, is not supported",
            hint="give one element for all, or select with torch.where(mask, y, x) or np.where",
        )
    once = (*x.sizes[:axis], 1, *x.sizes[end:])
    value = reshape(stretched("x[mask] =", value, once), (*x.sizes[:axis], *x.sizes[end:]))
    dims = (*range(axis), *range(end, x.ndim))
    return value.apply("broadcast", shape=x.sizes, dims=dims)


def put_rows(x: Value, index: Value, new: Value, *, accumulate: bool = False) -> Value:
    """`x` with rows replaced: `x[index[i]] = new[i]`, or `+=`.

    Args:
        index: a vector of row numbers from 0 on.
        new: of the shape of `x`, but for the number of rows, and its dtype. A sum of bools is
            True where one of them is.
    """
    if accumulate:
        if x.element is dtypes.bool_:
            number, more = cast(x, dtypes.int32), cast(new, dtypes.int32)
            return cast(put_rows(number, index, more, accumulate=True), dtypes.bool_)
        return x.apply("add", new.apply("scatter_add", index, size=x.sizes[0]))
    if new.sizes[0] == 0 or x.sizes[0] == 0:
        return x
    hit = one_hot_mask(index, x.sizes[0], 0)
    place = iota(x, index.sizes[0]).apply("broadcast", shape=hit.sizes, dims=(1,))
    last = reduce("amax", hit.apply("where", place, full_like(place, -1)), 1)
    written = last.apply("ge", full_like(last, 0))
    rows = new.apply("take", last.apply("maximum", full_like(last, 0)))
    return written.apply("broadcast", shape=x.sizes, dims=(0,)).apply("where", rows, x)


def index_put_along(
    what: str, x: Value, dim: int, index: Value, source: Value, *, accumulate: bool = False
) -> Value:
    """torch's index_copy and index_add: slices of `dim` replaced or added to.

    Raises:
        ShapeError: where shapes do not fit.
        DTypeError: for an index that is not integer, or a source of another dtype.
    """
    require_integers(what, index)
    axis = axis_of(what, dim, max(x.ndim, 1))
    whole = x.sizes
    if x.ndim == 0:
        x, source = reshape(x, (1,)), reshape(source, (-1,))
    index = reshape(index, (1,)) if index.ndim == 0 else index
    if source.ndim == x.ndim - 1:
        source = unsqueeze(source, axis)
    expected = (*x.sizes[:axis], *index.sizes, *x.sizes[axis + 1 :])
    got = format_shape(source.sizes)
    message = f"{what}: a source of {format_shape(expected)} is expected, got {got}"
    hint = "it has the value's shape, with one slice for each index"
    if source.ndim != len(expected):
        raise ShapeError(message, hint=hint)
    for s, t in zip(source.sizes, expected, strict=True):
        require_equal(message, s, t, x.graph.hints, hint)
    if source.element is not x.element:
        raise DTypeError(
            f"{what}: a source of {x.element} is expected, got {source.element}",
            hint="convert it, e.g. source.to(x.dtype)",
        )
    promise_range(index, 0, x.sizes[axis])
    rows, new = move_axis(x, axis, 0), move_axis(source, axis, 0)
    made = put_rows(rows, index, new, accumulate=accumulate)
    return reshape(move_axis(made, 0, axis), whole)


def index_fill(x: Value, dim: int, index: Value, value: Any) -> Value:
    """torch's index_fill: one value in these slices of `dim`."""
    filler = cast(x.lift(value), x.element)
    if filler.ndim:
        raise ShapeError(
            f"index_fill: one number is expected, got {filler.node.type}",
            hint="index_copy takes a value for each",
        )
    axis = axis_of("index_fill", dim, max(x.ndim, 1))
    count = index.sizes[0] if index.ndim else 1
    shape = (*x.sizes[:axis], count, *x.sizes[axis + 1 :]) if x.ndim else (1,)
    source = filler.apply("broadcast", shape=shape, dims=())
    return index_put_along("index_fill", x, dim, index, source)


def scattered(x: Value, axis: int, index: Value, source: Value, reduction: str) -> Value:
    """`x[.., index[.., i, ..], ..] = source[.., i, ..]` along `axis`, or another reduction.

    Args:
        x, index, source: of one shape, but for the size of `axis`, which the latter two share.
        reduction: "set", "sum" or "prod".
    """
    size, last = x.sizes[axis], x.ndim - 1
    mask = one_hot_mask(move_axis(index, axis, last), size)  # (others, i, position)
    wide = move_axis(source, axis, last).apply(
        "broadcast", shape=mask.sizes, dims=tuple(range(x.ndim))
    )
    rows = move_axis(x, axis, last)
    if reduction == "set":
        place = iota(x, index.sizes[axis]).apply("broadcast", shape=mask.sizes, dims=(last,))
        latest = reduce("amax", mask.apply("where", place, full_like(place, -1)), last)
        others = tuple(range(last))
        mask = place.apply(
            "eq", latest.apply("broadcast", shape=mask.sizes, dims=(*others, last + 1))
        )
        number = cast(wide, dtypes.uint8) if x.element is dtypes.bool_ else wide
        chosen = reduce("sum", mask.apply("where", number, full_like(number, 0)), last)
        written = latest.apply("ge", full_like(latest, 0))
        made = written.apply("where", cast(chosen, x.element), rows)
    else:
        if x.element is dtypes.bool_:
            wide, rows = cast(wide, dtypes.int32), cast(rows, dtypes.int32)
        neutral, join = _REDUCTIONS[reduction]
        held = mask.apply("where", wide, full_like(wide, neutral))
        made = cast(rows.apply(join, reduce(reduction, held, last)), x.element)
    return move_axis(made, last, axis)


# The neutral element of a reduction, and the op that joins two results.
_REDUCTIONS = {"sum": (0, "add"), "prod": (1, "mul")}
