"""Sizes that a trace does not know: what the user's code sees in a traced value's shape, and what
happens where such a size meets a number. Either it stays symbolic, or `NeedsNumber` restarts the
trace with the number in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import ShapeError, user_location
from .graph import Graph
from .sizes import Dim, Shape, Size, evaluate, format_shape

if TYPE_CHECKING:
    from .value import Value


class NeedsNumber(Exception):
    """A trace met code that needs the number behind `names`: it restarts with them as ints."""

    def __init__(self, names: frozenset[str], reason: str) -> None:
        self.names = names
        self.reason = reason
        self.location = user_location()
        super().__init__(f"{', '.join(sorted(names))}: {reason}")


class SymbolicSize:
    """An entry of a traced value's `shape` that is not known before the kernel runs.

    Sums and products with ints stay symbolic; arithmetic with anything else gives a traced
    value; `int()`, `range()` and comparisons with numbers restart the trace specialised.
    """

    def __init__(self, graph: Graph, size: Dim, make: type[Value]) -> None:
        self.graph, self.size, self._make = graph, size, make

    def __index__(self) -> int:
        need = NeedsNumber(self.size.names, "the code uses the number itself")
        self._make.number_needed(need)
        raise need

    __int__ = __index__
    __float__ = __index__

    def value(self) -> Value:
        """The size as a traced int64 scalar."""
        return self._make(self.graph, self.graph.add("size", size=self.size), weak=True)

    def __array_ufunc__(self, ufunc: Any, way: str, *args: Any, **keywords: Any) -> Any:
        values = (x.value() if isinstance(x, SymbolicSize) else x for x in args)
        return getattr(ufunc, way)(*values, **keywords)

    def _binary(self, other: Any, op: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, SymbolicSize):
            result = op(self.size, other.size)
        elif isinstance(other, int):
            result = op(self.size, other)
        else:
            return op(self.value(), other)
        return type(self)(self.graph, result, self._make) if isinstance(result, Dim) else result

    def __add__(self, other: Any) -> Any:
        return self._binary(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._binary(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._binary(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._binary(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        return self.value() / (other.value() if isinstance(other, SymbolicSize) else other)

    def __rtruediv__(self, other: Any) -> Any:
        return other / self.value()

    def __pow__(self, other: Any) -> Any:
        return self.value() ** other

    def __neg__(self) -> Any:
        return self * -1

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SymbolicSize):
            return self.size == other.size
        raise NeedsNumber(self.size.names, "the code compares the size with a number")

    def __lt__(self, other: Any) -> bool:
        raise NeedsNumber(self.size.names, "the code compares the size with a number")

    __le__ = __gt__ = __ge__ = __lt__

    def _division(self, other: Any) -> Any:
        raise NeedsNumber(self.size.names, "the code divides the size by a number")

    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __divmod__ = _division

    def __hash__(self) -> int:
        return hash(self.size)

    def __repr__(self) -> str:
        return repr(self.size)


def unwrap_size(size: Any) -> Size:
    """An int or Dim from what a user passes as a size."""
    if isinstance(size, SymbolicSize):
        return size.size
    return size if isinstance(size, Dim) else int(size)


def broadcast_shapes(what: str, a: Shape, b: Shape, hints: dict[str, int]) -> Shape:
    """The shape that both broadcast to, aligned at the right; only a literal 1 stretches.

    Raises:
        ShapeError: naming both shapes.
        NeedsNumber: where the sizes agree in the first call but a Dim meets a number.
    """
    rank = max(len(a), len(b))
    left: Shape = (1,) * (rank - len(a)) + tuple(a)
    right: Shape = (1,) * (rank - len(b)) + tuple(b)
    out: list[Size] = []
    for s, t in zip(left, right, strict=True):
        if s == t or t == 1:
            out.append(s)
        elif s == 1:
            out.append(t)
        else:
            require_equal(
                f"{what}: shapes {format_shape(a)} and {format_shape(b)} do not broadcast",
                s,
                t,
                hints,
                "line the axes up from the right, with x[:, None] where one is missing",
            )
    return tuple(out)


def require_equal(message: str, a: Size, b: Size, hints: dict[str, int], hint: str) -> None:
    """Raise unless two sizes are the same; restart specialised where they only happen to be."""
    if a == b:
        return
    names = frozenset(n for s in (a, b) if isinstance(s, Dim) for n in s.names)
    left, right = evaluate(a, hints), evaluate(b, hints)
    if names and (left == right or 1 in (left, right)):
        raise NeedsNumber(names, f"sizes {a} and {b} meet")
    raise ShapeError(message, hint=hint)
