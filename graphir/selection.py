"""Selection by integers: gathers as selects over positions, which need no derivative rules."""

from __future__ import annotations

from . import dtypes
from .composites import where
from .errors import DTypeError, ShapeError, user_location
from .graph import IndexRange
from .layout import axis_of, move_axis, reshape, unsqueeze
from .ops.elementwise import full_like, zeros_like
from .sizes import Size, format_shape
from .symbolic import require_equal
from .value import Value, binary, cast, reduce


def iota(like: Value, size: Size) -> Value:
    """0, 1, …, size - 1 in the graph of `like`, int64."""
    return type(like)(like.graph, like.graph.add("iota", size=size))


def one_hot_mask(index: Value, size: Size, axis: int = -1) -> Value:
    """Bools of the shape of `index` with a new axis of `size`: True where its position is `index`.

    A select by this mask is a gather whose derivative is again a select.
    """
    at = axis_of("one_hot", axis, index.ndim + 1)
    positions = reshape(iota(index, size), (size, *(1,) * (index.ndim - at)))
    return binary("eq", unsqueeze(index, at), positions)


def select(x: Value, index: Value, axis: int) -> Value:
    """`x` at position `index` of `axis`, which goes; `index` has the other axes' shape.

    What is not selected is not multiplied by 0 but left out, so it may be inf or NaN.
    """
    mask = one_hot_mask(index, x.sizes[axis], axis)
    return reduce("sum", where(mask, x, zeros_like(x)), axis)


def promise_range(index: Value, low: int, high: Size, ignored: int | None = None) -> None:
    """Have `low <= index < high` checked on the host, where `index` is an argument, moved or not.

    Elements that are `ignored` may be anything.
    """
    node = index.node
    while node.op in ("reshape", "permute", "broadcast"):
        (node,) = node.inputs
    # A copy stands for an argument of one example: batching hands the promise on.
    if node.op in ("input", "copy") and isinstance(high, int):
        promise = IndexRange(node, low, high, user_location(), ignored)
        known = {(r.node, r.low, r.high, r.ignored) for r in index.graph.ranges}
        if (promise.node, low, high, ignored) not in known:
            index.graph.ranges.append(promise)


def require_integers(what: str, index: Value) -> None:
    """Raise DTypeError unless `index` holds integers."""
    if index.element.kind != "i":
        raise DTypeError(
            f"{what}: the index must hold integers, got {index.node.type}",
            hint="convert it, e.g. index.long(), or select with torch.where",
        )


def gather(x: Value, dim: int, index: Value) -> Value:
    """`out[.., i, ..] = x[.., index[.., i, ..], ..]` along `dim`, the shape of `index`.

    As in torch, a 0-d value or index is one of a single element.

    Raises:
        ShapeError: where the ranks differ, or another axis of `index` is longer than that of `x`.
        DTypeError: for an index that is not integer.
    """
    require_integers("gather", index)
    if not (x.ndim and index.ndim) and max(x.ndim, index.ndim) <= 1:
        rows, places = (v if v.ndim else reshape(v, (1,)) for v in (x, index))
        found = gather(rows, dim, places)
        return found if index.ndim else reshape(found, ())
    axis = axis_of("gather", dim, x.ndim)
    if index.ndim != x.ndim:
        raise ShapeError(
            f"gather: the index must have the rank of the value, got {index.node.type}"
            f" for {x.node.type}",
            hint="add axes, e.g. index[:, None]",
        )
    for i, (s, t) in enumerate(zip(x.sizes, index.sizes, strict=True)):
        if i != axis and s != t:
            if isinstance(s, int) and isinstance(t, int) and t < s:
                x = x.apply("slice", axis=i, start=0, step=1, length=t)
            else:
                require_equal(
                    f"gather: the index {format_shape(index.sizes)} is longer than "
                    f"{format_shape(x.sizes)} on axis {i}",
                    s,
                    t,
                    x.graph.hints,
                    "shorten the index",
                )
    promise_range(index, 0, x.sizes[axis])
    boolean = x.element is dtypes.bool_
    x = cast(x, dtypes.uint8) if boolean else x
    if index.sizes[axis] == 1:
        flat = reshape(index, index.sizes[:axis] + index.sizes[axis + 1 :])
        out = unsqueeze(select(x, flat, axis), axis)
    else:
        spread = unsqueeze(move_axis(x, axis, -1), axis)
        mask = one_hot_mask(index, x.sizes[axis])
        out = reduce("sum", where(mask, spread, full_like(spread, 0)), -1)
    return cast(out, dtypes.bool_) if boolean else out
