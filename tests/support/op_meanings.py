"""Every op of the table in torch's functions: what its value and its derivatives must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from graphir.opdef import OPS
from graphir.ops.random import philox

Tensor = torch.Tensor
# Why some ops have a value alone.
NO_DERIVATIVE: Mapping[str, str] = {
    **dict.fromkeys(["eq", "ne", "lt", "le", "gt", "ge"], "its result is a truth value"),
    **dict.fromkeys(["logical_and", "logical_or", "logical_not"], "its result is a truth value"),
    **dict.fromkeys(["quotient", "random_bits"], "its result is a whole number"),
    **dict.fromkeys(
        [name for name in OPS if name.startswith("bitwise_")], "of whole numbers alone"
    ),
    **dict.fromkeys(["input", "constant", "size", "iota"], "it has no operand"),
}


def _broadcast(x: Tensor, shape: Sequence[int], dims: Sequence[int]) -> Tensor:
    sizes = [1] * len(shape)
    for axis, at in enumerate(dims):
        sizes[at] = x.shape[axis]
    return x.reshape(sizes).expand(*shape)


def _places(start: int, step: int, count: int) -> Tensor:
    return start + step * torch.arange(count)


def _embed(x: Tensor, axis: int, start: int, step: int, length: int) -> Tensor:
    shape = list(x.shape)
    shape[axis] = length
    return x.new_zeros(shape).index_copy(axis, _places(start, step, x.shape[axis]), x)


def _scatter_add(x: Tensor, index: Tensor, size: int) -> Tensor:
    return x.new_zeros((size, *x.shape[index.ndim :])).index_put((index,), x, accumulate=True)


def _reduction(one: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    def over(x: Tensor, axes: Sequence[int]) -> Tensor:
        for axis in sorted(axes, reverse=True):
            x = one(x, axis)
        return x

    return over


def _extreme(least: bool) -> Callable[[Tensor, int], Tensor]:
    def one(x: Tensor, axis: int) -> Tensor:
        if x.shape[axis]:
            return x.amin(axis) if least else x.amax(axis)
        # torch refuses; the state that changes nothing is the largest, or the least, number.
        end = torch.inf if least else -torch.inf
        return x.new_full((*x.shape[:axis], *x.shape[axis + 1 :]), end)

    return one


def _random_bits(*operands: Tensor) -> Tensor:
    return torch.from_numpy(np.asarray(philox(*(x.numpy() for x in operands))))


MEANINGS: Mapping[str, Callable[..., Tensor]] = {
    **{name: getattr(torch, op.torch[0]) for name, op in OPS.items()
       if op.torch and hasattr(torch, op.torch[0])},
    "contract": lambda x, y, lhs, rhs, out: torch.einsum(f"{lhs},{rhs}->{out}", x, y),
    "custom_vjp": lambda x, rule, output: x.clone(),
    "pow": torch.pow,
    **{name: getattr(torch, name) for name in OPS if name.startswith("bitwise_")},
    "softplus": F.softplus,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "rint": torch.round,
    "trunc": torch.trunc,
    "quotient": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
    "copy": lambda x, tag: x.clone(),
    "stop_gradient": lambda x: x.detach(),
    "where": torch.where,
    "cast": lambda x, dtype: x.to(getattr(torch, dtype.name)),
    "broadcast": _broadcast,
    "reshape": lambda x, shape: x.reshape(shape),
    "permute": lambda x, order: x.permute(order),
    "slice": lambda x, axis, start, step, length: x.index_select(
        axis, _places(start, step, length)
    ),
    "embed": _embed,
    "take": lambda x, index: x[index],
    "scatter_add": _scatter_add,
    "sum": _reduction(lambda x, axis: x.sum(axis)),
    "prod": _reduction(lambda x, axis: x.prod(axis)),
    "amax": _reduction(_extreme(least=False)),
    "amin": _reduction(_extreme(least=True)),
    "random_bits": _random_bits,
}  # fmt: skip


def meaning(op: str, operands: Sequence[Tensor], attrs: Mapping[str, Any]) -> Tensor:
    """The result of an op by torch."""
    return MEANINGS[op](*operands, **attrs)
