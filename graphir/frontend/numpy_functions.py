"""NumPy's functions as NumPy calls them: its names and orders of arguments over composites."""

from __future__ import annotations

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
    statistics,
)
from .. import composites as c
from .. import reductions as r
from ..dtypes import DType
from ..errors import UnsupportedError
from ..in_place import stretched
from ..integers import power
from ..ops.elementwise import full_like
from ..precision import rounded_once
from ..scatter import scattered
from ..selection import gather
from ..value import (
    Value,
    binary,
    cast,
    float_value,
    lift_all,
    reduce,
    result_dtype,
)
from .names import spread


def pow(input: Any, other: Any) -> Any:
    """np.power."""
    return power(input, other)


def mean(x: Any, dim: Any = None, dtype: DType | None = None, keepdim: bool = False) -> Any:
    """np.mean, which takes that of integers in float64, where torch refuses."""
    wide = dtype or (None if x.element.is_float else dtypes.float64)
    return c.mean(x, dim, keepdim, wide)


def average(x: Any, dim: Any = None, weights: Any = None, keepdim: bool = False) -> Any:
    """np.average."""
    if weights is None:
        return mean(x, dim, None, keepdim)
    x, w = lift_all(x, weights)
    return _weighted(x, w, dim, keepdim)


@rounded_once
def _weighted(x: Value, w: Value, dim: Any, keepdim: bool) -> Value:
    if w.ndim == 1 and x.ndim > 1 and isinstance(dim, int):
        w = layout.reshape(w, (w.sizes[0], *(1,) * (x.ndim - 1 - dim % x.ndim)))
    wide = w if w.sizes == x.sizes else layout.broadcast_to(w, x.sizes)
    total = reduce("sum", binary("mul", x, wide), dim, keepdim)
    return total / reduce("sum", wide, dim, keepdim)


def sum(x: Any, dim: Any = None, dtype: DType | None = None, keepdim: bool = False) -> Any:
    """np.sum."""
    return c.sum(x, dim, keepdim, dtype)


def nansum(x: Any, dim: Any = None, dtype: DType | None = None, keepdim: bool = False) -> Any:
    """np.nansum."""
    return statistics.nansum(x, dim, keepdim, dtype)


def nanmean(x: Any, dim: Any = None, dtype: DType | None = None, keepdim: bool = False) -> Any:
    """np.nanmean."""
    wide = dtype or (None if x.element.is_float else dtypes.float64)
    return statistics.nanmean(x, dim, keepdim, wide)


def prod(x: Any, dim: Any = None, dtype: DType | None = None, keepdim: bool = False) -> Any:
    """np.prod."""
    return r.prod(x, dim, keepdim, dtype)


def var(x: Any, dim: Any = None, correction: float = 0, keepdim: bool = False) -> Any:
    """np.var."""
    return r.var(_real(x), dim, correction, keepdim)


def std(x: Any, dim: Any = None, correction: float = 0, keepdim: bool = False) -> Any:
    """np.std."""
    return r.std(_real(x), dim, correction, keepdim)


def _real(x: Value) -> Value:
    return x if x.element.is_float else cast(x, dtypes.float64)


