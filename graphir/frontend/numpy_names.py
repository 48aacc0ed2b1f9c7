"""The NumPy front end: functions, ufuncs and ndarray methods, by name. Promotion is torch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import composites as c
from .. import dtypes, indexing, layout, products, selection
from ..dtypes import DType
from ..errors import GraphirError, TraceError, UnsupportedError
from ..ops.elementwise import full_like
from ..value import Value, binary, cast, normalise_axes, power, reduce
from .names import Implementation, bitwise, call, from_operations, spread, unknown


def user_dtype(x: Value) -> Any:
    """The NumPy dtype of a traced value."""
    return x.element.numpy


def _power(input: Any, other: Any) -> Any:
    return power(input, other) if isinstance(input, Value) else binary("pow", input, other)


def _mean(x: Any, dim: Any = None, dtype: DType | None = None, keepdim: bool = False) -> Any:
    # NumPy takes the mean of integers in float64, where torch refuses.
    wide = dtype or (None if x.element.is_float else dtypes.float64)
    return c.mean(x, dim, keepdim, wide)


def _sum(x: Any, dim: Any = None, dtype: DType | None = None, keepdim: bool = False) -> Any:
    return c.sum(x, dim, keepdim, dtype)


def _var(x: Any, dim: Any = None, correction: float = 0, keepdim: bool = False) -> Any:
    return c.var(x, dim, correction, keepdim)


def _std(x: Any, dim: Any = None, correction: float = 0, keepdim: bool = False) -> Any:
    return c.std(x, dim, correction, keepdim)


def _amax(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return reduce("amax", x, dim, keepdim)


def _amin(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return reduce("amin", x, dim, keepdim)


def _norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    vector = len(normalise_axes("norm", dim, x.ndim)) == 1
    if ord is not None and not (ord == "fro" and not vector) and not (ord == 2 and vector):
        raise c.unsupported_option(
            "np.linalg.norm", f"the order {ord!r}", "use the 2-norm, or np.abs and np.sum"
        )
    return c.norm(x, dim, keepdim)


def _where(condition: Any, *choices: Any) -> Any:
    if len(choices) != 2:
        raise UnsupportedError(
            "np.where",
            "np.where(condition) alone gives positions, whose number depends on the data",
            hint="np.where(condition, a, b)",
        )
    return c.where(condition, *choices)


def _transpose(x: Any, dim: Any = None) -> Any:
    return layout.reverse_axes(x) if dim is None else layout.permute(x, dim)


def _transpose_method(x: Any, *dim: Any) -> Any:
    if not dim or dim == (None,):
        return layout.reverse_axes(x)
    return spread(layout.permute)(x, *dim)


def _squeeze(x: Any, dim: Any = None) -> Any:
    return layout.squeeze(x, dim, strict=True)


def _expand_dims(x: Any, dim: Any) -> Any:
    return layout.unsqueeze_many(x, dim)


def _ravel(x: Any) -> Any:
    return layout.flatten(x)


def _take(x: Any, index: Any, dim: int | None = None) -> Any:
    return indexing.rows(layout.flatten(x) if dim is None else x, index, dim or 0)


def _take_along_axis(x: Any, index: Any, dim: int = -1) -> Any:
    size = x.sizes[layout.axis_of("take_along_axis", dim, x.ndim)]
    return selection.gather(x, dim, indexing.wrapped(index, size))


def _outer(input: Any, vec2: Any) -> Any:
    return products.outer(layout.flatten(input), layout.flatten(vec2))


def _full_like(x: Any, fill_value: Any, dtype: DType | None = None) -> Any:
    return full_like(cast(x, dtype) if dtype else x, fill_value)


def _zeros_like(x: Any, dtype: DType | None = None) -> Any:
    return _full_like(x, 0, dtype)


def _ones_like(x: Any, dtype: DType | None = None) -> Any:
    return _full_like(x, 1, dtype)


def _astype(x: Any, dtype: Any) -> Any:
    return cast(x, dtypes.dtype_of(dtype))


TABLE: Mapping[str, Implementation] = {
    **from_operations(lambda op: op.numpy),
    "power": _power, "float_power": _power, "square": c.square, "reciprocal": c.reciprocal,
    "positive": lambda x: x, "logical_not": c.logical_not, "logaddexp": c.logaddexp,
    "bitwise_and": bitwise("logical_and", "&"), "bitwise_or": bitwise("logical_or", "|"),
    "invert": lambda x: x.apply("logical_not"), "bitwise_not": lambda x: x.apply("logical_not"),
    "where": _where, "any": c.any, "all": c.all, "concatenate": layout.concatenate,
    "concat": layout.concatenate, "stack": layout.stack, "clip": c.clamp,
    "sum": _sum, "mean": _mean, "average": _mean, "var": _var,
    "std": _std, "max": _amax, "amax": _amax, "min": _amin, "amin": _amin, "norm": _norm,
    "matmul": products.matmul, "dot": products.tensor_dot, "vdot": products.tensor_dot,
    "outer": _outer, "einsum": products.einsum,
    "transpose": _transpose, "swapaxes": layout.swap_axes, "moveaxis": layout.move_axis,
    "permute_dims": _transpose, "matrix_transpose": layout.matrix_transpose,
    "reshape": layout.reshape, "ravel": _ravel, "squeeze": _squeeze, "expand_dims": _expand_dims,
    "broadcast_to": layout.broadcast_to, "take": _take, "take_along_axis": _take_along_axis,
    "zeros_like": _zeros_like, "ones_like": _ones_like, "full_like": _full_like,
    "shape": lambda x: x.shape, "ndim": lambda x: x.ndim, "size": layout.element_count,
    "copy": lambda x: x,
}  # fmt: skip

METHODS: Mapping[str, Implementation] = {
    "reshape": spread(layout.reshape), "transpose": _transpose_method, "flatten": _ravel,
    "astype": _astype, **{
        name: TABLE[name] for name in (
            "clip", "sum", "mean", "var", "std", "max", "min", "dot", "swapaxes", "ravel",
            "squeeze", "take", "copy", "any", "all",
        )
    },
}  # fmt: skip

PROPERTIES: Mapping[str, Implementation] = {
    "T": layout.reverse_axes, "mT": layout.matrix_transpose, "dtype": user_dtype,
    "size": layout.element_count, "itemsize": lambda x: x.element.itemsize,
}  # fmt: skip


def call_function(function: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """What `function`, a NumPy function or ufunc, means on traced values.

    Raises:
        UnsupportedError: for a function or an option that graphir does not know.
    """
    short = str(function.__name__)
    module = str(getattr(function, "__module__", None) or "numpy")
    prefix = module.replace("numpy", "np", 1) + "."
    plain = prefix == "np." or (prefix, short) == ("np.linalg.", "norm")
    if not plain or short not in TABLE:
        raise unknown(prefix + short, short, [k for k in TABLE if hasattr(np, k)], "np.")
    return call(prefix + short, TABLE[short], args, keywords)


def call_ufunc(ufunc: np.ufunc, way: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """What calling `ufunc` means on traced values.

    Raises:
        UnsupportedError: for its methods (`np.add.reduce`), for `out=`, and unknown ufuncs.
    """
    if way != "__call__":
        name = f"np.{ufunc.__name__}.{way}"
        raise UnsupportedError(
            name, f"{name} is not supported", hint="use the function, e.g. np.sum for np.add.reduce"
        )
    if keywords.get("out") is not None:
        name = f"np.{ufunc.__name__}"
        raise UnsupportedError(
            name,
            f"{name}: writing a traced value into an array (out=, +=) is not supported",
            hint="make a new value: total = total + x",
        )
    return call_function(ufunc, args, keywords)


def method(name: str) -> Implementation | None:
    """The implementation of an ndarray method, or None."""
    return METHODS.get(name)


def refusal(name: str) -> GraphirError | None:
    """The error for ndarray methods that leave the trace; None for others."""
    if name in ("item", "tolist", "tobytes"):
        return TraceError(
            f"ndarray.{name}() needs the number behind a traced value, which is known only when "
            "the kernel runs",
            hint="return the value and call it on the result, or keep computing with it",
        )
    return None
