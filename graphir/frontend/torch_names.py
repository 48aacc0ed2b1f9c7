"""The torch front end: torch functions, torch.nn.functional and Tensor methods, by name.

A name means the same in the three places, but for METHODS. torch itself is never imported here:
who passes tensors has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from .. import activations as a
from .. import (
    class_losses,
    dtypes,
    einsum,
    layers,
    layout,
    losses,
    matrices,
    products,
    random,
    scatter,
    selection,
    statistics,
)
from .. import composites as c
from .. import rearrange as m
from .. import reductions as r
from ..errors import GraphirError, TraceError, UnsupportedError
from ..value import Value, cast
from . import torch_creation as made
from . import torch_functions as f
from . import torch_writes as w
from .names import (
    BITWISE,
    Implementation,
    call,
    converting,
    from_operations,
    in_place,
    sharing,
    spread,
    to_device_or_dtype,
    unknown,
)


def is_tensor(x: object) -> bool:
    """Whether `x` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def user_dtype(x: Value) -> Any:
    """The torch dtype of a traced value."""
    return getattr(sys.modules["torch"], x.element.name)


def _identity(x: Any) -> Any:
    return x


# By theme, as the page of what is supported shows them.
SECTIONS: Mapping[str, Mapping[str, Implementation]] = {
    "elementwise": {
        **from_operations(lambda op: op.torch),
        "add": f.add, "sub": f.sub, "subtract": f.sub, "rsub": f.rsub, "pow": f.pow,
        "__pow__": f.pow, "__rpow__": f.swapped(f.pow), "float_power": c.float_power,
        "div": f.divide, "divide": f.divide, "true_divide": f.divide,
        "floor_divide": a.floor_divide, "__floordiv__": a.floor_divide,
        "__rfloordiv__": f.swapped(a.floor_divide), "remainder": a.remainder,
        "__mod__": a.remainder, "__rmod__": f.swapped(a.remainder),
        "floor": a.floor, "ceil": a.ceil, "trunc": a.trunc, "fix": a.trunc, "round": a.round,
        "frac": a.frac, "square": c.square, "sign": a.sign, "sgn": a.sign,
        "reciprocal": c.reciprocal, "rsqrt": c.rsqrt,
        "positive": _identity, "sigmoid": c.sigmoid, "special_expit": c.sigmoid,
        "logit": c.logit, "special_logit": c.logit, "fmax": statistics.fmax,
        "fmin": statistics.fmin,
        "softplus": c.softplus, "logsigmoid": c.logsigmoid, "log_sigmoid": c.logsigmoid,
        "silu": c.silu, "leaky_relu": a.leaky_relu, "prelu": a.prelu, "elu": a.elu, "selu": a.selu,
        "celu": a.celu, "gelu": a.gelu, "hardtanh": a.hardtanh, "relu6": a.relu6,
        "hardsigmoid": a.hardsigmoid, "hardswish": a.hardswish, "softsign": a.softsign,
        "tanhshrink": a.tanhshrink, "mish": a.mish, "threshold": a.threshold,
        "_threshold": a.threshold,
        "clamp": c.clamp, "clip": c.clamp, "clamp_min": a.clamp_min, "clamp_max": a.clamp_max,
        "lerp": a.lerp, "addcmul": a.addcmul, "addcdiv": a.addcdiv, "logaddexp": c.logaddexp,
        "xlogy": a.xlogy, "special_xlogy": a.xlogy, "special_exp2": a.exp2,
        "special_expm1": a.expm1,
        "special_log1p": a.log1p, "deg2rad": a.deg2rad, "rad2deg": a.rad2deg,
        "where": c.where, "masked_fill": f.masked_fill, "nan_to_num": a.nan_to_num,
        "heaviside": a.heaviside, "isnan": a.isnan, "isinf": a.isinf, "isfinite": a.isfinite,
        "logical_not": c.logical_not, "logical_xor": a.logical_xor,
        **BITWISE, "__and__": BITWISE["bitwise_and"], "__or__": BITWISE["bitwise_or"],
        "__xor__": BITWISE["bitwise_xor"], "__lshift__": BITWISE["bitwise_left_shift"],
        "__rshift__": BITWISE["bitwise_right_shift"],
    },
    "reductions": {
        "sum": f.over_axes(c.sum), "mean": f.over_axes(c.mean), "prod": f.over_axes(r.prod),
        "any": f.truth(c.any), "all": f.truth(c.all), "amax": f.amax, "amin": f.amin,
        "max": f.extremum("amax", "maximum"), "min": f.extremum("amin", "minimum"),
        "argmax": r.argmax, "argmin": r.argmin, "count_nonzero": f.over_axes(r.count_nonzero),
        "var": f.spread(r.var), "std": f.spread(r.std), "var_mean": f.spread(r.var_mean),
        "std_mean": f.spread(r.std_mean), "norm": r.torch_norm, "linalg_vector_norm": f.vector_norm,
        "linalg_norm": f.linalg_norm, "linalg_matrix_norm": f.matrix_norm,
        "normalize": r.normalize, "cumsum": r.cumsum, "cumprod": r.cumprod,
        "softmax": c.softmax, "log_softmax": c.log_softmax, "softmin": layers.softmin,
        "special_softmax": c.softmax, "special_log_softmax": c.log_softmax,
        "nansum": f.over_axes(statistics.nansum), "nanmean": f.over_axes(statistics.nanmean),
        "cov": statistics.cov, "corrcoef": statistics.corrcoef,
        "logsumexp": c.logsumexp,
        "special_logsumexp": c.logsumexp,
    },
    "products": {
        "matmul": products.matmul, "linalg_matmul": products.matmul, "__matmul__": products.matmul,
        "__rmatmul__": f.swapped(products.matmul),
        "mv": f.ranks("mv", 2, 1), "mm": f.ranks("mm", 2, 2), "bmm": f.ranks("bmm", 3, 3),
        "dot": f.ranks("dot", 1, 1), "vdot": f.ranks("vdot", 1, 1), "inner": einsum.inner,
        "linalg_vecdot": f.vecdot, "outer": products.outer, "ger": products.outer,
        "addmm": f.addmm, "addmv": f.addmv, "addr": f.addr, "baddbmm": f.baddbmm,
        "linear": products.linear, "einsum": f.einsum_of, "tensordot": f.tensordot,
        "trace": f.trace, "diagonal": f.diagonal, "linalg_diagonal": f.linalg_diagonal,
        "diag": matrices.diag, "diag_embed": matrices.diag_embed, "tril": matrices.tril,
        "triu": matrices.triu,
    },
    "movement": {
        "t": layout.reverse_axes, "transpose": layout.swap_axes, "swapaxes": layout.swap_axes,
        "swapdims": layout.swap_axes, "adjoint": layout.matrix_transpose,
        "permute": spread(layout.permute), "movedim": f.movedim, "moveaxis": f.movedim,
        "reshape": spread(layout.reshape), "flatten": layout.flatten, "ravel": layout.flatten,
        "unflatten": m.unflatten, "squeeze": layout.squeeze, "unsqueeze": layout.unsqueeze,
        "broadcast_to": spread(layout.broadcast_to), "cat": layout.concatenate,
        "concat": layout.concatenate, "concatenate": layout.concatenate, "stack": layout.stack,
        "hstack": f.stacked(1, 1), "vstack": f.stacked(0, 2), "row_stack": f.stacked(0, 2),
        "dstack": f.stacked(2, 3), "column_stack": f.column_stack,
        "split": f.split, "chunk": m.chunk, "tensor_split": m.tensor_split, "unbind": m.unbind,
        "narrow": m.narrow, "select": m.select_at, "flip": f.flip, "fliplr": m.fliplr,
        "flipud": m.flipud, "diff": m.diff, "roll": f.roll, "tile": f.tile,
        "repeat_interleave": m.repeat_interleave,
        "pad": m.pad,
    },
    "selection and creation": {
        "gather": selection.gather, "take_along_dim": m.take_along_dim,
        "index_select": f.index_select, "embedding": layers.embedding, "one_hot": m.one_hot,
        "scatter": w.scatter, "scatter_add": w.scatter_add, "index_add": w.index_add,
        "index_copy": w.index_copy, "index_fill": scatter.index_fill, "index_put": w.index_put,
        "select_scatter": w.select_scatter, "slice_scatter": w.slice_scatter,
        "diagonal_scatter": w.diagonal_scatter,
        "__getitem__": w.get_item, "__setitem__": w.set_item,
        "zeros": made.constant(0), "ones": made.constant(1), "empty": made.constant(0),
        "full": made.full, "arange": made.arange, "eye": made.eye, "linspace": made.linspace,
        "tensor": made.tensor,
        "zeros_like": f.zeros_like, "ones_like": f.ones_like,
        "full_like": f.filled_like, "empty_like": f.zeros_like,
        "rand_like": f.drawn_like(random.rand_like, "rand_like"),
        "randn_like": f.drawn_like(random.randn_like, "randn_like"),
        "bernoulli": random.bernoulli, "dropout": random.dropout,
        "detach": c.stop_gradient, "clone": _identity, "numel": layout.element_count,
        "is_floating_point": lambda x: x.element.is_float,
    },
    "layers and losses": {
        "layer_norm": layers.layer_norm, "rms_norm": layers.rms_norm,
        "cosine_similarity": layers.cosine_similarity,
        "pairwise_distance": layers.pairwise_distance,
        "mse_loss": losses.mse_loss, "huber_loss": losses.huber_loss, "l1_loss": losses.l1_loss,
        "smooth_l1_loss": losses.smooth_l1_loss, "cross_entropy": class_losses.cross_entropy,
        "nll_loss": class_losses.nll_loss, "binary_cross_entropy": losses.binary_cross_entropy,
        "binary_cross_entropy_with_logits": losses.binary_cross_entropy_with_logits,
        "kl_div": losses.kl_div, "poisson_nll_loss": losses.poisson_nll_loss,
        "gaussian_nll_loss": losses.gaussian_nll_loss,
    },
}  # fmt: skip
# Whose results lie in the memory of their operand.
_VIEWS = frozenset((
    "t", "transpose", "swapaxes", "swapdims", "adjoint", "permute", "movedim", "moveaxis",
    "unflatten", "squeeze", "unsqueeze", "broadcast_to", "split", "chunk", "tensor_split",
    "unbind", "narrow", "select", "diagonal", "linalg_diagonal", "detach", "view", "expand",
    "expand_as", "view_as", "positive", "dropout", "to", "type", "type_as", "cpu", "cuda",
    "requires_grad_", "bool", "byte", "char", "short", "bfloat16", "int",
    "long", "half", "float", "double", "__getitem__",
))  # fmt: skip
_RESHAPES = frozenset(("reshape", "reshape_as", "flatten"))
_PERHAPS = frozenset(("ravel", "contiguous", "einsum"))
TABLE: Mapping[str, Implementation] = sharing(
    {k: v for part in SECTIONS.values() for k, v in part.items()}, _VIEWS, _RESHAPES, _PERHAPS
)