def amax(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """np.max."""
    return r.extreme("amax", x, dim, keepdim)


def amin(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """np.min."""
    return r.extreme("amin", x, dim, keepdim)


def ptp(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """np.ptp."""
    return amax(x, dim, keepdim) - amin(x, dim, keepdim)


def cumsum(x: Any, dim: int | None = None, dtype: DType | None = None) -> Any:
    """np.cumsum."""
    return r.cumsum(*r.flat_axis(x, dim), dtype)


def cumprod(x: Any, dim: int | None = None, dtype: DType | None = None) -> Any:
    """np.cumprod."""
    return r.cumprod(*r.flat_axis(x, dim), dtype)


def norm(x: Any, ord: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    """np.linalg.norm."""
    return r.linalg_norm(x, ord, dim, keepdim)


def vector_norm(x: Any, dim: Any = None, keepdim: bool = False, ord: Any = 2) -> Any:
    """np.linalg.vector_norm."""
    return r.vector_norm(x, ord, dim, keepdim)


def matrix_norm(x: Any, keepdim: bool = False, ord: Any = "fro") -> Any:
    """np.linalg.matrix_norm."""
    return r.matrix_norm(x, ord, (-2, -1), keepdim)


def where(condition: Any, *choices: Any) -> Any:
    """np.where with all three arguments."""
    if len(choices) != 2:
        raise UnsupportedError(
            "np.where",
            "np.where(condition) alone gives positions, whose number depends on the data",
            hint="np.where(condition, a, b)",
        )
    return c.where(condition, *choices)


def sign(x: Any) -> Any:
    """np.sign, which is NaN of NaN, where torch's is 0."""
    found = activations.sign(x)
    return c.where(activations.isnan(x), x, found) if x.element.is_float else found


def heaviside(input: Any, values: Any) -> Any:
    """0 below zero, 1 above, `values` at zero, in the floating type that holds both."""
    x, y = (float_value(v) for v in lift_all(input, values))
    dtype = result_dtype(x, y)
    return activations.heaviside(cast(x, dtype), cast(y, dtype))


def round(x: Any, decimals: int = 0) -> Any:
    """np.round."""
    return activations.round(x, decimals)


# -- products ----------------------------------------------------------------------------------


def outer(input: Any, vec2: Any) -> Any:
    """np.outer, which flattens."""
    return products.outer(*map(layout.flatten, lift_all(input, vec2)))


def vdot(a: Any, b: Any) -> Any:
    """np.vdot, which flattens."""
    return products.tensor_dot(*map(layout.flatten, lift_all(a, b)))


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """np.tensordot."""
    return einsum.tensordot(a, b, axes)


def tril(m: Any, k: int = 0) -> Any:
    """np.tril."""
    return matrices.tril(m, k)


def triu(m: Any, k: int = 0) -> Any:
    """np.triu."""
    return matrices.triu(m, k)


def diag(v: Any, k: int = 0) -> Any:
    """np.diag."""
    return matrices.diag(v, k)


# -- movement ----------------------------------------------------------------------------------


def transpose(x: Any, dim: Any = None) -> Any:
    """np.transpose."""
    return layout.reverse_axes(x) if dim is None else layout.permute(x, dim)


def transpose_method(x: Any, *dim: Any) -> Any:
    """ndarray.transpose."""
    if not dim or dim == (None,):
        return layout.reverse_axes(x)
    return spread(layout.permute)(x, *dim)


def squeeze(x: Any, dim: Any = None) -> Any:
    """np.squeeze."""
    return layout.squeeze(x, dim, strict=True)


def expand_dims(x: Any, dim: Any) -> Any:
    """np.expand_dims."""
    return layout.unsqueeze_many(x, dim)


def ravel(x: Any) -> Any:
    """np.ravel."""
    return layout.flatten(x)


def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """np.moveaxis."""
    return rearrange.move_axes(a, source, destination)


def flip(m: Any, axis: Any = None) -> Any:
    """np.flip."""
    return rearrange.flip(m, axis)


def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """np.roll."""
    return rearrange.roll(a, shift, axis)


def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """np.repeat."""
    return rearrange.repeat_interleave(a, repeats, axis)


def pad(array: Any, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Any:
    """np.pad with one value.

    Raises:
        UnsupportedError: for another mode, or several values.
    """
    if mode != "constant" or isinstance(constant_values, (tuple, list)):
        raise c.unsupported_option("np.pad", f"mode={mode!r} with {constant_values!r}")
    given = pad_width if isinstance(pad_width, (tuple, list)) else (pad_width,)
    if not any(isinstance(w, (tuple, list)) for w in given):
        pairs = [(given[0], given[-1])] * array.ndim
    else:
        pairs = [(w[0], w[-1]) for w in given]
        pairs = pairs * array.ndim if len(pairs) == 1 else pairs
    return rearrange.pad_axes(array, pairs, constant_values)


# -- selection and creation --------------------------------------------------------------------


def take(x: Any, index: Any, dim: int | None = None) -> Any:
    """np.take."""
    return indexing.rows(layout.flatten(x) if dim is None else x, index, dim or 0)


def take_along_axis(x: Any, index: Any, dim: int | None = -1) -> Any:
    """np.take_along_axis."""
    if dim is None:
        x, index, dim = layout.flatten(x), layout.flatten(index), 0
    size = x.sizes[layout.axis_of("take_along_axis", dim, x.ndim)]
    return gather(x, dim, indexing.wrapped(index, size))


def filled_like(x: Any, fill_value: Any, dtype: DType | None = None) -> Any:
    """np.full_like."""
    return full_like(cast(x, dtype) if dtype else x, fill_value)


def zeros_like(x: Any, dtype: DType | None = None) -> Any:
    """np.zeros_like."""
    return filled_like(x, 0, dtype)


def ones_like(x: Any, dtype: DType | None = None) -> Any:
    """np.ones_like."""
    return filled_like(x, 1, dtype)


def astype(x: Any, dtype: Any) -> Any:
    """ndarray.astype."""
    return cast(x, dtypes.dtype_of(dtype))


# -- writing in place ---------------------------------------------------------------------------


def add_at(a: Any, indices: Any, b: Any, sign: int = 1) -> None:
    """np.add.at and np.subtract.at: every repetition of an index counts."""
    a.put(indices, b if sign > 0 else -a.lift(b), accumulate=True)


def copyto(dst: Any, src: Any, where: Any = True) -> None:
    """np.copyto."""
    new = stretched("np.copyto", dst.lift(src), dst.sizes)
    dst.write("np.copyto", new if where is True else c.where(where, cast(new, dst.element), dst))


def putmask(a: Any, mask: Any, values: Any) -> None:
    """np.putmask, with values that broadcast."""
    copyto(a, values, mask)


def fill(x: Any, value: Any) -> None:
    """ndarray.fill."""
    x.put(Ellipsis, value)


def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """np.fill_diagonal, of a matrix.

    Raises:
        UnsupportedError: for other ranks, or wrap=True.
    """
    if wrap or a.ndim != 2:
        raise c.unsupported_option("np.fill_diagonal", "wrap=True, or a rank other than 2")
    view: Any = matrices.diagonal(a)
    view.write("np.fill_diagonal", a.lift(val), converts=True, stretches=True)


def put_along_axis(arr: Any, indices: Any, values: Any, axis: int) -> None:
    """np.put_along_axis; of several writes to one element the last one counts.

    Raises:
        ShapeError: where the indices have not the shape of the array on the other axes.
    """
    at = layout.axis_of("put_along_axis", axis, arr.ndim)
    indices = layout.broadcast_to(indices, [-1 if i == at else s for i, s in enumerate(arr.sizes)])
    index = indexing.wrapped(indices, arr.sizes[at])
    new = stretched("np.put_along_axis", cast(arr.lift(values), arr.element), index.sizes)
    arr.write("np.put_along_axis", scattered(arr, at, index, new, "set"))
