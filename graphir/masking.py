"""`x[mask]`: elements of which only the kernel knows how many there are.

They are computed with where they lie, one by one, and written where the same mask holds:
`x[mask] += 1`, `x[mask] = -x[mask]`, `x[mask] = torch.exp(y[mask])`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

from .composites import where
from .errors import Location, UnsupportedError, user_location
from .frontend import numpy_names, torch_names
from .in_place import prepared
from .scatter import held_along, spread_over
from .value import Deferred, Value, binary

_ELEMENTWISE = {
    "torch": frozenset(torch_names.SECTIONS["elementwise"]),
    "numpy": frozenset(numpy_names.SECTIONS["elementwise"]),
}
_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


class Masked(Deferred):
    """The elements of `view` where `mask`, which has its axes from `axis` on, holds.

    Attributes:
        full: them where they lie, and elsewhere what no elementwise function has a pole at, so
            that no NaN reaches a derivative.
        mask, axis: where they lie.
        location: the user's line that selected them.
    """

    def __init__(self, view: Value, mask: Value, axis: int) -> None:
        held = held_along(view, mask, axis)
        full = where(held, view, view.scalar(1, view.element))
        self._fill(full, mask, axis, user_location())

    def _fill(self, full: Value, mask: Value, axis: int, location: Location | None) -> None:
        self.full, self.mask, self.axis, self.location = full, mask, axis, location

    def _like(self, full: Value) -> Masked:
        made = object.__new__(Masked)
        made._fill(full, self.mask, self.axis, self.location)
        return made

    def matches(self, view: Value, mask: Value, axis: int) -> bool:
        """Whether these are elements for the same places of `view`."""
        same = self.mask.node is mask.node and self.axis == axis
        return same and self.full.sizes == view.sizes

    def refused(self, what: str = "") -> UnsupportedError:
        """The error for a use that needs the elements side by side."""
        return UnsupportedError(
            "boolean mask",
            f"a boolean mask ({self.mask.node.type}) as an index gives a result whose size depends "
            f"on the data, which {what + ' does not take' if what else 'is not supported here'}",
            hint="keep the shape and select with torch.where(mask, x, 0.0) or np.where",
            location=self.location,
        )

    def another(self) -> UnsupportedError:
        """The error for elements that meet those of another mask."""
        return UnsupportedError(
            "boolean mask",
            "elements that one boolean mask selects meet those of another mask",
            hint="give the mask a name and use it for both, or select with torch.where(mask, x, y)",
        )

    def of(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> Masked:
        """An elementwise function of these elements, of others of the same mask, and of numbers.

        Raises:
            UnsupportedError: for elements that another mask selects.
        """
        result = function(*(self._operand(x) for x in args), **keywords)
        if not isinstance(result, Value) or result.sizes != self.full.sizes:
            raise self.refused()
        return self._like(result)

    def _operand(self, x: Any) -> Any:
        if isinstance(x, Masked):
            if not x.matches(self.full, self.mask, self.axis):
                raise self.another()
            return x.full
        if isinstance(x, (bool, int, float)) or not hasattr(x, "ndim"):
            return x
        value = self.full.lift(x)
        return spread_over(self.full, self.mask, value, self.axis) if value.ndim else value

    def _written(self, symbol: str, function: Callable[..., Any], other: Any) -> Masked:
        return self._like(prepared(symbol, self.full, self.of(function, self, other).full))

    def binary(self, op: str, a: Any, b: Any) -> Any:
        """The primitive `op`."""
        return self.of(partial(binary, op), a, b)

    # -- protocols ------------------------------------------------------------------------------

    @classmethod
    def __torch_function__(
        cls,
        function: Any,
        types: Any,
        args: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        return _call("torch", function, args, keywords or {})

    def __array_function__(
        self, function: Any, types: Any, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        return _call("numpy", function, args, keywords)

    def __array_ufunc__(self, ufunc: Any, way: str, *args: Any, **keywords: Any) -> Any:
        if way != "__call__":
            raise self.refused(f"np.{ufunc.__name__}.{way}")
        return _call("numpy", ufunc, args, keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in ("dtype", "device"):
            return getattr(self.full, name)
        if name not in _ELEMENTWISE[getattr(self.full, "flavour", "numpy")]:
            raise self.refused(name)
        return partial(self.of, lambda x, *args, **more: getattr(x, name)(*args, **more), self)

    def _refuse(self, *args: Any) -> NoReturn:
        raise self.refused()

    __len__ = __iter__ = __bool__ = __float__ = __int__ = __index__ = _refuse
    __getitem__ = __setitem__ = __matmul__ = __rmatmul__ = __array__ = _refuse
    __hash__ = object.__hash__

    def __neg__(self) -> Masked:
        return self.of(operator.neg, self)

    def __abs__(self) -> Masked:
        return self.of(abs, self)

    def __invert__(self) -> Masked:
        return self.of(operator.invert, self)


def _call(front: str, function: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    found = _masked_in((*args, *keywords.values()))
    name = str(getattr(function, "__name__", function))
    if name not in _ELEMENTWISE[front] or "out" in keywords or not _masked_in(args, deep=False):
        raise found[0].refused(name)
    return found[0].of(function, *args, **keywords)


def _masked_in(items: Sequence[Any], *, deep: bool = True) -> list[Masked]:
    found = []
    for x in items:
        if isinstance(x, Masked):
            found.append(x)
        elif deep and isinstance(x, (list, tuple)):
            found += _masked_in(x)
    return found


def _define() -> None:
    for name in (*_OPERATORS, *_COMPARISONS):
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)

        def forward(self: Masked, other: Any, function: Any = function) -> Masked:
            return self.of(function, self, other)

        def reflected(self: Masked, other: Any, function: Any = function) -> Masked:
            return self.of(function, other, self)

        setattr(Masked, f"__{name}__", forward)
        if name in _OPERATORS:
            symbol = f"{name}="

            def written(
                self: Masked, other: Any, function: Any = function, symbol: str = symbol
            ) -> Masked:
                return self._written(f"x[mask] {symbol}", function, other)

            setattr(Masked, f"__r{name}__", reflected)
            setattr(Masked, f"__i{name}__", written)


_define()
