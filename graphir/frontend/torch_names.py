"""The torch front end: torch functions, torch.nn.functional and Tensor methods, by name.

A name means the same in the three places, but for METHODS. torch itself is never imported here:
who passes tensors has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import wraps
from typing import Any

from .. import composites as c
from .. import dtypes, indexing, layout, losses, products, selection
from ..dtypes import DType
from ..errors import GraphirError, TraceError, UnsupportedError
from ..ops.elementwise import full_like
from ..value import Value, binary, cast, power, reduce
from .names import (
    Implementation,
    as_sizes,
    bitwise,
    call,
    converting,
    from_operations,
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


def _add(input: Any, other: Any, alpha: Any = 1) -> Any:
    return binary("add", input, other if alpha == 1 else other * alpha)


def _sub(input: Any, other: Any, alpha: Any = 1) -> Any:
    return binary("sub", input, other if alpha == 1 else other * alpha)


def _pow(input: Any, exponent: Any) -> Any:
    return power(input, exponent) if isinstance(input, Value) else binary("pow", input, exponent)


def _reduction(function: Implementation) -> Implementation:
    """torch's rule that an empty `dim` means all axes."""

    @wraps(function)
    def apply(x: Any, dim: Any = None, *args: Any, **keywords: Any) -> Any:
        return function(x, _all_if_empty(dim), *args, **keywords)

    return apply


def _all_if_empty(dim: Any) -> Any:
    return None if isinstance(dim, (tuple, list)) and not dim else dim


