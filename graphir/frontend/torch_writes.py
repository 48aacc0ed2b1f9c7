"""torch's functions that write: into a copy, `x.index_add(...)`, or in place, `x.copy_(y)`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..composites import unsupported_option
from ..errors import ShapeError
from ..in_place import stretched
from ..layout import axis_of, broadcast_to, reshape
from ..matrices import diagonal
from ..ops.elementwise import full_like
from ..scatter import index_put_along, scattered
from ..selection import promise_range, require_integers
from ..sizes import format_shape
from ..symbolic import require_equal
from ..value import Value, cast
from .names import Implementation


def index_add(input: Any, dim: int, index: Any, source: Any, alpha: Any = 1) -> Any:
    """torch.index_add: every repetition of an index counts."""
    new = source if alpha == 1 else cast(source * alpha, source.element)
    return index_put_along("index_add", input, dim, index, new, accumulate=True)


def index_copy(input: Any, dim: int, index: Any, source: Any) -> Any:
    """torch.index_copy; of several writes the last one counts."""
    return index_put_along("index_copy", input, dim, index, source)


def index_put(input: Any, indices: Any, values: Any, accumulate: bool = False) -> Any:
    """torch.index_put: `input[indices] = values`, or `+= values`."""
    made = input.copied()
    index = tuple(slice(None) if i is None else i for i in indices)
    made.put(index, values, accumulate=accumulate)
    return made


def get_item(input: Any, index: Any) -> Any:
    """Tensor.__getitem__."""
    return input[index]


def set_item(input: Any, index: Any, value: Any) -> None:
    """Tensor.__setitem__."""
    input.put(index, value)


def select_scatter(input: Any, src: Any, dim: int, index: int) -> Any:
    """torch.select_scatter: `input` with `src` at one position of `dim`."""
    made = input.copied()
    at = axis_of("select_scatter", dim, made.ndim)
    made[(*(slice(None),) * at, index)].write("select_scatter", src)
    return made


def slice_scatter(
    input: Any, src: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> Any:
    """torch.slice_scatter: `input` with `src` in a slice of `dim`."""
    made = input.copied()
    at = axis_of("slice_scatter", dim, made.ndim)
    made[(*(slice(None),) * at, slice(start, end, step))].write("slice_scatter", src)
    return made


def diagonal_scatter(input: Any, src: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """torch.diagonal_scatter: `input` with `src` on a diagonal."""
    made = input.copied()
    view: Any = diagonal(made, offset, dim1, dim2)
    view.write("diagonal_scatter", src)
    return made


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, value: Any = None, reduce: Any = None
) -> Any:
    """torch.scatter; of several writes to one element the last one counts.

    Raises:
        UnsupportedError: for a reduction; scatter_add adds.
    """
    if reduce is not None:
        raise unsupported_option("scatter", f"reduce={reduce!r}", "scatter_add adds")
    return _scatter("scatter", input, dim, index, src if value is None else value, "set")


def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Any:
    """torch.scatter_add: sums in the order of the index."""
    return _scatter("scatter_add", input, dim, index, src, "sum")


def _scatter(what: str, input: Any, dim: int, index: Value, src: Any, reduction: str) -> Any:
    require_integers(what, index)
    x = input.copied()
    axis = axis_of(what, dim, max(x.ndim, 1))
    source = input.lift(src)
    if source.ndim == 0:
        source = broadcast_to(cast(source, x.element), index.sizes)
    if source.element is not x.element:
        source = cast(source, x.element)
    if not index.ndim == x.ndim == source.ndim:
        raise ShapeError(
            f"{what}: value, index and source must be of one rank, got {x.node.type}, "
            f"{index.node.type} and {source.node.type}",
            hint="add axes, e.g. index[:, None]",
        )
    if x.ndim == 0:
        return _scatter(what, reshape(x, (1,)), 0, reshape(index, (1,)),
                        reshape(source, (1,)), reduction)[0]  # fmt: skip
    promise_range(index, 0, x.sizes[axis])
    region: Any = x
    for i, size in enumerate(index.sizes):
        source = _first(what, source, i, size)
        region = region if i == axis else _first(what, region, i, size)
    region.write(what, scattered(region, axis, index, source, reduction))
    return x


def _first(what: str, x: Value, axis: int, size: Any) -> Value:
    """The first `size` elements of an axis."""
    have = x.sizes[axis]
    if have == size:
        return x
    if isinstance(have, int) and isinstance(size, int) and size < have:
        return x.apply("slice", axis=axis, start=0, step=1, length=size)
    message = f"{what}: the index has {size} elements on axis {axis} of {format_shape(x.sizes)}"
    require_equal(message, have, size, x.graph.hints, "shorten the index")
    return x


def _copied_from(input: Any, src: Any, non_blocking: bool = False) -> Any:
    return stretched("copy_", input.lift(src), input.sizes)


def _filled(input: Any, value: Any) -> Any:
    return broadcast_to(cast(input.lift(value), input.element), input.sizes)


def _zeros(input: Any) -> Any:
    return full_like(input, 0)


# By the name without its underscore: the methods that write any kind of number into any dtype.
CONVERTING: Mapping[str, Implementation] = {
    "copy": _copied_from, "fill": _filled, "zero": _zeros,
}  # fmt: skip
