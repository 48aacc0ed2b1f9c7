"""The NumPy front end: functions, ufuncs and ndarray methods, by name. Promotion is torch's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import activations as a
from .. import composites as c
from .. import einsum, layout, matrices, products, statistics
from .. import rearrange as m
from .. import reductions as r
from ..errors import GraphirError, TraceError, UnsupportedError
from ..value import Value
from . import numpy_functions as f
from .names import BITWISE, Implementation, call, from_operations, sharing, spread, unknown
from .torch_functions import column_stack, stacked


def user_dtype(x: Value) -> Any:
    """The NumPy dtype of a traced value."""
    return x.element.numpy


# By theme, as the page of what is supported shows them.
SECTIONS: Mapping[str, Mapping[str, Implementation]] = {
    "elementwise": {
        **from_operations(lambda op: op.numpy),
        "power": f.pow, "pow": f.pow, "float_power": c.float_power, "square": c.square,
        "sign": f.sign, "fmax": statistics.fmax, "fmin": statistics.fmin,
        "reciprocal": c.reciprocal, "positive": lambda x: x, "floor_divide": a.floor_divide,
        "remainder": a.remainder, "mod": a.remainder, "floor": a.floor, "ceil": a.ceil,
        "trunc": a.trunc, "fix": a.trunc, "rint": a.round, "round": f.round, "around": f.round,
        "clip": c.clamp, "logaddexp": c.logaddexp, "deg2rad": a.deg2rad, "radians": a.deg2rad,
        "rad2deg": a.rad2deg, "degrees": a.rad2deg, "nan_to_num": a.nan_to_num,
        "heaviside": f.heaviside, "where": f.where, "isnan": a.isnan, "isinf": a.isinf,
        "isfinite": a.isfinite, "logical_not": c.logical_not, "logical_xor": a.logical_xor,
        **BITWISE, "invert": BITWISE["bitwise_not"], "left_shift": BITWISE["bitwise_left_shift"],
        "right_shift": BITWISE["bitwise_right_shift"],
    },
    "reductions": {
        "sum": f.sum, "mean": f.mean, "average": f.average, "prod": f.prod, "var": f.var,
        "std": f.std, "max": f.amax, "amax": f.amax, "min": f.amin, "amin": f.amin, "ptp": f.ptp,
        "argmax": r.argmax, "argmin": r.argmin, "any": c.any, "all": c.all,
        "count_nonzero": r.count_nonzero, "cumsum": f.cumsum, "cumprod": f.cumprod, "norm": f.norm,
        "vector_norm": f.vector_norm, "matrix_norm": f.matrix_norm,
        "nansum": f.nansum, "nanmean": f.nanmean, "cov": statistics.numpy_cov,
        "corrcoef": statistics.numpy_corrcoef,
    },
    "products": {
        "matmul": products.matmul, "dot": products.tensor_dot, "vdot": f.vdot,
        "inner": einsum.inner, "outer": f.outer, "einsum": einsum.einsum, "tensordot": f.tensordot,
        "trace": matrices.trace, "diagonal": matrices.diagonal, "diag": f.diag, "tril": f.tril,
        "triu": f.triu,
    },
    "movement": {
        "transpose": f.transpose, "swapaxes": layout.swap_axes, "moveaxis": f.moveaxis,
        "permute_dims": f.transpose, "matrix_transpose": layout.matrix_transpose,
        "reshape": layout.reshape, "ravel": f.ravel, "squeeze": f.squeeze,
        "expand_dims": f.expand_dims, "broadcast_to": layout.broadcast_to,
        "concatenate": layout.concatenate, "concat": layout.concatenate, "stack": layout.stack,
        "hstack": stacked(1, 1), "vstack": stacked(0, 2), "dstack": stacked(2, 3),
        "column_stack": column_stack, "split": m.equal_split, "array_split": m.tensor_split,
        "flip": f.flip, "fliplr": m.fliplr, "flipud": m.flipud, "roll": f.roll, "tile": m.tile,
        "repeat": f.repeat, "pad": f.pad, "diff": m.diff,
    },
    "selection and creation": {
        "take": f.take, "take_along_axis": f.take_along_axis, "zeros_like": f.zeros_like,
        "ones_like": f.ones_like, "full_like": f.filled_like, "empty_like": f.zeros_like,
        "shape": lambda x: x.shape, "ndim": lambda x: x.ndim, "size": layout.element_count,
        "copy": lambda x: x, "copyto": f.copyto, "fill_diagonal": f.fill_diagonal,
        "put_along_axis": f.put_along_axis, "putmask": f.putmask,
    },
}  # fmt: skip
# Whose results lie in the memory of their operand.
_VIEWS = frozenset((
    "transpose", "swapaxes", "moveaxis", "permute_dims", "matrix_transpose", "squeeze",
    "expand_dims", "broadcast_to", "split", "array_split", "flip", "fliplr", "flipud",
    "diagonal", "diag",
))  # fmt: skip
_RESHAPES = frozenset(("reshape",))
_PERHAPS = frozenset(("ravel", "einsum"))
TABLE: Mapping[str, Implementation] = sharing(
    {k: v for part in SECTIONS.values() for k, v in part.items()}, _VIEWS, _RESHAPES, _PERHAPS
)
# What np.linalg has of them.
LINALG = (
    "norm", "vector_norm", "matrix_norm", "matmul", "outer", "tensordot", "trace", "diagonal",
    "matrix_transpose",
)  # fmt: skip

METHODS: Mapping[str, Implementation] = {
    **sharing(
        {
            "reshape": spread(layout.reshape), "transpose": f.transpose_method,
            "flatten": f.ravel, "astype": f.astype, "fill": f.fill,
        },
        ("transpose", "fill"), ("reshape",),
    ),
    **{
        name: TABLE[name] for name in (
            "clip", "sum", "mean", "var", "std", "max", "min", "dot", "swapaxes", "ravel",
            "squeeze", "take", "copy", "any", "all", "prod", "argmax", "argmin", "cumsum",
            "cumprod", "round", "trace", "diagonal", "repeat",
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
    linalg = prefix == "np.linalg."
    if short not in TABLE or not (short in LINALG if linalg else prefix == "np."):
        known = list(LINALG) if linalg else [k for k in TABLE if hasattr(np, k)]
        raise unknown(prefix + short, short, known, prefix if linalg else "np.")
    return call(prefix + short, TABLE[short], args, keywords)


def call_ufunc(ufunc: np.ufunc, way: str, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """What calling `ufunc` means on traced values.

    Raises:
        UnsupportedError: for its methods (`np.add.reduce`), and unknown ufuncs.
    """
    if way == "at" and ufunc.__name__ in ("add", "subtract"):
        where, index, amount = args
        return f.add_at(where, index, amount, 1 if ufunc.__name__ == "add" else -1)
    if way != "__call__":
        name = f"np.{ufunc.__name__}.{way}"
        raise UnsupportedError(
            name, f"{name} is not supported", hint="use the function, e.g. np.sum for np.add.reduce"
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
