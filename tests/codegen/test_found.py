"""Functions of which random programs once found a kernel to be wrong, reduced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optree
import pytest
import torch
from torch.nn import functional as F

import graphir

BACKENDS = ["c", "interpret"]


@dataclass(frozen=True)
class Found:
    """A function of tensors of these shapes, and the axes whose size varies."""

    name: str
    fn: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    dynamic: Any = ()
    dtype: torch.dtype = torch.float64

    def arguments(self) -> list[torch.Tensor]:
        rng = torch.Generator().manual_seed(1)
        return [torch.rand(s, generator=rng, dtype=self.dtype) + 0.3 for s in self.shapes]

    def __str__(self) -> str:
        return self.name


ROWS = torch.tensor([2, 0, 1])
FIRST = torch.zeros(2, 1, 33, dtype=torch.int64)


def _xlogy(x: Any, y: Any) -> Any:
    return torch.xlogy(x, y)


def _logaddexp(x: Any, y: Any) -> Any:
    return torch.logaddexp(x, y)


def _running(x: Any) -> Any:
    """An axis of one element runs through more of it than any other."""

    def total(x: Any) -> Any:
        y = torch.cumsum(torch.take_along_dim(x, FIRST, 0), 2)
        return ((y + 0.7) * y).sum() + x.mean((0, 2, 1)) ** 2

    first = graphir.grad(total)
    return graphir.grad(lambda x: (first(x) ** 2).sum())(x)


FOUND = [
    Found(
        "rows of a padded value",
        lambda x: F.pad(x, (0, 1, 2, 0, 1, 1))[:, ROWS],
        ((1, 1, 9),),
        {"x": 2},
    ),
    Found("an empty result", lambda x: (x[:, 0:0], x[:, :0].sum()), ((3, 2),)),
    Found("an empty operand", lambda x: (x[:, 0:0].mT @ x, x[:, :0] @ x[:0]), ((5, 1),)),
    Found("truth of scalars", _xlogy, ((7,), (1,)), {"x": 0}),
    Found(
        "a repeated row with itself",
        lambda p, x: x.tile((2, 1)).mT @ x.tile((2, 1)) + p,
        ((1,), (6,)),
        {"x": 0},
        torch.float32,
    ),
]  # fmt: skip


@pytest.mark.parametrize("found", FOUND, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_values(backend: str, found: Found) -> None:
    args = found.arguments()
    got = graphir.compile(found.fn, backend=backend, dynamic=found.dynamic)(*args)
    wanted = optree.tree_leaves(found.fn(*args))
    for ours, theirs in zip(optree.tree_leaves(got), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_element_is_not_streamed(backend: str) -> None:
    x = torch.rand(1, 1, 33)
    got = graphir.compile(_running, backend=backend)(x)
    torch.testing.assert_close(got, graphir.compile(_running, backend="reference")(x))


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
def test_a_number_in_an_array_yields_to_the_type_of_the_others(backend: str) -> None:
    """Also where a condition gives it their shape first."""
    x, y = torch.rand(2, 3), torch.tensor(0.7, dtype=torch.float64)
    for args in ((x, y), (y, x), (x.double(), y.float())):
        for function, by_torch in ((_xlogy, torch.xlogy), (_logaddexp, torch.logaddexp)):
            got = graphir.compile(function, backend=backend, dynamic=())(*args)
            torch.testing.assert_close(got, by_torch(*args))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("rows", [9, 70])
def test_extrema_are_multiplied_without_what_lies_beyond_them(rows: int, backend: str) -> None:
    """An accumulator of extrema holds infinities beyond its end, which no product may add up."""

    def products(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, ...]:
        high, low = x.amax(0), x.amin(0)
        return high @ low, high @ w, torch.outer(low, high), x.prod(0) @ high

    x = torch.rand(rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    w = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(5, 3)
    got = graphir.compile(products, backend=backend, dynamic={"x": (0,)})(x, w)
    for ours, theirs in zip(got, products(x, w), strict=True):
        torch.testing.assert_close(ours, theirs)
