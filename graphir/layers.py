"""Composites of whole layers: normalisations, embeddings, similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .composites import mean, softmax, stop_gradient, unsupported_option, where
from .dtypes import limits
from .errors import ShapeError
from .indexing import rows
from .layout import unsqueeze
from .precision import rounded_once
from .reductions import vector_norm
from .selection import require_integers
from .sizes import format_shape
from .symbolic import unwrap_size
from .value import Value, binary, lift_all, reduce, unary


def _last_axes(name: str, x: Value, normalized_shape: Any) -> tuple[int, ...]:
    given: Sequence[Any] = (
        (normalized_shape,) if not isinstance(normalized_shape, (tuple, list)) else normalized_shape
    )
    wanted = tuple(unwrap_size(s) for s in given)
    if not wanted or x.sizes[-len(wanted) :] != wanted:
        raise ShapeError(
            f"{name}: the last axes of {x.node.type} are not {format_shape(wanted)}",
            hint="normalized_shape is the sizes of the last axes",
        )
    return tuple(range(x.ndim - len(wanted), x.ndim))


@rounded_once
def layer_norm(
    x: Value, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Value:
    """`x` with mean 0 and variance 1 along its last axes, then scaled and shifted.

    Raises:
        ShapeError: where `normalized_shape` is not the sizes of the last axes.
    """
    axes = _last_axes("layer_norm", x, normalized_shape)
    centred = x - mean(x, axes, keepdim=True)
    y = centred / unary("sqrt", mean(centred * centred, axes, keepdim=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@rounded_once
def rms_norm(
    x: Value, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Value:
    """`x` over its root mean square along its last axes, then scaled.

    Raises:
        ShapeError: where `normalized_shape` is not the sizes of the last axes.
    """
    axes = _last_axes("rms_norm", x, normalized_shape)
    small = float(limits(x.element).eps) if eps is None else eps
    y = x / unary("sqrt", mean(x * x, axes, keepdim=True) + small)
    return y if weight is None else y * weight


def embedding(
    index: Any,
    weight: Any,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    """The rows of a table at whole numbers; the row `padding_idx` gets no gradient.

    Raises:
        UnsupportedError: for `max_norm`, which writes into the table, and `scale_grad_by_freq`.
    """
    if max_norm is not None or scale_grad_by_freq:
        option = "max_norm" if max_norm is not None else "scale_grad_by_freq"
        raise unsupported_option("embedding", option, "leave it out")
    ids, table = lift_all(index, weight)
    require_integers("embedding", ids)
    out = rows(table, ids)
    if padding_idx is None:
        return out
    count = table.sizes[0]
    at = padding_idx + count if padding_idx < 0 and isinstance(count, int) else padding_idx
    return where(unsqueeze(binary("eq", ids, at), ids.ndim), stop_gradient(out), out)


@rounded_once
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Value:
    """The cosine of the angle between vectors along `dim`, whose norms count as `eps` at least."""
    x, y = lift_all(x1, x2)

    def unit(v: Value) -> Value:
        size = vector_norm(v, 2, dim, keepdim=True)
        return v / where(size < eps, eps, size)

    return reduce("sum", unit(x) * unit(y), dim)


@rounded_once
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Value:
    """The p-norm of `x1 - x2 + eps` along the last axis."""
    return vector_norm(binary("sub", x1, x2) + eps, p, -1, keepdim)


def softmin(x: Value, dim: int | None = None, dtype: Any = None) -> Value:
    """The softmax of `-x`."""
    return softmax(-x, dim, dtype)
