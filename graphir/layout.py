"""Composites that move elements: transposes, reshapes, broadcasts. All take and give Values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .dtypes import bool_
from .errors import ShapeError
from .sizes import Dim, Shape, Size, divide, evaluate, format_shape, numel
from .symbolic import NeedsNumber, SymbolicSize, broadcast_shapes, require_equal, unwrap_size
from .value import Value, cast, lift_all, result_dtype
from .value import broadcast_to as _stretch


def axis_of(what: str, axis: int, ndim: int) -> int:
    """`axis` as a position from 0.

    Raises:
        ShapeError: where there is no such axis.
    """
    if not -ndim <= axis < ndim:
        have = f"use an axis from {-ndim} to {ndim - 1}" if ndim else "a 0-d value has no axes"
        raise ShapeError(f"{what}: axis {axis} is not one of a {ndim}-d value", hint=have)
    return axis % ndim


def element_count(x: Value) -> int | SymbolicSize:
    """How many elements `x` has: NumPy's `size`, torch's `numel()`."""
    total = numel(x.sizes)
    return x.size_type(x.graph, total, type(x)) if isinstance(total, Dim) else total


def permute(x: Value, order: Sequence[int]) -> Value:
    """`x` with its axes in `order`.

    Raises:
        ShapeError: unless `order` names each axis once.
    """
    axes = tuple(axis_of("permute", a, x.ndim) for a in order)
    if sorted(axes) != list(range(x.ndim)):
        raise ShapeError(
            f"permute: {tuple(order)} must name each axis of a {x.ndim}-d value once",
            hint=f"give a rearrangement of {tuple(range(x.ndim))}",
        )
    return x if axes == tuple(range(x.ndim)) else x.apply("permute", order=axes)


def swap_axes(x: Value, dim0: int, dim1: int) -> Value:
    """`x` with two axes exchanged. A 0-d value stays as it is for axes 0 and -1, as in torch."""
    if x.ndim == 0 and {dim0, dim1} <= {0, -1}:
        return x
    a, b = axis_of("transpose", dim0, x.ndim), axis_of("transpose", dim1, x.ndim)
    order = list(range(x.ndim))
    order[a], order[b] = b, a
    return permute(x, order)


def reverse_axes(x: Value) -> Value:
    """`x` with its axes in reverse order: the transpose of a matrix."""
    return permute(x, tuple(reversed(range(x.ndim))))


def matrix_transpose(x: Value) -> Value:
    """`x` with its last two axes exchanged.

    Raises:
        ShapeError: for fewer than two axes.
    """
    if x.ndim < 2:
        raise ShapeError(
            f"mT: a matrix or a batch of matrices is expected, got {x.node.type}",
            hint="x.T leaves vectors as they are",
        )
    return swap_axes(x, -2, -1)


def move_axis(x: Value, source: int, destination: int) -> Value:
    """`x` with the axis `source` at position `destination`, the others in order."""
    a, b = axis_of("movedim", source, x.ndim), axis_of("movedim", destination, x.ndim)
    order = [i for i in range(x.ndim) if i != a]
    order.insert(b, a)
    return permute(x, order)


def reshape(x: Value, shape: Sequence[Any]) -> Value:
    """`x`'s elements in row-major order under a new shape; one size may be -1.

    Raises:
        ShapeError: where the number of elements differs.
        NeedsNumber: where that is so for some sizes of the Dims only.
    """
    target = _resolve(x, shape)
    return x if target == x.sizes else x.apply("reshape", shape=target)


def _resolve(x: Value, shape: Sequence[Any]) -> Shape:
    sizes: list[Size] = [unwrap_size(s) for s in shape]
    total, hints = numel(x.sizes), x.graph.hints
    open_ = [i for i, s in enumerate(sizes) if s == -1]
    known = numel(s for s in sizes if s != -1)
    message = f"reshape: {x.node.type} has {total} elements and does not fit {format_shape(sizes)}"
    hint = "the product of the sizes must stay the same; -1 stands for what is left"
    if len(open_) > 1 or any(isinstance(s, int) and s < -1 for s in sizes):
        raise ShapeError(f"reshape: {format_shape(sizes)} is not a shape", hint=hint)
    if not open_:
        require_equal(message, total, known, hints, hint)
        return tuple(sizes)
    rest = divide(total, known)
    if rest is None:
        names = frozenset(n for s in (total, known) if isinstance(s, Dim) for n in s.names)
        divisor = evaluate(known, hints)
        if names and divisor and evaluate(total, hints) % divisor == 0:
            raise NeedsNumber(names, f"reshape divides {total} by {known}")
        raise ShapeError(message, hint=hint)
    sizes[open_[0]] = rest
    return tuple(sizes)


def flatten(x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """`x` with the axes `start_dim` to `end_dim` joined into one; a 0-d value becomes 1-d."""
    if x.ndim == 0:
        return reshape(x, (1,))
    a, b = axis_of("flatten", start_dim, x.ndim), axis_of("flatten", end_dim, x.ndim)
    if a > b:
        raise ShapeError(
            f"flatten: the first axis {start_dim} lies after the last, {end_dim}",
            hint="name the first axis first",
        )
    return reshape(x, (*x.sizes[:a], numel(x.sizes[a : b + 1]), *x.sizes[b + 1 :]))


def squeeze(x: Value, dim: int | Sequence[int] | None = None, *, strict: bool = False) -> Value:
    """`x` without axes of size 1: all of them, or those among `dim`.

    Raises:
        ShapeError: with `strict` (NumPy's rule), for a named axis of another size.
    """
    if dim is None:
        named = tuple(range(x.ndim))
    else:
        given = (dim,) if isinstance(dim, int) else tuple(dim)
        named = tuple(axis_of("squeeze", a, x.ndim) for a in given) if x.ndim else ()
        for a in named:
            if x.sizes[a] != 1 and strict:
                raise ShapeError(
                    f"squeeze: axis {a} of {x.node.type} is not of size 1",
                    hint="name only axes of size 1",
                )
    return reshape(x, tuple(s for i, s in enumerate(x.sizes) if i not in named or s != 1))


def unsqueeze(x: Value, dim: int) -> Value:
    """`x` with a new axis of size 1 at `dim`."""
    at = axis_of("unsqueeze", dim, x.ndim + 1)
    return reshape(x, (*x.sizes[:at], 1, *x.sizes[at:]))


def unsqueeze_many(x: Value, dim: int | Sequence[int]) -> Value:
    """`x` with new axes of size 1, at these positions of the result (NumPy's expand_dims)."""
    given = (dim,) if isinstance(dim, int) else tuple(dim)
    rank = x.ndim + len(given)
    at = {axis_of("expand_dims", a, rank) for a in given}
    if len(at) != len(given):
        raise ShapeError(f"expand_dims: {given} name one axis twice")
    rest = iter(x.sizes)
    return reshape(x, tuple(1 if i in at else next(rest) for i in range(rank)))


def concatenate(values: Sequence[Value], dim: int = 0) -> Value:
    """The values one after the other along `dim`, promoted to one dtype.

    Raises:
        ShapeError: where their ranks, or the sizes of their other axes, differ.
    """
    values = lift_all(*values)
    first = values[0]
    axis, dtype = axis_of("cat", dim, first.ndim), result_dtype(*values)
    for x in values[1:]:
        message = f"cat: {first.node.type} and {x.node.type} differ beside axis {axis}"
        if x.ndim != first.ndim:
            raise ShapeError(message, hint="bring them to one rank, e.g. with x[:, None]")
        for i, (s, t) in enumerate(zip(first.sizes, x.sizes, strict=True)):
            if i != axis:
                require_equal(message, s, t, x.graph.hints, "only that axis may differ")
    total: Size = 0
    for x in values:
        total = total + x.sizes[axis]
    join = "logical_or" if dtype is bool_ else "add"
    out: Value | None = None
    start: Size = 0
    for x in values:
        if isinstance(start, Dim):
            raise NeedsNumber(start.names, f"cat puts values at position {start}")
        part = cast(x, dtype)
        if x.sizes[axis] != total:
            part = part.apply("embed", axis=axis, start=start, step=1, length=total)
        out = part if out is None else out.apply(join, part)
        start = start + x.sizes[axis]
    assert out is not None
    return out


def stack(values: Sequence[Value], dim: int = 0) -> Value:
    """The values side by side along a new axis `dim`."""
    return concatenate([unsqueeze(x, dim) for x in lift_all(*values)], dim)


def broadcast_to(x: Value, shape: Sequence[Any]) -> Value:
    """`x` stretched to `shape`; -1 keeps a size (torch's expand).

    Raises:
        ShapeError: where a size is neither 1 nor the target's.
    """
    sizes: list[Size] = [unwrap_size(s) for s in shape]
    offset = len(sizes) - x.ndim
    sizes = [x.sizes[i - offset] if s == -1 and i >= offset else s for i, s in enumerate(sizes)]
    target = tuple(sizes)
    fits = offset >= 0 and broadcast_shapes("expand", x.sizes, target, x.graph.hints) == target
    if not fits or -1 in target:
        raise ShapeError(
            f"expand: {x.node.type} does not stretch to {format_shape(target)}",
            hint="only axes of size 1 stretch; new axes come first",
        )
    return _stretch(x, target)
