"""Triton's interpreter, completed where it falls short of the compiler: libdevice, bfloat16, the
names of precisions, comparisons that are spread, scalars that bound a `range`.

`interpret_worker` loads this file in its process, where nothing of graphir is imported.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def complete(tl: Any, interpreter: Any, libdevice: Any) -> None:
    """Complete `triton.language`, `triton.runtime.interpreter` and libdevice, for this process."""
    for name, function in libdevice_functions().items():
        setattr(libdevice, name, _elementwise(tl, interpreter, function))
    _complete_dot(tl, interpreter)
    _complete_index(interpreter)
    _complete_splat(interpreter)
    _complete_bfloat16(tl, interpreter)


def _each(function: Callable[[float], float]) -> Callable[..., NDArray[Any]]:
    """A function of Python floats, applied to each element in double precision."""
    return np.vectorize(function, otypes=[np.float64])


def _lgamma(x: float) -> float:
    if x <= 0 and x == math.floor(x):
        return math.inf
    return math.lgamma(x)


def _round(x: NDArray[Any]) -> NDArray[Any]:
    """Round halves away from zero, as C does."""
    whole: NDArray[Any] = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x), whole)


def libdevice_functions() -> dict[str, Callable[..., NDArray[Any]]]:
    """NumPy's (or Python's) equivalents of the libdevice functions that kernels use."""
    same = "exp exp2 log log2 log10 log1p expm1 sqrt sin cos tan sinh cosh tanh floor ceil trunc"
    same += " rint cbrt abs isnan isinf signbit hypot copysign fmod nextafter"
    functions: dict[str, Callable[..., NDArray[Any]]] = {
        name: getattr(np, name) for name in same.split()
    }
    inverse = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}
    inverse |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}
    functions |= {name: getattr(np, theirs) for name, theirs in inverse.items()}
    return functions | {
        "pow": np.power,
        "rsqrt": lambda x: 1 / np.sqrt(x),
        "nearbyint": np.rint,
        "round": _round,
        "finitef": np.isfinite,
        "isfinited": np.isfinite,
        "erf": _each(math.erf),
        "erfc": _each(math.erfc),
        "lgamma": _each(_lgamma),
    }


def _elementwise(
    tl: Any, interpreter: Any, function: Callable[..., NDArray[Any]]
) -> Callable[..., Any]:
    """A libdevice function on the interpreter's tensors, which are NumPy arrays inside."""
    core = tl.core
    semantic = interpreter.interpreter_semantic

    def call(*operands: Any, **_: Any) -> Any:
        tensors = [semantic.to_tensor(operand) for operand in operands]
        if len(tensors) == 2:
            tensors = core.binary_op_type_legalization(*tensors, semantic)
        scalar = tensors[0].type.scalar
        data = np.asarray(function(*(tensor.handle.data for tensor in tensors)))
        scalar, dtype = (core.int1, bool) if data.dtype == bool else (scalar, None)
        data = data.astype(dtype or tensors[0].handle.data.dtype)
        kind = tensors[0].type
        kind = core.block_type(scalar, list(data.shape)) if kind.is_block() else scalar
        return core.tensor(interpreter.TensorHandle(data, scalar), kind)

    return call


def _complete_dot(tl: Any, interpreter: Any) -> None:
    """Take bfloat16 operands as the numbers they stand for, and every precision's name."""
    builder = interpreter.interpreter_builder
    names = ("ieee", "tf32", "tf32x3", "bf16x3", "bf16x6")
    builder.options = dataclasses.replace(builder.options, allowed_dot_input_precisions=names)
    dot = builder.create_dot

    def widened(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = handle.data.astype(np.uint32) << 16
        return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

    def create_dot(a: Any, b: Any, *others: Any) -> Any:
        return dot(widened(a), widened(b), *others)

    builder.create_dot = create_dot


def _complete_index(interpreter: Any) -> None:
    """Let a scalar bound a `range`: Triton 3.6 asks NumPy for what its 2.4 refuses."""
    patch = interpreter._patch_lang_tensor

    def patched(tensor: Any, *scope: Any) -> None:
        patch(tensor, *scope)
        tensor.__index__ = lambda self: int(self.handle.data.item())

    interpreter._patch_lang_tensor = patched


def _complete_splat(interpreter: Any) -> None:
    """Let a comparison of scalars be spread: the interpreter gives it its operands' type."""

    def create_splat(kind: Any, handle: Any) -> Any:
        data = np.full(kind.shape, handle.data.reshape(-1)[0], handle.data.dtype)
        return interpreter.TensorHandle(data, handle.dtype.scalar)

    interpreter.interpreter_builder.create_splat = create_splat


def _complete_bfloat16(tl: Any, interpreter: Any) -> None:
    """Round to the nearest bfloat16, halves to even, where the interpreter cuts bits off."""
    builder = interpreter.interpreter_builder
    cast = builder.cast_impl

    def cast_impl(source: Any, kind: Any) -> Any:
        before, after = source.dtype.scalar, kind.scalar
        if before == after or tl.bfloat16 not in (before, after):
            return cast(source, kind)
        if before == tl.bfloat16:
            wide = (source.data.astype(np.uint32) << 16).view(np.float32)
            wider = interpreter.TensorHandle(wide, tl.float32)
            return wider if after == tl.float32 else cast(wider, kind)
        single = np.asarray(source.data, np.float32)
        bits = single.view(np.uint32)
        near = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
        near = np.where(np.isnan(single), np.uint16(0x7FC0), near)
        return interpreter.TensorHandle(near, after)

    def get_bf16(value: float) -> Any:
        single = np.array([value], dtype=np.float32)
        return cast_impl(interpreter.TensorHandle(single, tl.float32), tl.bfloat16)

    builder.cast_impl = cast_impl
    builder.get_bf16 = get_bf16
