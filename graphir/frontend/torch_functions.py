"""torch's functions as torch calls them: its names and orders of arguments over composites."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .. import (
    activations,
    dtypes,
    einsum,
    indexing,
    layout,
    matrices,
    products,
    rearrange,
    reductions,
)
from .. import composites as c
from ..dtypes import DType
from ..errors import DTypeError, UnsupportedError
from ..integers import power
from ..ops.elementwise import full_like
from ..precision import rounded_once
from ..sizes import Shape
from ..symbolic import unwrap_size
from ..value import Value, binary, cast, lift_all, reduce
from .names import Implementation, as_sizes


def add(input: Any, other: Any, alpha: Any = 1) -> Any:
    """`input + alpha * other`."""
    _whole("alpha", alpha, input, other)
    return binary("add", input, other) if alpha == 1 else _with_multiple("add", input, other, alpha)


def _whole(what: str, number: Any, *values: Any) -> None:
    """Raise DTypeError for a fraction times integers, as torch does."""
    if isinstance(number, float) and not any(
        v.element.is_float if isinstance(v, Value) else isinstance(v, float) for v in values
    ):
        raise DTypeError(
            f"{what}={number} must be a whole number for integers",
            hint="convert the operands first, e.g. x.float()",
        )


def sub(input: Any, other: Any, alpha: Any = 1) -> Any:
    """`input - alpha * other`."""
    _whole("alpha", alpha, input, other)
    return binary("sub", input, other) if alpha == 1 else _with_multiple("sub", input, other, alpha)


@rounded_once
def _with_multiple(op: str, input: Any, other: Any, alpha: Any) -> Value:
    return binary(op, input, other * alpha)


def rsub(input: Any, other: Any, alpha: Any = 1) -> Any:
    """`other - alpha * input`."""
    return sub(other, input, alpha)


def pow(input: Any, exponent: Any) -> Any:
    """`input ** exponent`."""
    return power(input, exponent)


def divide(input: Any, other: Any, rounding_mode: str | None = None) -> Any:
    """The quotient, perhaps rounded."""
    return activations.divide(input, other, rounding_mode)


def swapped(function: Implementation) -> Implementation:
    """A reflected operator: `other` stands left."""

    def apply(input: Any, other: Any) -> Any:
        return function(other, input)

    return apply


# -- reductions --------------------------------------------------------------------------------


def over_axes(function: Implementation) -> Implementation:
    """torch's rule that an empty `dim` means all axes."""

    @wraps(function)
    def apply(x: Any, dim: Any = None, *args: Any, **keywords: Any) -> Any:
        return function(x, all_if_empty(dim), *args, **keywords)

    return apply


def truth(function: Implementation) -> Implementation:
    """torch's any and all, whose result is of uint8 for uint8."""
    apply = over_axes(function)

    @wraps(function)
    def typed(x: Any, *args: Any, **keywords: Any) -> Any:
        made = apply(x, *args, **keywords)
        return cast(made, dtypes.uint8) if x.element is dtypes.uint8 else made

    return typed


def all_if_empty(dim: Any) -> Any:
    """`dim`, or None for no axes."""
    return None if isinstance(dim, (tuple, list)) and not dim else dim


def extremum(op: str, pairwise: str) -> Implementation:
    """torch.max: of all elements, or of two tensors; with dim also the indices."""

    def apply(input: Any, dim: Any = None, keepdim: bool = False, other: Any = None) -> Any:
        other = dim if isinstance(dim, Value) else other
        if other is not None:
            return binary(pairwise, input, other)
        if dim is not None:
            return reductions.extremum(op, input, dim, keepdim)
        return reductions.extreme(op, input)

    return apply


