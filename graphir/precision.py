"""Composites of the half types: computed in float32, and rounded once.

What torch computes by one kernel it computes so; and the sum behind a mean, a norm or a softmax
leaves what float16 holds (65,504) long before its result does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

from . import dtypes
from .dtypes import DType
from .value import Value, cast, result_dtype

P = ParamSpec("P")


def rounded_once(composite: Callable[P, Value]) -> Callable[P, Value]:
    """`composite` with operands of float16 or bfloat16 as float32, and its result in their type.

    Operands that promote to another type, or are none of these, it sees as they are.
    """

    @functools.wraps(composite)
    def wide(*args: P.args, **kwargs: P.kwargs) -> Value:
        narrow = _half_type([*args, *kwargs.values()])
        if narrow is None:
            return composite(*args, **kwargs)
        widened = {name: _widened(x) for name, x in kwargs.items()}
        compute: Callable[..., Any] = composite
        made = compute(*map(_widened, args), **widened)
        return cast(made, narrow) if made.element is dtypes.float32 else made

    return wide


def _half_type(operands: list[Any]) -> DType | None:
    """The half type that the floating operands promote to, if it is one."""
    floats = [x for x in operands if isinstance(x, Value) and x.element.is_float]
    if all(x.weak for x in floats):
        return None
    found = result_dtype(*floats)
    return found if found.itemsize == 2 else None


def _widened(x: Any) -> Any:
    halves = isinstance(x, Value) and x.element.is_float and x.element.itemsize == 2
    return cast(x, dtypes.float32) if halves else x