def _size(x: Any, dim: int | None = None) -> Any:
    return x.shape if dim is None else x.shape[layout.axis_of("size", dim, x.ndim)]


def _type_as(x: Any, other: Any) -> Any:
    return cast(x, other.element)


def _expand_as(x: Any, other: Any) -> Any:
    return layout.broadcast_to(x, other.sizes)


def _view_as(x: Any, other: Any) -> Any:
    return layout.reshape(x, other.sizes)


# Tensor methods that no function has, or that mean something else as a method.
_METHODS: Mapping[str, Implementation] = {
    "where": f.where_method, "view": spread(layout.reshape),
    "expand": spread(layout.broadcast_to), "repeat": f.repeat,
    "new_zeros": f.new_constant(0), "new_ones": f.new_constant(1), "new_full": f.new_filled,
    "expand_as": _expand_as, "view_as": _view_as,
    "reshape_as": _view_as, "type_as": _type_as, "size": _size, "dim": lambda x: x.ndim,
    "ndimension": lambda x: x.ndim, "contiguous": _identity, "to": to_device_or_dtype,
    "type": to_device_or_dtype,
    "cpu": _identity, "cuda": _identity, "requires_grad_": _identity,
    "bool": converting(dtypes.bool_), "int": converting(dtypes.int32),
    "long": converting(dtypes.int64), "half": converting(dtypes.float16),
    "float": converting(dtypes.float32), "double": converting(dtypes.float64),
    "byte": converting(dtypes.uint8), "char": converting(dtypes.int8),
    "short": converting(dtypes.int16), "bfloat16": converting(dtypes.bfloat16),
}  # fmt: skip
# What torch has no method for that writes in place.
_ONLY_NEW = frozenset((
    "maximum", "minimum", "rsub", "positive", "softplus", "logsigmoid", "log_sigmoid", "silu",
    "prelu", "gelu", "relu6", "hardsigmoid", "hardswish", "softsign", "tanhshrink", "mish",
    "logaddexp", "fmax", "fmin", "where", "isnan", "isinf", "isfinite",
))  # fmt: skip
# `x.add_(y)` and its kin, beside those of w.CONVERTING.
_IN_PLACE = (
    *(n for n in SECTIONS["elementwise"] if not n.startswith(("_", "special_"))
      and n not in _ONLY_NEW),
    "addmm", "addmv", "addr", "baddbmm", "cumsum", "cumprod", "tril", "triu", "scatter",
    "scatter_add", "index_add", "index_copy", "index_fill", "index_put",
)  # fmt: skip
METHODS: Mapping[str, Implementation] = {
    **sharing(_METHODS, _VIEWS, _RESHAPES, _PERHAPS),
    **{f"{n}_": in_place(TABLE[n], f"{n}_") for n in _IN_PLACE},
    **{f"{n}_": in_place(v, f"{n}_", converts=True) for n, v in w.CONVERTING.items()},
}

