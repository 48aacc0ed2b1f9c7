"""Composites that cut, repeat, turn and pad: `split`, `roll`, `flip`, `tile` and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from . import dtypes
from .composites import unsupported_option, where
from .errors import ShapeError
from .layout import axis_of, broadcast_to, concatenate, flatten, permute, reshape, unsqueeze
from .selection import gather, iota, one_hot_mask, require_integers
from .sizes import Dim, Size, numel
from .symbolic import NeedsNumber, broadcast_shapes, unwrap_size
from .value import Value, binary, cast, normalise_axes


def known_size(what: str, x: Value, axis: int) -> int:
    """The number behind the size of `axis`.

    Raises:
        NeedsNumber: where only the kernel knows it.
    """
    size = x.sizes[axis]
    if isinstance(size, Dim):
        raise NeedsNumber(size.names, f"{what} needs the number of elements of an axis")
    return size


def narrow(x: Value, dim: int, start: int, length: Any) -> Value:
    """`length` elements of `dim` from `start` on.

    Raises:
        ShapeError: where they are not there.
    """
    axis = axis_of("narrow", dim, x.ndim)
    size, count = x.sizes[axis], unwrap_size(length)
    if isinstance(size, int) and isinstance(count, int):
        start = start + size if start < 0 else start
        if not (start >= 0 and count >= 0 and start + count <= size):
            raise ShapeError(
                f"narrow: {count} elements from {start} on are not in an axis of {size}"
            )
    if start == 0 and count == size:
        return x
    return x.apply("slice", axis=axis, start=start, step=1, length=count)


def select_at(x: Value, dim: int, index: int) -> Value:
    """`x` at one position of `dim`, which goes."""
    return x[(slice(None),) * axis_of("select", dim, x.ndim) + (index,)]


def split(x: Value, split_size: Any, dim: int = 0) -> tuple[Value, ...]:
    """Parts along `dim`, each of `split_size` elements (the last may be shorter), or of the sizes
    in a list.

    Raises:
        ShapeError: where the sizes do not add up.
    """
    axis = axis_of("split", dim, x.ndim)
    if isinstance(split_size, (tuple, list)):
        sizes = [unwrap_size(s) for s in split_size]
        whole: Size = 0
        for s in sizes:
            whole = whole + s
        if whole != x.sizes[axis]:
            if isinstance(x.sizes[axis], Dim):
                known_size("split", x, axis)
            raise ShapeError(
                f"split: the sizes {tuple(split_size)} do not add up to {x.sizes[axis]}",
                hint="they must be the whole axis",
            )
        if any(isinstance(s, Dim) for s in sizes[:-1]):
            known_size("split", x, axis)
        return _parts(x, axis, sizes)
    size, each = known_size("split", x, axis), int(split_size)
    if each <= 0:
        raise ShapeError(f"split: parts of {each} elements", hint="give a positive size")
    return _parts(x, axis, [min(each, size - i) for i in range(0, max(size, 1), each)])


def _parts(x: Value, axis: int, sizes: Sequence[Size]) -> tuple[Value, ...]:
    out, start = [], 0
    for size in sizes:
        out.append(narrow(x, axis, start, size))
        start = start + (size if isinstance(size, int) else 0)
    return tuple(out)


def chunk(x: Value, chunks: int, dim: int = 0) -> tuple[Value, ...]:
    """torch's chunk: at most `chunks` parts of one size, but for the last."""
    axis = axis_of("chunk", dim, x.ndim)
    size = known_size("chunk", x, axis)
    if size == 0:
        return _parts(x, axis, [0] * chunks)
    return split(x, max(-(-size // chunks), 1), axis)


def tensor_split(x: Value, indices_or_sections: Any, dim: int = 0) -> tuple[Value, ...]:
    """NumPy's array_split: so many parts, as equal as possible, or cut at these positions."""
    axis = axis_of("tensor_split", dim, x.ndim)
    size = known_size("tensor_split", x, axis)
    if isinstance(indices_or_sections, int):
        base, more = divmod(size, indices_or_sections)
        return _parts(x, axis, [base + (i < more) for i in range(indices_or_sections)])
    cuts = [0, *(slice(int(i)).indices(size)[1] for i in indices_or_sections), size]
    pairs = pairwise(cuts)
    return tuple(narrow(x, axis, a, max(b - a, 0)) for a, b in pairs)


def equal_split(x: Value, indices_or_sections: Any, dim: int = 0) -> tuple[Value, ...]:
    """NumPy's split, which refuses parts of different sizes."""
    if isinstance(indices_or_sections, int):
        axis = axis_of("split", dim, x.ndim)
        size = known_size("split", x, axis)
        if size % indices_or_sections:
            raise ShapeError(
                f"split: {size} elements do not make {indices_or_sections} equal parts",
                hint="np.array_split takes any number",
            )
    return tensor_split(x, indices_or_sections, dim)


def unbind(x: Value, dim: int = 0) -> tuple[Value, ...]:
    """The slices along `dim`, without that axis."""
    axis = axis_of("unbind", dim, x.ndim)
    return tuple(select_at(x, axis, i) for i in range(known_size("unbind", x, axis)))


def flip(x: Value, dim: int | Sequence[int] | None = None) -> Value:
    """`x` backwards along these axes, all by default."""
    for axis in normalise_axes("flip", dim, x.ndim):
        size = known_size("flip", x, axis)
        if size > 1:
            x = x.apply("slice", axis=axis, start=size - 1, step=-1, length=size)
    return x


def fliplr(x: Value) -> Value:
    """`x` backwards along axis 1."""
    return flip(x, 1)


def flipud(x: Value) -> Value:
    """`x` backwards along axis 0."""
    return flip(x, 0)


def diff(x: Value, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Value:
    """What each element along `dim` adds to the one before it, `n` times over.

    Args:
        prepend, append: what is put before and behind `x` first; a number stands for one element.

    Raises:
        ShapeError: for a 0-d value.
    """
    if not x.ndim:
        raise ShapeError("diff: at least one axis is needed, got a 0-d value", hint="use x[None]")
    axis = axis_of("diff", dim, x.ndim)
    one = tuple(1 if i == axis else size for i, size in enumerate(x.sizes))
    parts = [x.lift(v) for v in (prepend, x, append) if v is not None]
    if len(parts) > 1:
        x = concatenate([v if v.ndim else broadcast_to(v, one) for v in parts], axis)
    before = (slice(None),) * axis
    for _ in range(n):
        later, earlier = x[(*before, slice(1, None))], x[(*before, slice(None, -1))]
        x = binary("ne" if x.element is dtypes.bool_ else "sub", later, earlier)
    return x


def roll(x: Value, shifts: Any, dim: Any = None) -> Value:
    """`x` shifted round along its axes; without an axis, as one row of elements.

    Raises:
        ShapeError: for another number of shifts than of axes.
    """
    if dim is None:
        return reshape(roll(flatten(x), shifts, 0), x.sizes)
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    steps = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    if len(steps) == 1:
        steps = steps * len(axes)
    if len(steps) != len(axes):
        raise ShapeError(f"roll: {len(steps)} shifts for {len(axes)} axes", hint="one each")
    for step, one in zip(steps, axes, strict=True):
        axis = axis_of("roll", one, x.ndim)
        size = known_size("roll", x, axis)
        at = step % size if size else 0
        if at:
            parts = narrow(x, axis, size - at, at), narrow(x, axis, 0, size - at)
            x = concatenate(parts, axis)
    return x


def tile(x: Value, reps: Any) -> Value:
    """`x` repeated so many times along each axis, aligned at the right (NumPy's tile)."""
    times: list[Size] = [
        unwrap_size(r) for r in ((reps,) if not isinstance(reps, (tuple, list)) else reps)
    ]
    rank = max(x.ndim, len(times))
    times = [*[1] * (rank - len(times)), *times]
    x = reshape(x, (*(1,) * (rank - x.ndim), *x.sizes))
    # An axis of 1 is stretched as it is; one that is not repeated needs no axis beside it.
    pairs = [
        [(1, t)] if s == 1 else [(s, s)] if t == 1 else [(1, t), (s, s)]
        for t, s in zip(times, x.sizes, strict=True)
    ]
    narrow, wide = (tuple(n[i] for pair in pairs for n in pair) for i in (0, 1))
    return reshape(
        broadcast_to(reshape(x, narrow), wide),
        tuple(t * s for t, s in zip(times, x.sizes, strict=True)),
    )


def repeat(x: Value, reps: Any) -> Value:
    """torch's repeat: tile, with a number for every axis.

    Raises:
        ShapeError: for fewer numbers than axes.
    """
    if len(reps) < x.ndim:
        raise ShapeError(
            f"repeat: {len(reps)} numbers for {x.ndim} axes", hint="give one for each axis"
        )
    return tile(x, reps)


def repeat_interleave(x: Value, repeats: Any, dim: int | None = None) -> Value:
    """Each element so many times, one after the other, along `dim` or of the flattened value.

    Raises:
        UnsupportedError: for a number of repeats each, which makes a size that depends on data.
    """
    if not isinstance(repeats, int):
        raise unsupported_option(
            "repeat_interleave", "a tensor of repeats", "give one whole number"
        )
    if dim is None:
        x, dim = flatten(x), 0
    axis = axis_of("repeat_interleave", dim, x.ndim)
    wide = (*x.sizes[: axis + 1], repeats, *x.sizes[axis + 1 :])
    spread = broadcast_to(unsqueeze(x, axis + 1), wide)
    return reshape(spread, (*x.sizes[:axis], x.sizes[axis] * repeats, *x.sizes[axis + 1 :]))


def pad(x: Value, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Value:
    """torch's pad: `(before, after)` of the last axis first; a negative number cuts.

    Raises:
        UnsupportedError: for another mode than "constant".
        ShapeError: for an odd number of widths, or more than there are axes.
    """
    widths = [int(w) for w in pad]
    if mode != "constant":
        raise unsupported_option("pad", f"mode={mode!r}", "use 'constant', or torch.cat of slices")
    if len(widths) % 2 or len(widths) > 2 * x.ndim:
        raise ShapeError(
            f"pad: {len(widths)} widths for {x.ndim} axes", hint="give two for each axis"
        )
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2)
    pairs += [(widths[i], widths[i + 1]) for i in range(len(widths) - 2, -1, -2)]
    return pad_axes(x, pairs, value or 0)


def pad_axes(x: Value, pairs: Sequence[tuple[int, int]], value: float = 0) -> Value:
    """`x` with so many elements of `value` before and after, for each axis."""
    for axis, (before, after) in enumerate(pairs):
        if before < 0:
            x = narrow(x, axis, -before, x.sizes[axis] + before)
        if after < 0:
            x = narrow(x, axis, 0, x.sizes[axis] + after)
        before, after = max(before, 0), max(after, 0)
        if not before and not after:
            continue
        size = x.sizes[axis]
        total = size + (before + after)
        wide = x.apply("embed", axis=axis, start=before, step=1, length=total)
        if value:
            place = reshape(iota(x, total), (total, *(1,) * (x.ndim - 1 - axis)))
            held = (place >= before) & (place < _end(x, size, before))
            wide = where(held, wide, x.scalar(value, x.element))
        x = wide
    return x


def _end(x: Value, size: Size, before: int) -> Any:
    if isinstance(size, int):
        return size + before
    return type(x)(x.graph, x.graph.add("size", size=size + before), weak=True)


def move_axes(x: Value, source: Any, destination: Any) -> Value:
    """`x` with these axes at those positions, the others in order.

    Raises:
        ShapeError: where their numbers differ or one occurs twice.
    """
    if not x.ndim:
        return x
    sources, targets = (
        tuple(axis_of("movedim", a, x.ndim) for a in ((v,) if isinstance(v, int) else v))
        for v in (source, destination)
    )
    if len(sources) != len(targets) or len({*sources}) + len({*targets}) != 2 * len(sources):
        raise ShapeError(
            f"movedim: {sources} to {targets}", hint="name as many axes as positions, each once"
        )
    order = [i for i in range(x.ndim) if i not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return permute(x, order)


def unflatten(x: Value, dim: int, sizes: Sequence[Any]) -> Value:
    """`x` with one axis as several."""
    axis = axis_of("unflatten", dim, x.ndim)
    inner = [unwrap_size(s) for s in sizes]
    if -1 in inner:
        known = numel(s for s in inner if s != -1)
        size = known_size("unflatten", x, axis)
        inner[inner.index(-1)] = size // int(known) if isinstance(known, int) and known else 0
    return reshape(x, (*x.sizes[:axis], *inner, *x.sizes[axis + 1 :]))


def take_along_dim(x: Value, indices: Value, dim: int | None = None) -> Value:
    """gather, whose other axes broadcast; without `dim`, of the flattened values."""
    if dim is None:
        return gather(flatten(x), 0, flatten(indices))
    axis = axis_of("take_along_dim", dim, x.ndim)
    a, b = list(x.sizes), list(indices.sizes)
    a[axis] = b[axis] = 1
    common = broadcast_shapes("take_along_dim", tuple(a), tuple(b), x.graph.hints)
    left, right = list(common), list(common)
    left[axis], right[axis] = x.sizes[axis], indices.sizes[axis]
    return gather(broadcast_to(x, left), axis, broadcast_to(indices, right))


def one_hot(x: Value, num_classes: int = -1) -> Value:
    """int64 ones at the class of each element, along a new last axis.

    Raises:
        UnsupportedError: without the number of classes, which then depends on the data.
    """
    require_integers("one_hot", x)
    if num_classes < 0:
        raise unsupported_option(
            "one_hot", "leaving out num_classes", "say how many: F.one_hot(y, num_classes=10)"
        )
    return cast(one_hot_mask(x, num_classes), dtypes.int64)
