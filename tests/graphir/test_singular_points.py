"""Kinks, ties, poles and infinities: torch's value and gradient, and its second gradient where that
is a number, on every backend."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from singular import FIRST_ONLY, KEPT, POINTS, Point

import graphir

pytestmark = pytest.mark.filterwarnings("ignore:(std|var)")
BACKENDS = ("reference", "c", "interpret")
# What must be finite, also in second gradients, though torch's is NaN.
FINITE = (
    *("norm", "norm of rows", "Frobenius", "1.5-norm of zeros", "var of constants"),
    *("std of constants", "std of rows", "softplus", "logsigmoid", "log_softmax far out"),
)


def weighted(y: Any, step: int) -> Any:
    count = 1
    for size in y.shape:
        count *= size
    weights = torch.linspace(0.5, 1.5 + step, max(count, 1), dtype=y.dtype)[:count]
    return (y * weights.reshape(tuple(y.shape))).sum()


@functools.cache
def torchs(point: Point) -> list[list[torch.Tensor]]:
    """The value, the gradients and the second gradients by torch's autograd."""
    xs = [x.requires_grad_() for x in point.arguments()]
    y = point.fn(*xs)
    out, step = [[y.detach()]], 0
    parts = [y]
    while step < point.order:
        total = sum(weighted(p, step) for p in parts)
        moves = isinstance(total, torch.Tensor) and total.requires_grad
        found: Sequence[Any] = [None] * len(xs)
        if moves:
            found = torch.autograd.grad(
                total, xs, create_graph=step + 1 < point.order, allow_unused=True
            )
        parts = [torch.zeros_like(x) if g is None else g for x, g in zip(xs, found, strict=True)]
        out.append([p.detach() for p in parts])
        step += 1
    return out


@functools.cache
def graphirs(backend: str) -> dict[str, list[list[torch.Tensor]]]:
    """The same of all points, by one compiled function."""

    def one(point: Point, args: Sequence[Any]) -> Any:
        places = tuple(range(len(args)))
        first = graphir.grad(lambda *a: weighted(point.fn(*a), 0), places)
        second = graphir.grad(lambda *a: sum(weighted(g, 1) for g in first(*a)), places)
        return [[point.fn(*args)], list(first(*args)), list(second(*args))]

    def everything(*args: Any) -> Any:
        rest = list(args)
        return {p.name: one(p, [rest.pop(0) for _ in p.at]) for p in POINTS}

    arguments = [x for p in POINTS for x in p.arguments()]
    found: dict[str, list[list[torch.Tensor]]] = graphir.compile(
        everything, backend=backend, dynamic=()
    )(*arguments)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("point", POINTS, ids=lambda p: p.name)
def test_a_singular_point_is_as_in_torch(point: Point, backend: str) -> None:
    ours = graphirs(backend)[point.name]
    for order, wanted in enumerate(torchs(point)):
        for found, want in zip(ours[order], wanted, strict=True):
            known = torch.ones_like(want, dtype=torch.bool)
            if order == 2 or (order == 1 and point.kept):
                known = ~want.isnan()
            torch.testing.assert_close(
                found[known], want[known], rtol=1e-7, atol=1e-10, equal_nan=True,
                msg=lambda text, order=order: f"derivative {order}: {text}",
            )  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", FINITE)
def test_second_gradients_are_numbers_where_the_mathematics_has_them(name, backend) -> None:
    for parts in graphirs(backend)[name]:
        assert all(p.isfinite().all() for p in parts)


def test_exceptions_are_of_points_and_needed() -> None:
    points = {p.name: p for p in POINTS}
    assert len(points) == len(POINTS)
    assert set(FIRST_ONLY) | set(KEPT) | set(FINITE) <= set(points)
    for name in KEPT:
        assert any(g.isnan().any() for g in torchs(points[name])[1])
        assert not any(g.isnan().any() for g in graphirs("reference")[name][1])