PROPERTIES: Mapping[str, Implementation] = {
    "T": layout.reverse_axes, "mT": f.matrix_transpose, "dtype": user_dtype,
    "is_cuda": lambda x: x.device.type == "cuda", "requires_grad": lambda x: False,
    "itemsize": lambda x: x.element.itemsize, "data": c.stop_gradient,
}  # fmt: skip


def call_function(function: Any, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """What `function`, a torch function or Tensor method, means on traced values.

    Raises:
        UnsupportedError: for a function or an option that graphir does not know.
    """
    short = str(getattr(function, "__name__", function))
    is_method = hasattr(function, "__objclass__") or str(
        getattr(function, "__qualname__", "")
    ).startswith("Tensor.")
    found = METHODS.get(short) if is_method else None
    found = found or TABLE.get(short) or METHODS.get(short)
    name = f"Tensor.{short}" if is_method else f"torch.{short}"
    if found is None:
        refused = refusal(short) if is_method else None
        if refused is not None:
            raise refused
        raise _unknown(function, short)
    return call(name, found, args, keywords)


def knows(function: Any) -> bool:
    """Whether `call_function` has an implementation of `function`."""
    short = str(getattr(function, "__name__", function))
    return short in TABLE or short in METHODS


def _unknown(function: Any, short: str) -> GraphirError:
    torch = sys.modules["torch"]
    full = torch.overrides.resolve_name(function) or f"torch.{short}"
    full = full.replace("torch.functional.", "torch.")
    prefix, _, last = full.rpartition(".")
    home = {"torch.Tensor": torch.Tensor, "torch.nn.functional": torch.nn.functional}
    known = [n for n in (*TABLE, *METHODS) if hasattr(home.get(prefix, torch), n)]
    shown = prefix if prefix in home else "torch"
    return unknown(
        full.replace("torch.Tensor.", "Tensor."),
        last,
        known,
        shown.replace("torch.Tensor", "Tensor") + ".",
    )


def method(name: str) -> Implementation | None:
    """The implementation of a Tensor method, or None."""
    return METHODS.get(name) or TABLE.get(name)


def refusal(name: str) -> GraphirError | None:
    """The error for Tensor methods that leave the trace or write in place; None for others."""
    if name in ("item", "tolist", "numpy", "backward"):
        return TraceError(
            f"Tensor.{name}() needs the number behind a traced value, which is known only when "
            "the kernel runs",
            hint="return the value and call it on the result, or keep computing with it",
        )
    if name.endswith("_") and not name.endswith("__"):
        return UnsupportedError(
            f"Tensor.{name}",
            f"Tensor.{name}, which writes in place, is not supported",
            hint=f"assign a new value, e.g. x = x.{name[:-1]}(...)",
        )
    return None
