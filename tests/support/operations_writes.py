"""Writing in place, through views too, and the functions that write into a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from operations import PAIR, Operation
from torch.nn import functional as F

Op = Operation
IDS = torch.tensor([2, 0])
COLUMNS = torch.tensor([[3, 0, 1], [1, 2, 2]])
UNIQUE = torch.tensor([[3, 0, 1], [1, 2, 0]])
T = torch.Tensor


def _on_a_copy(change: Callable[..., Any]) -> Callable[..., T]:
    """`change(y, ...)` of a copy of the first argument, then something that is not linear."""

    def fn(x: T, *rest: T) -> T:
        y = x * 1
        change(y, *rest)
        return y * torch.tanh(y)

    return fn


def _op(name: str, change: Callable[..., Any], *more: tuple[int, ...], **options: Any) -> Op:
    options.setdefault("shapes", ((3, 4), *more))
    return Operation(f"writes: {name}", _on_a_copy(change), **options)


def _set(*index: Any) -> Callable[..., None]:
    key = index[0] if len(index) == 1 else index

    def change(y: T, v: Any = 0.5) -> None:
        y[key] = v

    return change


def _column_sum(y: T, v: T) -> None:
    y[:, 0] += v


def _rows_scaled(y: T) -> None:
    y[1:3] *= 2
    y[0] -= y[1]
    y[::2, 1:] /= 3
    y[-1, -1] = y[0, 0]


def _view_of_a_view(y: T) -> None:
    part = y[1:]
    turned = part.T
    corner = turned[2:, :1]
    corner *= 3
    corner.add_(part[1, 0].clone())
    y[1:] = part.clone() * y[:2].clone()


def _masked_by_itself(y: T) -> None:
    y[y > 0.5] = 0.25
    y[y < -1] = y.sum()
    y[torch.tensor([True, False, True])] = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=y.dtype)


def _columns_masked(y: T) -> None:
    y[:, torch.tensor([True, False, True, False])] = y[:, :1].detach()


def _columns_of_a_row_masked(y: T) -> None:
    y[0, y[0] > 0] = 3.0


def _other_names(x: T) -> tuple[T, ...]:
    y = x * 1
    z = y
    row, flat, turned = y[0], y.view(-1), y.mT
    before = y * 1
    y += x
    row *= 2
    flat[5] = 7.0
    turned[1:3].neg_()
    stopped = y.detach()
    y.mul_(0.5)
    return y, z, row, flat, turned, before, stopped


def _rows_of_parts(x: T) -> T:
    y = x * 1
    a, b = y.narrow(1, 0, 2), y[:, 2:]
    for i in range(3):
        row = y[i]
        row += a[0, 0].clone()
    b.unsqueeze(0).squeeze(0).unflatten(1, (2, 1)).select(0, 1).fill_(2.0)
    y.diagonal().mul_(3)
    torch.diagonal(y, 1).copy_(a[:, 0])
    y.movedim(0, 1)[1:2].sub_(1)
    return y * y


def _accumulated(x: T) -> T:
    out = x.new_zeros(3)
    for k in range(4):
        out[k % 3] += (x[:, k] ** 2).sum()
    return out


def _methods(x: T) -> tuple[T, ...]:
    y = x * 1.5
    y.clamp_(-1.2, 1.4).add_(x, alpha=2).sub_(1).mul_(x).div_(2.5).neg_()
    z = y.sin().exp_() + (x + 2).sqrt_() + (x + 1).log_() + (x * 2).square_().sub_(x)
    w = (y * 2).relu_() + F.relu_(x * 3) + F.elu_(x * 2, 0.7) + F.leaky_relu_(x * 1, 0.2)
    v = (x * 1).masked_fill_(x > 0, -3.0) + (x * 2).tanh_() + (x * 1).lerp_(x * x, 0.3)
    u = (x * 1).pow_(3).add_(x).addcmul_(x, x, value=0.5).tril_().cumsum_(1)
    t = torch.empty_like(x).zero_().add_(1).fill_(2).copy_(x[0])
    s = (x * 1).clamp_min_(0.3).gt_(0.6)
    return y, z, w, v, u, t, s, torch.sigmoid_(x * 1), torch.square_(x * 3)


def _out(x: T) -> tuple[T, ...]:
    with torch.no_grad():
        y = torch.zeros_like(x)
        row = y[1]
        torch.exp(x, out=y)
        torch.add(x, x, out=y) if x.dtype == torch.bool else torch.mul(y, x, out=y)
        values, places = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0], dtype=torch.int64)
        torch.max(x, 1, out=(values, places))
    return y, row, values, places


WRITES = [
    _op("column", _column_sum, (3,)),
    _op("rows", _rows_scaled),
    _op("view of a view", _view_of_a_view),
    _op("element", _set(1, 2), ()),
    _op("row", _set(1), (4,)),
    _op("wide row", _set(1), (1, 1, 4)),
    _op("step", _set(slice(None, None, 2), slice(3, 0, None)), (2, 1)),
    _op("none", _set(slice(1, 3), None, 2), (2, 1)),
    _op("dots", _set(..., -1), (3,)),
    _op("all", _set(...), (4,)),
    _op("number", _set(slice(1, None))),
    _op("ids", _set(IDS), (2, 4)),
    _op("ids of columns", _set(slice(None), torch.tensor([3, 1])), (3, 2)),
    _op("ids from the end", _set(torch.tensor([-1, 0])), (4,)),
    _op("list", _set([2, 1]), (2, 4)),
    _op("pairs", _set(IDS, torch.tensor([1, 3])), (2,)),
    _op("apart", _set(IDS, None, torch.tensor([1, 3])), (2, 1)),
    _op("crossed", _set(torch.tensor([[2], [0]]), torch.tensor([1, 3])), (2, 2)),
    _op("row and ids", _set(1, torch.tensor([3, 0])), (2,)),
    _op("ids after a slice", _set(slice(1, 3), torch.tensor([[3, 0]])), (2, 1, 2)),
    _op("mask", _masked_by_itself),
    _op("mask of columns", _columns_masked),
    _op("mask in a row", _columns_of_a_row_masked),
    _op("masked by a number", lambda y, v: _set(y > 0)(y, v), (), order=2),
    _op("of a vector", _set(slice(1, None, 2)), shapes=((5,), (2,))),
    _op("of 5-d", _set(0, ..., slice(1, None), 0), shapes=((2, 1, 2, 3, 2), (2,))),
    _op("of a number", lambda y: y.add_(1).mul_(y.clone()), shapes=((),)),
    _op("of one", _set(0), shapes=((1, 1), (1,))),
    _op("of nothing", _set(slice(0, 0))),
    Op("writes: other names", _other_names),
    Op("writes: parts", _rows_of_parts),
    Op("writes: accumulated", _accumulated),
    Op("writes: methods", _methods, domain=(0.1, 0.9)),
    Op("writes: out", _out, order=0),
    _op("index_add_", lambda y, v: y.index_add_(1, torch.tensor([2, 0, 2]), v, alpha=2), (3, 3)),
    _op("index_copy_", lambda y, v: y.index_copy_(0, IDS, v), (2, 4)),
    _op("index_fill_", lambda y: y.index_fill_(1, IDS, 1.5)),
    _op("index_put_", lambda y, v: y.index_put_((IDS,), v), (2, 4)),
    _op(
        "index_put_ adds",
        lambda y, v: y.index_put_((torch.tensor([1, 1, 0]), IDS[[0, 0, 1]]), v, accumulate=True),
        (3,),
    ),
    _op("scatter_", lambda y, v: y.scatter_(1, UNIQUE, v), (2, 3)),
    _op("scatter_ of a number", lambda y: y.scatter_(1, COLUMNS, 2.5)),
    _op("scatter_add_", lambda y, v: y.scatter_add_(1, COLUMNS, v), (2, 3)),
    _op("scatter_add_ of rows", lambda y, v: y.scatter_add_(0, COLUMNS % 3, v), (2, 3)),
    Op(
        "index functions",
        lambda x, y: (
            torch.index_add(x, 0, IDS, y[:2]),
            x.index_copy(1, IDS, y[:, :2]),
            torch.index_fill(x, 0, IDS, -2.0),
            torch.index_put(x, (IDS, IDS), y[0, :2]),
            x.index_put((torch.tensor([0, 0]),), y[1], accumulate=True),
        ),
        PAIR,
    ),
    Op(
        "scatter functions",
        lambda x, y: (
            torch.scatter(x, 1, UNIQUE, y[:2, 1:]),
            x.scatter(0, UNIQUE % 3, 1.5),
            torch.scatter_add(x, 1, COLUMNS, y[1:, :3]),
            torch.select_scatter(x, y[0], 0, -1),
            torch.slice_scatter(x, y[:, :2], 1, 1, None, 2),
            torch.diagonal_scatter(x, y[0, :3]),
            torch.diagonal_scatter(x, y[0, :2], -1),
        ),
        PAIR,
    ),
]
