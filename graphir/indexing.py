"""Indexing: `x[1:, None, ids, ..., -1]` in slices, reshapes and `take`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import dtypes
from .composites import where
from .errors import ShapeError, UnsupportedError
from .layout import move_axis, permute, reshape
from .selection import promise_range
from .sizes import Dim, Size, evaluate, numel
from .symbolic import NeedsNumber, SymbolicSize, unwrap_size
from .value import (
    Value,
    binary,
    broadcast_together,
    cast,
)


def getitem(x: Value, index: Any, *, ints_first: bool = False) -> Value:
    """`x[index]` by NumPy's rules, for ints, slices, None, `...` and integer Values.

    Args:
        ints_first: torch's rule that ints pick before integer arrays do, so that x[0, :, ids] has
            the axis of `ids` last; to NumPy an int is an integer array too, and puts it first.

    Raises:
        ShapeError: for too many indices, or an int outside its axis.
        UnsupportedError: for boolean masks and other kinds of index.
        NeedsNumber: where the result's shape cannot be written in the axis's Dim.
    """
    selected = select(x, index, ints_first=ints_first)
    return selected.rows() if isinstance(selected, Selected) else selected


@dataclass(frozen=True)
class Selected:
    """What integer arrays select from.

    Attributes:
        x: what the other items of the index select.
        arrays: pairs of an axis of `x` and the index there.
        together: whether the arrays stood side by side, so that their axes stay there.
    """

    x: Value
    arrays: list[tuple[int, Value]]
    together: bool

    @property
    def axes(self) -> list[int]:
        """The axes that the arrays select from."""
        return [axis for axis, _ in self.arrays]

    def index(self) -> Value:
        """The arrays as one, into the rows of `flat`."""
        first, x = self.axes[0], self.x
        for axis, index in self.arrays:
            size = x.sizes[axis]
            promise_range(index, -size if isinstance(size, int) else 0, size)
        if len(self.arrays) == 1:
            return wrapped(self.arrays[0][1], x.sizes[first])
        indices = [wrapped(i, x.sizes[axis]) for axis, i in self.arrays]
        indices = broadcast_together("index", *(cast(i, dtypes.int64) for i in indices))
        index = indices[0]
        for axis, i in zip(self.axes[1:], indices[1:], strict=True):
            index = index * _number(index, x.sizes[axis]) + i
        return index

    def flat(self, x: Value) -> Value:
        """A value of the shape of `self.x` with the axes selected from joined into a first one."""
        if len(self.axes) == 1:
            return move_axis(x, self.axes[0], 0)
        rows = permute(x, (*self.axes, *self._rest))
        return reshape(rows, (numel(rows.sizes[: len(self.axes)]), *rows.sizes[len(self.axes) :]))

    def unflat(self, rows: Value) -> Value:
        """The inverse of `flat`."""
        if len(self.axes) == 1:
            return move_axis(rows, 0, self.axes[0])
        order = [*self.axes, *self._rest]
        wide = reshape(rows, tuple(self.x.sizes[i] for i in order))
        return permute(wide, [order.index(i) for i in range(len(order))])

    @property
    def _rest(self) -> list[int]:
        return [i for i in range(self.x.ndim) if i not in self.axes]

    def order(self, rank: int) -> list[int]:
        """Where the axes of the result lie in the rows at an index of so many axes."""
        first, count = self.axes[0], rank + self.x.ndim - len(self.axes)
        if not self.together:
            return list(range(count))
        lead = [*range(rank, rank + first), *range(rank)]
        return [*lead, *range(len(lead), count)]

    def rows(self) -> Value:
        """What the whole index selects."""
        index = self.index()
        out = self.flat(self.x).apply("take", index)
        order = self.order(index.ndim)
        return permute(out, order)


def select(x: Value, index: Any, *, ints_first: bool = False) -> Value | Selected:
    """`x[index]`, or what its integer arrays are yet to select from.

    Raises:
        ShapeError, UnsupportedError, NeedsNumber: as `getitem`.
    """
    items = expand(x, index if isinstance(index, tuple) else (index,))
    shape: list[Size] = []  # of the result, before integer arrays are applied
    arrays: list[tuple[int, Value]] = []  # (its axis in `shape`, the index)
    advanced: list[int] = []  # where ints and arrays stand among the items
    axis, whole = 0, x.node.type
    for place, item in enumerate(items):
        if item is None:
            shape.append(1)
            continue
        _check_kind(item)
        if isinstance(item, Value):
            arrays.append((len(shape), item))
            shape.append(x.sizes[axis])
            advanced.append(place)
        elif isinstance(item, slice):
            x = _slice(x, axis, item)
            shape.append(x.sizes[axis])
        else:
            x = _pick(x, axis, item, whole)
            if not ints_first:
                advanced.append(place)
        axis += 1
    out = reshape(x, shape)
    if not arrays:
        return out
    between = (i for i in range(advanced[0], advanced[-1]) if i not in advanced)
    picks = (items[i] is not None and not isinstance(items[i], slice) for i in between)
    together = all(picks)
    return Selected(out, arrays, together)


def is_mask(item: Any) -> bool:
    """Whether an item of an index is a boolean array."""
    return isinstance(item, Value) and item.element is dtypes.bool_


def expand(x: Value, items: tuple[Any, ...]) -> list[Any]:
    """The items with `...` spelled out and whole slices for the axes not named.

    Raises:
        ShapeError: for more items than axes.
    """
    dots = [i for i, item in enumerate(items) if item is Ellipsis]
    used = sum(
        item.ndim if is_mask(item) else item is not None and item is not Ellipsis for item in items
    )
    if len(dots) > 1 or used > x.ndim:
        raise ShapeError(
            f"index: {used} indices for {x.node.type}, which has {x.ndim} axes"
            if used > x.ndim
            else "index: `...` may stand once only",
            hint="index each axis once; None adds an axis",
        )
    fill: list[Any] = [slice(None)] * (x.ndim - used)
    at = dots[0] if dots else len(items)
    return [*items[:at], *fill, *items[at + 1 :]]


def _check_kind(item: Any) -> None:
    if isinstance(item, Value):
        if item.element is dtypes.bool_:
            raise UnsupportedError(
                "boolean mask",
                f"a boolean mask ({item.node.type}) as an index gives a result "
                "whose size depends on the data, which is not supported",
                hint="keep the shape and select with torch.where(mask, x, 0.0) or np.where",
            )
        if item.element.is_float:
            raise UnsupportedError(
                "index",
                f"an index must hold integers, got {item.node.type}",
                hint="convert it, e.g. ids.long() or ids.astype('int64')",
            )
        return
    fine = item is None or item is Ellipsis or isinstance(item, (slice, SymbolicSize, Dim))
    if not fine and (isinstance(item, bool) or not isinstance(item, (int, np.integer))):
        raise UnsupportedError(
            "index",
            f"a {type(item).__name__} as an index is not supported",
            hint="index with ints, slices, None, `...` or integer arrays",
        )


def _exists(size: Size, needed: Size) -> bool:
    """Whether an axis of `size` has at least `needed` elements, whatever its Dims are.

    Raises:
        NeedsNumber: where some sizes of the Dims have them and others do not.
    """
    spare = size - needed
    if isinstance(spare, int):
        return spare >= 0
    # Each Dim is at least 1: what holds there holds for larger sizes.
    if evaluate(spare, dict.fromkeys(spare.names, 1)) >= 0 and _grows(spare):
        return True
    raise NeedsNumber(spare.names, f"an index needs an axis of {size} to have {needed} elements")


def _grows(size: Dim) -> bool:
    return all(factor > 0 for monomial, factor in size.terms if monomial)


def _pick(x: Value, axis: int, index: Any, whole: str) -> Value:
    size, at = x.sizes[axis], unwrap_size(index)
    if isinstance(at, Dim) or (at < 0 and isinstance(size, Dim)):
        names = frozenset(n for s in (at, size) if isinstance(s, Dim) for n in s.names)
        raise NeedsNumber(names, f"an axis of {size} is indexed at {at}")
    if not (isinstance(size, int) and at < 0 <= at + size) and not (
        at >= 0 and _exists(size, at + 1)
    ):
        raise ShapeError(
            f"index {at} is outside axis {axis} of {whole}",
            hint=f"use an index from {-size} to {size - 1}" if size else "the axis is empty",
        )
    start = at + size if isinstance(size, int) and at < 0 else at
    return x if size == 1 else x.apply("slice", axis=axis, start=start, step=1, length=1)


def _slice(x: Value, axis: int, item: slice) -> Value:
    size = x.sizes[axis]
    start, stop, step = (
        None if b is None else unwrap_size(b) for b in (item.start, item.stop, item.step)
    )
    if step == 0:
        raise ShapeError("a slice's step must not be 0", hint="leave the step out")
    bounds = [b for b in (start, stop, step) if b is not None]
    if isinstance(size, int) and all(isinstance(b, int) for b in bounds):
        first, last, stride = slice(start, stop, step).indices(size)
        length: Size = len(range(first, last, stride))
    else:
        first, length = _symbolic(size, start, stop, step)
        stride = 1
    if length == size and stride == 1:
        return x
    return x.apply("slice", axis=axis, start=first, step=stride, length=length)


def _symbolic(size: Size, start: Any, stop: Any, step: Any) -> tuple[int, Size]:
    """Start and length of a slice of step 1 where a Dim is in play."""
    names = frozenset(n for s in (size, start, stop) if isinstance(s, Dim) for n in s.names)
    unknown = NeedsNumber(names, f"a slice of an axis of {size} depends on the number")
    first = 0 if start is None else start
    last: Size = size if stop is None else stop
    if step not in (None, 1) or not isinstance(first, int) or first < 0:
        raise unknown
    if isinstance(last, int) and last < 0:
        last = size + last
    if not _exists(size, last) or not _exists(last, first):
        raise unknown
    return first, last - first


def wrapped(index: Value, size: Size) -> Value:
    """`index` with negatives counted from the end."""
    if index.element is dtypes.uint8:
        return cast(index, dtypes.int64)
    if index.node.op == "iota":
        return index
    return where(binary("lt", index, 0), index + _number(index, size), index)


def _number(like: Value, size: Size) -> Any:
    if isinstance(size, int):
        return size
    return type(like)(like.graph, like.graph.add("size", size=size), weak=True)


def rows(x: Value, index: Value, axis: int = 0) -> Value:
    """`x` at the positions `index` of `axis`, whose place the axes of `index` take."""
    items: Iterator[Any] = (slice(None) for _ in range(axis % max(x.ndim, 1)))
    return getitem(x, (*items, index))
