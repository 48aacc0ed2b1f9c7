"""torch's functions that make tensors from sizes, where a size or a number is traced.

With sizes that are numbers, torch itself makes the tensor, which the trace captures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from ..dtypes import DType, bool_, dtype_of, float64, int64
from ..layout import broadcast_to, unsqueeze
from ..selection import iota
from ..sizes import Size
from ..symbolic import SymbolicSize, unwrap_size
from ..value import Value, binary, cast
from .names import Implementation, as_sizes


def anchor_in(items: Sequence[Any]) -> Value | None:
    """A value of the trace that `items`, or tuples and lists in them, belong to."""
    for x in items:
        if isinstance(x, SymbolicSize):
            return x.value()
        found = x if isinstance(x, Value) else None
        found = anchor_in(x) if found is None and isinstance(x, (tuple, list)) else found
        if found is not None:
            return found
    return None


def _anchor(*items: Any) -> Value:
    found = anchor_in(items)
    assert found is not None, "a traced size or value is among the arguments"
    return found


def _default() -> DType:
    """The type of torch's floating-point tensors."""
    return dtype_of(sys.modules["torch"].get_default_dtype())


def _usual(*numbers: Any) -> DType:
    """The type that torch gives to a tensor of these numbers."""
    kinds = {x.element.kind if isinstance(x, Value) else dtype_of(type(x)).kind
             for x in numbers if not isinstance(x, SymbolicSize)}  # fmt: skip
    if "f" in kinds:
        return _default()
    return bool_ if kinds == {"b"} else int64


def _filled(like: Value, size: Sequence[Any], value: Any, dtype: DType) -> Value:
    return broadcast_to(cast(like.lift(value), dtype), tuple(unwrap_size(s) for s in size))


def constant(value: int) -> Implementation:
    """torch.zeros, torch.ones and torch.empty."""

    def apply(*size: Any, dtype: DType | None = None, device: Any = None) -> Any:
        shape = as_sizes(size)
        return _filled(_anchor(shape), shape, value, dtype or _default())

    return apply


def full(size: Any, fill_value: Any, dtype: DType | None = None, device: Any = None) -> Any:
    """torch.full; of a traced number, differentiable in it."""
    like, shape = _anchor(size, fill_value), as_sizes((size,))
    strong = isinstance(fill_value, Value) and not fill_value.weak
    usual = fill_value.element if strong else _usual(fill_value)
    return _filled(like, shape, fill_value, dtype or usual)


def arange(
    start: Any, end: Any = None, step: Any = 1, dtype: DType | None = None, device: Any = None
) -> Any:
    """torch.arange, up to a size of the trace by steps of 1 or -1; other steps need the number."""
    start, end = (0, start) if end is None else (start, end)
    like, usual = _anchor(start, end, step), _usual(start, end, step)
    ends = [unwrap_size(x) if isinstance(x, (int, SymbolicSize)) else None for x in (start, end)]
    if ends[0] is None or ends[1] is None or step not in (1, -1):
        # Raises what has the trace run again with numbers.
        next(x for x in (start, end, step) if isinstance(x, SymbolicSize)).__index__()
    count: Size = (ends[1] - ends[0]) * step  # type: ignore[operator]
    count = max(count, 0) if isinstance(count, int) else count
    places = iota(like, count) * step
    return cast(binary("add", places, like.lift(start)), dtype or usual)


def eye(n: Any, m: Any = None, dtype: DType | None = None, device: Any = None) -> Any:
    """torch.eye."""
    like = _anchor(n, m)
    rows, columns = (iota(like, unwrap_size(x)) for x in (n, n if m is None else m))
    return cast(binary("eq", unsqueeze(rows, 1), columns), dtype or _default())


def linspace(
    start: Any, end: Any, steps: Any, dtype: DType | None = None, device: Any = None
) -> Any:
    """torch.linspace, of numbers or traced ones; from both ends to the middle, as torch does."""
    like, wanted = _anchor(steps, start, end), dtype or _default()
    wide = float64 if wanted is float64 else wanted
    count = unwrap_size(steps)
    place = cast(iota(like, count), wide)
    last = cast(like.lift(steps - 1), wide)
    first, final = (cast(like.lift(x), wide) for x in (start, end))
    step = (final - first) / binary("maximum", last, 1.0)
    lower = first + step * place
    upper = final - step * (last - place)
    return binary("le", place * 2.0, last).apply("where", lower, upper)


def tensor(data: Any, dtype: DType | None = None, device: Any = None) -> Any:
    """torch.tensor of a size."""
    return cast(_anchor(data).lift(data), dtype or _usual(data))