def _extremum(op: str, pairwise: str) -> Implementation:
    """torch.max: of all elements, or of two tensors; with dim it also gives indices."""

    def apply(input: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        other = dim if isinstance(dim, Value) else other
        if other is not None:
            return binary(pairwise, input, other)
        if dim is not None:
            name = f"torch.{op[1:]}(dim={dim})"
            raise UnsupportedError(
                name,
                f"{name} also returns indices, which is not supported",
                hint=f"torch.{op}(x, dim={dim}) gives the values alone",
            )
        return reduce(op, input, None)

    return apply


def _amax(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return reduce("amax", x, dim, keepdim)


def _amin(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    return reduce("amin", x, dim, keepdim)


def _vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    if ord not in (2, "fro"):
        raise c.unsupported_option("norm", f"the order {ord!r}", "use the 2-norm, or abs and sum")
    return c.norm(x, _all_if_empty(dim), keepdim)


def _norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Any:
    return _vector_norm(input, p, dim, keepdim)


def _where_method(input: Any, condition: Any, other: Any) -> Any:
    return c.where(condition, input, other)


def _index_select(input: Any, dim: int, index: Any) -> Any:
    return indexing.rows(input, index, dim)


def _full_like(x: Any, fill_value: Any, dtype: DType | None = None, device: Any = None) -> Any:
    return full_like(cast(x, dtype) if dtype else x, fill_value)


def _zeros_like(x: Any, dtype: DType | None = None, device: Any = None) -> Any:
    return _full_like(x, 0, dtype)


def _ones_like(x: Any, dtype: DType | None = None, device: Any = None) -> Any:
    return _full_like(x, 1, dtype)


def _einsum(equation: str, *operands: Any) -> Any:
    return products.einsum(equation, *as_sizes(operands))


def _ranks(name: str, left: int, right: int) -> Implementation:
    def apply(input: Any, other: Any) -> Any:
        return products.product_of_ranks(name, input, other, (left, right))

    return apply


def _addmm(input: Any, mat1: Any, mat2: Any) -> Any:
    return binary("add", products.matmul(mat1, mat2), input)


def _identity(x: Any) -> Any:
    return x


TABLE: Mapping[str, Implementation] = {
    **from_operations(lambda op: op.torch),
    "add": _add, "sub": _sub, "subtract": _sub, "pow": _pow, "__pow__": _pow,
    "rsub": lambda x, other: binary("sub", other, x),
    "__rpow__": lambda x, other: binary("pow", other, x),
    "bitwise_and": bitwise("logical_and", "&"), "__and__": bitwise("logical_and", "&"),
    "bitwise_or": bitwise("logical_or", "|"), "__or__": bitwise("logical_or", "|"),
    "bitwise_not": lambda x: x.apply("logical_not"), "logical_not": c.logical_not,
    "square": c.square, "reciprocal": c.reciprocal, "rsqrt": c.rsqrt, "sigmoid": c.sigmoid,
    "special_expit": c.sigmoid, "softplus": c.softplus, "logsigmoid": c.logsigmoid,
    "log_sigmoid": c.logsigmoid, "silu": c.silu, "logaddexp": c.logaddexp, "where": c.where,
    "clamp": c.clamp, "clip": c.clamp,
    "sum": _reduction(c.sum), "any": _reduction(c.any), "all": _reduction(c.all),
    "cat": layout.concatenate, "concat": layout.concatenate, "concatenate": layout.concatenate,
    "stack": layout.stack, "mean": _reduction(c.mean), "var": _reduction(c.var),
    "std": _reduction(c.std), "amax": _reduction(_amax), "amin": _reduction(_amin),
    "max": _extremum("amax", "maximum"), "min": _extremum("amin", "minimum"),
    "norm": _norm, "linalg_vector_norm": _vector_norm, "linalg_norm": _vector_norm,
    "softmax": c.softmax, "log_softmax": c.log_softmax, "special_softmax": c.softmax,
    "special_log_softmax": c.log_softmax, "logsumexp": c.logsumexp,
    "special_logsumexp": c.logsumexp,
    "matmul": products.matmul, "linalg_matmul": products.matmul, "__matmul__": products.matmul,
    "mv": _ranks("mv", 2, 1), "mm": _ranks("mm", 2, 2), "bmm": _ranks("bmm", 3, 3),
    "dot": _ranks("dot", 1, 1), "inner": _ranks("inner", 1, 1), "vdot": _ranks("vdot", 1, 1),
    "outer": products.outer, "addmm": _addmm, "linear": products.linear, "einsum": _einsum,
    "t": layout.reverse_axes, "transpose": layout.swap_axes, "swapaxes": layout.swap_axes,
    "swapdims": layout.swap_axes, "adjoint": layout.matrix_transpose,
    "permute": spread(layout.permute), "movedim": layout.move_axis, "moveaxis": layout.move_axis,
    "reshape": spread(layout.reshape), "flatten": layout.flatten, "ravel": layout.flatten,
    "squeeze": layout.squeeze, "unsqueeze": layout.unsqueeze,
    "broadcast_to": spread(layout.broadcast_to),
    "gather": selection.gather, "index_select": _index_select, "__getitem__": indexing.getitem,
    "zeros_like": _zeros_like, "ones_like": _ones_like, "full_like": _full_like,
    "detach": c.stop_gradient, "clone": _identity, "numel": layout.element_count,
    "mse_loss": losses.mse_loss, "huber_loss": losses.huber_loss, "l1_loss": losses.l1_loss,
    "smooth_l1_loss": losses.smooth_l1_loss, "cross_entropy": losses.cross_entropy,
    "nll_loss": losses.nll_loss,
    "binary_cross_entropy_with_logits": losses.binary_cross_entropy_with_logits,
}  # fmt: skip


def _size(x: Any, dim: int | None = None) -> Any:
    return x.shape if dim is None else x.shape[layout.axis_of("size", dim, x.ndim)]


def _type_as(x: Any, other: Any) -> Any:
    return cast(x, other.element)


def _expand_as(x: Any, other: Any) -> Any:
    return layout.broadcast_to(x, other.sizes)


def _view_as(x: Any, other: Any) -> Any:
    return layout.reshape(x, other.sizes)


# Tensor methods that no function has, or that mean something else as a method.
METHODS: Mapping[str, Implementation] = {
    "where": _where_method, "view": spread(layout.reshape),
    "expand": spread(layout.broadcast_to), "expand_as": _expand_as, "view_as": _view_as,
    "reshape_as": _view_as, "type_as": _type_as, "size": _size, "dim": lambda x: x.ndim,
    "ndimension": lambda x: x.ndim, "contiguous": _identity, "to": to_device_or_dtype,
    "type": to_device_or_dtype,
    "cpu": _identity, "cuda": _identity, "requires_grad_": _identity,
    "bool": converting(dtypes.bool_), "int": converting(dtypes.int32),
    "long": converting(dtypes.int64), "half": converting(dtypes.float16),
    "float": converting(dtypes.float32), "double": converting(dtypes.float64),
    "byte": converting(dtypes.uint8),
}  # fmt: skip

PROPERTIES: Mapping[str, Implementation] = {
    "T": layout.reverse_axes, "mT": layout.matrix_transpose, "dtype": user_dtype,
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
            f"Tensor.{name} writes in place, which is not supported",
            hint=f"assign a new value, e.g. x = x.{name[:-1]}(...)",
        )
    return None
