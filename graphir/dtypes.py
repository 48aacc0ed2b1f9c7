"""The element types, and how they promote (torch's rules)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

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
        """The NumPy dtype of the same bits."""
        return np.dtype(self.name)

    @property
    def is_float(self) -> bool:
        """Whether derivatives exist for values of this type."""
        return self.kind == "f"

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


bool_ = DType("bool", "b1", "b", 1)
uint8 = DType("uint8", "u8", "i", 1)
int32 = DType("int32", "i32", "i", 4)
int64 = DType("int64", "i64", "i", 8)
float16 = DType("float16", "f16", "f", 2)
float32 = DType("float32", "f32", "f", 4)
float64 = DType("float64", "f64", "f", 8)

ALL = (bool_, uint8, int32, int64, float16, float32, float64)
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


def promote(a: DType, b: DType) -> DType:
    """The type that holds both: a higher kind wins, then the wider one (torch.promote_types)."""
    if a is b:
        return a
    ka, kb = _KIND_ORDER.index(a.kind), _KIND_ORDER.index(b.kind)
    if ka != kb:
        return a if ka > kb else b
    return a if a.itemsize > b.itemsize else b


def promote_weak(strong: DType, weak: DType, default_float: DType = float32) -> DType:
    """The type of an array with a Python number: only a higher kind changes the array's type.

    `default_float` is what an integer array with a Python float becomes (torch's default dtype).
    """
    if _KIND_ORDER.index(weak.kind) <= _KIND_ORDER.index(strong.kind):
        return strong
    return default_float if weak.is_float else int64
