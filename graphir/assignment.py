"""Item assignment, `x[index] = new`, on traced values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedError
from .in_place import stretched
from .indexing import Selected, expand, is_mask, select
from .layout import permute, reshape
from .masking import Masked
from .scatter import held_along, put_rows, spread_over
from .sizes import numel
from .value import Value, cast

if TYPE_CHECKING:
    from .tracer import Tracer


def put(
    x: Tracer, index: tuple[Any, ...], new: Value | Masked, *, accumulate: bool = False
) -> None:
    """`x[index] = new`, or `x[index] += new` with every repetition of an index counted.

    Of several writes to one element the last one counts.

    Raises:
        ShapeError, DTypeError: where it does not fit.
        UnsupportedError: for what is no index, and where its size would depend on the data.
    """
    items = tuple(expand(x, index))
    if any(map(is_mask, items)):
        _put_masked(x, items, new, accumulate)
        return
    new = x.lift(new)
    selected = select(x, items, ints_first=x.flavour == "torch")
    if isinstance(selected, Selected):
        _put_rows(selected, new, accumulate)
    else:
        _put_view(x, selected, new, accumulate)


def _put_view(x: Tracer, view: Any, new: Value, accumulate: bool) -> None:
    # `x[0] += 1` writes through its view first, and then puts the view into its own place.
    if view.is_at(getattr(new, "place", None)):
        return
    added = view + new if accumulate else new
    view.write("x[index] =", added, converts=True, stretches=True)


def _put_rows(selected: Selected, new: Value, accumulate: bool) -> None:
    target: Any = selected.x
    rows, at = selected.flat(target), selected.index()
    rest = rows.sizes[1:]
    shape, order = (*at.sizes, *rest), selected.order(at.ndim)
    value = stretched("x[index] =", cast(new, target.element), tuple(shape[i] for i in order))
    value = permute(value, [order.index(i) for i in range(len(order))])
    flat = reshape(value, (numel(at.sizes), *rest))
    made = put_rows(rows, reshape(at, (numel(at.sizes),)), flat, accumulate=accumulate)
    target.write("x[index] =", selected.unflat(made))


def at_mask(x: Tracer, index: tuple[Any, ...]) -> Masked | None:
    """`x[index]` where a boolean mask is in the index; None where none is.

    Raises:
        ShapeError, UnsupportedError: as `put`.
    """
    items = tuple(expand(x, index))
    return Masked(*_under_mask(x, items)[:3]) if any(map(is_mask, items)) else None


def _under_mask(x: Tracer, items: Sequence[Any]) -> tuple[Any, Value, int, bool]:
    """What the items beside the mask select; the mask and from which axis on it is one of that;
    and whether all axes before it are whole or slices."""
    masks = [i for i, item in enumerate(items) if is_mask(item)]
    if len(masks) > 1 or any(isinstance(i, Value) and not is_mask(i) for i in items):
        raise UnsupportedError(
            "boolean mask",
            "a boolean mask beside another array in an index is not supported",
            hint="combine masks with &, and select with torch.where or np.where",
        )
    at = masks[0]
    mask: Value = items[at]
    view: Any = x[(*items[:at], *(slice(None),) * mask.ndim, *items[at + 1 :])]
    plain = all(item is None or isinstance(item, slice) for item in items if item is not mask)
    axis = sum(item is None or isinstance(item, slice) for item in items[:at])
    return view, mask, axis, plain


def _put_masked(x: Tracer, items: Sequence[Any], new: Value | Masked, accumulate: bool) -> None:
    view, mask, axis, plain = _under_mask(x, items)
    if isinstance(new, Masked):
        if not new.matches(view, mask, axis):
            raise new.another()
        full = new.full
    elif not new.ndim or plain:
        full = spread_over(view, mask, new, axis)
    else:
        raise UnsupportedError(
            "boolean mask",
            "an array written at a boolean mask beside whole numbers is not supported",
            hint="write to a view: x[0][mask] = y",
        )
    full = cast(view + full if accumulate else full, view.element)
    view.write("x[mask] =", held_along(view, mask, axis).apply("where", full, view))