def amax(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; equals share its derivative."""
    return reductions.extreme("amax", x, all_if_empty(dim), keepdim)


def amin(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; equals share its derivative."""
    return reductions.extreme("amin", x, all_if_empty(dim), keepdim)


def spread(function: Callable[..., Any]) -> Implementation:
    """var, std and their kin, in torch's two forms: f(x, unbiased) and f(x, dim, unbiased)."""

    def apply(
        x: Any,
        dim: Any = None,
        unbiased: Any = None,
        keepdim: bool = False,
        correction: float | None = None,
    ) -> Any:
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        if correction is None:
            correction = 1 if unbiased in (None, True) else 0
        return function(x, all_if_empty(dim), correction, keepdim)

    return apply


def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: DType | None = None
) -> Any:
    """torch.linalg.vector_norm."""
    x = cast(x, dtype) if dtype else x
    return reductions.vector_norm(x, ord, all_if_empty(dim), keepdim)


def linalg_norm(
    x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False, dtype: DType | None = None
) -> Any:
    """torch.linalg.norm."""
    x = cast(x, dtype) if dtype else x
    return reductions.linalg_norm(x, ord, dim, keepdim)


def matrix_norm(
    x: Any, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, dtype: Any = None
) -> Any:
    """torch.linalg.matrix_norm."""
    x = cast(x, dtype) if dtype else x
    return reductions.matrix_norm(x, ord, dim, keepdim)


def vecdot(x: Any, y: Any, dim: int = -1) -> Any:
    """torch.linalg.vecdot."""
    return reduce("sum", binary("mul", x, y), dim)


# -- products ----------------------------------------------------------------------------------


def einsum_of(equation: str, *operands: Any) -> Any:
    """torch.einsum, whose operands may be one list."""
    return einsum.einsum(equation, *as_sizes(operands))


def ranks(name: str, left: int, right: int) -> Implementation:
    """A product of exactly these ranks."""

    def apply(input: Any, other: Any) -> Any:
        return products.product_of_ranks(name, input, other, (left, right))

    return apply


