"""The element types, and how they promote (torch's rules)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from .errors import DTypeError


@dataclass(frozen=True)
class DType:
    """An element type. `kind` is 'b' (bool), 'i' (integer) or 'f' (floating point)."""

    name: str
    short: str
    kind: str
    itemsize: int

    @property
    def numpy(self) -> np.dtype:
        """The NumPy dtype of the same bits; that of bfloat16 is ml_dtypes'."""
        return _numpy_dtype(self.name)

    @property
    def is_float(self) -> bool:
        """Whether derivatives exist for values of this type."""
        return self.kind == "f"

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


@cache
def _numpy_dtype(name: str) -> np.dtype:
    if name != "bfloat16":
        return np.dtype(name)
    import ml_dtypes

    found: np.dtype = np.dtype(ml_dtypes.bfloat16)
    return found


bool_ = DType("bool", "b1", "b", 1)
uint8 = DType("uint8", "u8", "i", 1)
int8 = DType("int8", "i8", "i", 1)
int16 = DType("int16", "i16", "i", 2)
int32 = DType("int32", "i32", "i", 4)
int64 = DType("int64", "i64", "i", 8)
float16 = DType("float16", "f16", "f", 2)
bfloat16 = DType("bfloat16", "bf16", "f", 2)
float32 = DType("float32", "f32", "f", 4)
float64 = DType("float64", "f64", "f", 8)

ALL = (bool_, uint8, int8, int16, int32, int64, float16, bfloat16, float32, float64)
# Neither holds the other's numbers.
_NEITHER = {frozenset((uint8, int8)): int16, frozenset((float16, bfloat16)): float32}
_BY_NAME = {d.name: d for d in ALL}
_KIND_ORDER = "bif"


def dtype_of(x: object) -> DType:
    """The DType of a NumPy or torch dtype, an array, a DType or a Python number's type.

    Raises:
        DTypeError: for an element type that graphir does not have.
    """
    if isinstance(x, DType):
        return x
    if x is bool:
        return bool_
    if x is int:
        return int64
    if x is float:
        return float64
    name = str(getattr(x, "dtype", x)).removeprefix("torch.")
    if name not in _BY_NAME:
        with suppress(TypeError):
            name = np.dtype(x).name  # type: ignore[call-overload]
    if name not in _BY_NAME:
        known = ", ".join(_BY_NAME)
        raise DTypeError(
            f"dtype {name} is not one that graphir has ({known})",
            hint="convert the array first, e.g. x.astype('float32') or x.float()",
        )
    return _BY_NAME[name]


def limits(dtype: DType) -> Any:
    """The floating type's `eps`, `max`, `min` and `smallest_normal`, as np.finfo gives them."""
    if dtype is not bfloat16:
        return np.finfo(dtype.numpy)
    import ml_dtypes

    finfo: Any = ml_dtypes.finfo
    return finfo(dtype.numpy)


def promote(a: DType, b: DType) -> DType:
    """The type that holds both: a higher kind wins, then the wider one (torch.promote_types)."""
    if a is b:
        return a
    ka, kb = _KIND_ORDER.index(a.kind), _KIND_ORDER.index(b.kind)
    if ka != kb:
        return a if ka > kb else b
    if frozenset((a, b)) in _NEITHER:
        return _NEITHER[frozenset((a, b))]
    return a if a.itemsize > b.itemsize else b


def promote_weak(strong: DType, weak: DType) -> DType:
    """The type of an array with a Python number: only a higher kind changes the array's type.

    An integer array with a Python float becomes float32, torch's default dtype.
    """
    if _KIND_ORDER.index(weak.kind) <= _KIND_ORDER.index(strong.kind):
        return strong
    return float32 if weak.is_float else int64
