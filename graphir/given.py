"""Whether what a user gave is what a public function takes: if not, an error that says so at once,
rather than Python's from deep within."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from operator import index
from typing import Any

import numpy as np

from .errors import GraphirError


def require_function(what: str, fn: Any) -> None:
    """Raise unless `fn` can be called.

    Raises:
        GraphirError: naming `what`, the function that it was given to.
    """
    if not callable(fn):
        raise GraphirError(
            f"{what} takes a function, got {described(fn)}",
            hint="pass the function itself, e.g. loss, not its result loss(...)",
        )


def require_flag(what: str, name: str, value: Any) -> bool:
    """`value` as True or False.

    Raises:
        GraphirError: for anything else.
    """
    if isinstance(value, (bool, np.bool_)) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise GraphirError(f"{what}: {name} must be True or False, got {described(value)}")


def require_arguments(what: str, name: str, value: Any) -> tuple[Any, ...]:
    """`value` as a tuple of positional arguments.

    Raises:
        GraphirError: where it is no tuple or list: one array would be taken for its rows.
    """
    if isinstance(value, (tuple, list)):
        return tuple(value)
    raise GraphirError(
        f"{what}: {name} must be a tuple with one entry for each argument, got {described(value)}",
        hint="for one argument write (x,)",
    )


def require_whole(what: str, name: str, value: Any, least: int, example: int = 1) -> int:
    """`value` as a whole number of at least `least`; `example` is one.

    Raises:
        GraphirError: for anything else.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if whole and value >= least:
        return int(value)
    raise GraphirError(
        f"{what}: {name} must be a whole number of at least {least}, got {described(value)}",
        hint=f"pass e.g. {name}={example}",
    )


def is_number(value: Any) -> bool:
    """Whether it is a real number, and no truth value."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def require_size(what: str, name: str, value: Any) -> float:
    """`value` as a finite number of at least 0.

    Raises:
        GraphirError: for anything else.
    """
    if is_number(value) and 0 <= value < math.inf:
        return float(value)
    raise GraphirError(
        f"{what}: {name} must be a finite number of at least 0, got {described(value)}",
        hint=f"pass e.g. {name}=1e-4, or leave it out",
    )


def whole_numbers(value: Any) -> tuple[int, ...] | None:
    """One whole number, or several, as a tuple; None where `value` is neither."""
    try:
        return (index(value),) if hasattr(value, "__index__") else tuple(map(index, value))
    except TypeError:
        return None


def require_call(
    what: str, fn: Callable[..., Any], args: Sequence[Any], given: str, hint: str
) -> None:
    """Raise unless `fn` takes so many positional arguments, as far as that can be told.

    Args:
        given: what the arguments are, e.g. "(step, total steps)".

    Raises:
        GraphirError: with what it takes instead.
    """
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args)
    except TypeError as failure:
        name = getattr(fn, "__name__", type(fn).__name__)
        plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        signature = inspect.Signature(plain)
        message = f"{what} calls {name}{signature} with {given}: {failure}"
        raise GraphirError(message, hint=hint) from None


def described(value: Any) -> str:
    """A value in an error: numbers and names as they are, of others the type."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    kind, what = (value, "the class") if isinstance(value, type) else (type(value), "a")
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{what} {module}{kind.__qualname__}"