def addmm(input: Any, mat1: Any, mat2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    """`beta * input + alpha * (mat1 @ mat2)`."""
    return products.scaled_sum(input, products.matmul(mat1, mat2), beta, alpha)


def addmv(input: Any, mat: Any, vec: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    """`beta * input + alpha * (mat @ vec)`."""
    return products.scaled_sum(input, products.matmul(mat, vec), beta, alpha)


def baddbmm(input: Any, batch1: Any, batch2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    """`beta * input + alpha * (batch1 @ batch2)`."""
    return products.scaled_sum(input, products.matmul(batch1, batch2), beta, alpha)


def addr(input: Any, vec1: Any, vec2: Any, beta: Any = 1, alpha: Any = 1) -> Any:
    """`beta * input + alpha * outer(vec1, vec2)`."""
    _whole("beta", beta, input, vec1, vec2)
    _whole("alpha", alpha, input, vec1, vec2)
    return products.scaled_sum(input, products.outer(vec1, vec2), beta, alpha)


def tensordot(a: Any, b: Any, dims: Any = 2) -> Any:
    """torch.tensordot."""
    return einsum.tensordot(a, b, dims)


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """torch.diagonal."""
    return matrices.diagonal(input, offset, dim1, dim2)


def linalg_diagonal(A: Any, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Any:
    """torch.linalg.diagonal."""
    return matrices.diagonal(A, offset, dim1, dim2)


def trace(input: Any) -> Any:
    """torch.trace."""
    return matrices.trace(input)


# -- movement ----------------------------------------------------------------------------------


def flip(input: Any, *dims: Any) -> Any:
    """torch.flip."""
    return rearrange.flip(input, as_sizes(dims))


def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """torch.roll."""
    return rearrange.roll(input, shifts, None if dims in ((), []) else dims)


def split(tensor: Any, split_size_or_sections: Any, dim: int = 0) -> Any:
    """torch.split."""
    return rearrange.split(tensor, split_size_or_sections, dim)


def tile(input: Any, *dims: Any) -> Any:
    """torch.tile."""
    return rearrange.tile(input, as_sizes(dims))


def repeat(input: Any, *repeats: Any) -> Any:
    """Tensor.repeat."""
    return rearrange.repeat(input, as_sizes(repeats))


def movedim(input: Any, source: Any, destination: Any) -> Any:
    """torch.movedim."""
    return rearrange.move_axes(input, source, destination)


def index_select(input: Any, dim: int, index: Any) -> Any:
    """torch.index_select; a 0-d index gives one element, of a 0-d value itself."""
    index = input.lift(index)
    if not input.ndim:
        rows = index_select(layout.reshape(input, (1,)), dim, index)
        return layout.reshape(rows, ())
    if not index.ndim:
        index = layout.reshape(index, (1,))
    return indexing.rows(input, index, dim)


def matrix_transpose(x: Any) -> Any:
    """torch's mT, which leaves a 0-d value as it is."""
    return layout.matrix_transpose(x) if x.ndim else x


def stacked(axis: int, least: int) -> Implementation:
    """hstack and its kin: joined along `axis`, each of at least that many axes."""

    def apply(tensors: Any) -> Any:
        values = [_at_least(x, least) for x in lift_all(*tensors)]
        at = 0 if axis == 1 and all(x.ndim == 1 for x in values) else axis
        return layout.concatenate(values, at)

    return apply


def _at_least(x: Value, rank: int) -> Value:
    if x.ndim == 0 and rank == 1:
        return layout.reshape(x, (1,))
    if rank >= 2 and x.ndim < 2:
        x = layout.reshape(x, (1, *(x.sizes or (1,))))
    return layout.unsqueeze(x, 2) if rank == 3 and x.ndim == 2 else x


def column_stack(tensors: Any) -> Any:
    """Vectors as columns, and matrices, side by side."""
    values = [
        x if x.ndim > 1 else layout.reshape(x, (*(x.sizes or (1,)), 1)) for x in lift_all(*tensors)
    ]
    return layout.concatenate(values, 1)


# -- selection and creation --------------------------------------------------------------------


def where_method(input: Any, condition: Any, other: Any) -> Any:
    """Tensor.where."""
    return c.where(condition, input, other)


def masked_fill(input: Any, mask: Any, value: Any) -> Any:
    """`value` where `mask` holds; the dtype stays."""
    (filler,) = lift_all(value) if isinstance(value, Value) else [input.lift(value)]
    return c.where(mask, cast(filler, input.element), input)


def filled_like(x: Any, fill_value: Any, dtype: DType | None = None, device: Any = None) -> Any:
    """torch.full_like."""
    like = cast(x, dtype) if dtype else x
    if isinstance(fill_value, Value):
        return layout.broadcast_to(cast(fill_value, like.element), like.sizes)
    return full_like(like, fill_value)


def zeros_like(x: Any, dtype: DType | None = None, device: Any = None) -> Any:
    """torch.zeros_like."""
    return filled_like(x, 0, dtype)


def ones_like(x: Any, dtype: DType | None = None, device: Any = None) -> Any:
    """torch.ones_like."""
    return filled_like(x, 1, dtype)


def new_filled(
    x: Any, size: Any, fill_value: Any, dtype: DType | None = None, device: Any = None
) -> Any:
    """Tensor.new_full."""
    shape: Shape = tuple(unwrap_size(s) for s in as_sizes((size,)))
    value = cast(x.lift(fill_value), dtype or x.element)
    return value.apply("broadcast", shape=shape, dims=()) if shape else value


def new_constant(value: int) -> Implementation:
    """Tensor.new_zeros and new_ones."""

    def apply(x: Any, *size: Any, dtype: DType | None = None, device: Any = None) -> Any:
        return new_filled(x, as_sizes(size), value, dtype)

    return apply


def refuse_without_seed(name: str) -> UnsupportedError:
    """The error for torch's own generators, whose state graphir does not see."""
    return UnsupportedError(
        name,
        f"{name}: a torch.Generator is not supported inside a traced function",
        hint="put it under `with graphir.random.seed(key):`",
    )


def drawn_like(function: Callable[..., Any], name: str) -> Implementation:
    """rand_like and randn_like."""

    def apply(
        input: Any, dtype: DType | None = None, device: Any = None, generator: Any = None
    ) -> Any:
        if generator is not None:
            raise refuse_without_seed(name)
        return function(input, dtype)

    return apply
