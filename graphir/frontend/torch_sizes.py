"""Sizes that torch's functions take as they take torch.SymInt: `torch.zeros(x.shape[0], 3)`.

torch reads a size as a number wherever no tensor of another kind is among the arguments. Its mode
for functions sees the call first, and hands it to graphir's implementation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, TypeAlias

from ..symbolic import SymbolicSize
from ..value import Value

# What does a call: (a size among its arguments, function, args, keywords).
Dispatch: TypeAlias = Callable[[SymbolicSize, Any, Sequence[Any], Mapping[str, Any]], Any]


@cache
def _size_class(symint: type) -> type[SymbolicSize]:
    class TorchSize(SymbolicSize, symint):  # type: ignore[misc]
        """A size that torch's parser of arguments lets through."""

        @property
        def node(self) -> Any:
            """What torch asks for where it wants the number itself."""
            return self.__index__()

        def __bool__(self) -> bool:
            return bool(self.__index__())

    return TorchSize


def size_type() -> type[SymbolicSize]:
    """The class of the sizes of a trace of torch functions."""
    torch = sys.modules.get("torch")
    return SymbolicSize if torch is None else _size_class(torch.SymInt)


def sizes_seen(dispatch: Dispatch) -> AbstractContextManager[Any]:
    """While it lasts, calls of torch functions with sizes but no traced values go to `dispatch`."""
    torch = sys.modules.get("torch")
    if torch is None:
        return nullcontext()
    made: AbstractContextManager[Any] = _mode_class(torch.overrides.TorchFunctionMode)(dispatch)
    return made


@cache
def _mode_class(base: type) -> type:
    class Sizes(base):  # type: ignore[misc]
        def __init__(self, dispatch: Dispatch) -> None:
            super().__init__()
            self.dispatch = dispatch

        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            keywords = kwargs or {}
            items = (*args, *keywords.values())
            size = _first(SymbolicSize, items)
            if size is None or _first(Value, items) is not None:
                return function(*args, **keywords)
            return self.dispatch(size, function, args, keywords)

    return Sizes


def _first(kind: type, items: Sequence[Any]) -> Any:
    for x in items:
        if isinstance(x, kind):
            return x
        found = _first(kind, x) if isinstance(x, (tuple, list)) else None
        if found is not None:
            return found
    return None
