"""Operations in one function with their derivatives, as graphir and as torch compute them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import optree
import torch
from operations import Operation

import graphir
from tests.support.derivatives import gradients


def _weighted(results: Any, step: int = 0) -> Any:
    """A sum of the floating results in which each element has a weight of its own."""
    total = None
    for i, y in enumerate(optree.tree_leaves(results)):
        if not y.dtype.is_floating_point:
            continue
        count = 1
        for size in y.shape:
            count *= size
        weights = torch.linspace(0.5 + 0.1 * i, 1.5 + step, max(count, 1), dtype=y.dtype)
        weights = weights[:count].reshape(tuple(y.shape))
        part = (y * weights).sum()
        total = part if total is None else total + part
    assert total is not None
    return total


def graphirs(operations: Sequence[Operation], backend: str = "reference") -> Callable[..., Any]:
    """A compiled function of all their arguments: results, gradients, second gradients."""

    def one(operation: Operation, args: Sequence[Any]) -> Any:
        places = tuple(range(len(args)))

        def total(*args: Any) -> Any:
            return _weighted(operation.fn(*args))

        def second(*args: Any) -> Any:
            return _weighted(graphir.grad(total, places)(*args), 1)

        out = [operation.fn(*args)]
        if operation.order > 0:
            out.append(graphir.grad(total, places)(*args))
        if operation.order > 1:
            out.append(graphir.grad(second, places)(*args))
        return out

    def everything(*args: Any) -> Any:
        rest = list(args)
        results = []
        for operation in operations:
            mine = [rest.pop(0) for _ in operation.arguments()]
            results.append(one(operation, mine))
        return results

    return graphir.compile(everything, backend=backend, dynamic=())


def torchs(operations: Sequence[Operation], args: Sequence[torch.Tensor]) -> Any:
    """The same by torch and its autograd."""
    rest = list(args)
    results = []
    for operation in operations:
        xs = [rest.pop(0).clone().requires_grad_() for _ in operation.arguments()]
        y = operation.fn(*xs)
        out: list[Any] = [optree.tree_map(lambda t: t.detach(), y)]
        if operation.order > 0:
            first = gradients(_weighted(y), xs)
            out.append(tuple(g.detach() for g in first))
        if operation.order > 1:
            out.append(gradients(_weighted(first, 1), xs))
        results.append(out)
    return results


def assert_alike(found: Any, wanted: Any, loose: float) -> None:
    """Equal shapes and dtypes, and numbers within so many units of the last place."""
    ours, theirs = optree.tree_leaves(found), optree.tree_leaves(wanted)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        b = torch.as_tensor(b).detach()
        a = torch.as_tensor(a)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        unit = torch.finfo(b.dtype).eps if b.is_floating_point() else 0
        finite = b.double()[torch.isfinite(b)]
        size = max(1.0, float(finite.abs().max())) if finite.numel() else 1.0
        error = loose * unit * size
        torch.testing.assert_close(a, b, rtol=0, atol=error, equal_nan=True, check_stride=False)


def check_together(
    operations: Sequence[Operation], backend: str, *, device: str = "cpu", what: str = ""
) -> None:
    """Value and gradients of all of them, compiled as one function, against torch in float64.

    Args:
        what: told beside the operation that differs.
    """
    args = list(chain.from_iterable(o.arguments() for o in operations))
    found = graphirs(operations, backend)(*(x.to(device) for x in args))
    for operation, ours, theirs in zip(operations, found, torchs(operations, args), strict=True):
        ours = optree.tree_map(lambda x: x.cpu() if isinstance(x, torch.Tensor) else x, ours)
        try:
            assert_alike(ours, theirs, max(operation.loose, 2000))
        except AssertionError as error:
            error.add_note(f"{operation} {what} on {backend}")
            raise
