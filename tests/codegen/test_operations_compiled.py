"""Every function of torch that graphir has, with its gradients, on the compiled backends."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import chain

import operations as some
import operations_more as more
import operations_writes as writes
import optree
import pytest
import torch
from comparison import assert_alike, graphirs, torchs
from operations import Operation

# Many in one function: it compiles once.
TOGETHER = 16
GROUPS = {
    "elementwise": some.ELEMENTWISE,
    "reductions": some.REDUCTIONS,
    "products": some.PRODUCTS,
    "movement": more.MOVEMENT,
    "losses": more.LOSSES,
    "kinks": more.KINKS,
    "writes": writes.WRITES,
}


def parts(operations: list[Operation]) -> list[list[Operation]]:
    return [operations[i : i + TOGETHER] for i in range(0, len(operations), TOGETHER)]


BATCHES = [
    pytest.param(part, id=f"{name}-{i}")
    for name, operations in GROUPS.items()
    for i, part in enumerate(parts(operations))
]


@pytest.mark.parametrize("operations", BATCHES)
@pytest.mark.parametrize("backend", ["c", "interpret"])
def test_value_and_gradients(backend: str, operations: list[Operation]) -> None:
    args = list(chain.from_iterable(o.arguments() for o in operations))
    found = graphirs(operations, backend)(*args)
    for operation, ours, theirs in zip(operations, found, torchs(operations, args), strict=True):
        try:
            assert_alike(ours, theirs, max(operation.loose, 2000))
        except AssertionError as error:
            error.add_note(f"{operation} on {backend}")
            raise


@pytest.mark.parametrize(
    "dtype",
    [torch.float16, torch.bfloat16, torch.int8, torch.int16, torch.int32, torch.bool],
    ids=str,
)
@pytest.mark.parametrize("backend", ["c", "interpret"])
def test_other_types(backend: str, dtype: torch.dtype) -> None:
    """Values alone, where torch takes the type."""
    chosen, args = [], []
    close = 4e-2 if dtype is torch.bfloat16 else 4e-3
    for operation in some.ELEMENTWISE + some.REDUCTIONS:
        mine = [(x * 2).round().abs().to(dtype) for x in operation.arguments()]
        with contextlib.suppress(RuntimeError, TypeError, IndexError):
            operation.fn(*mine)
            chosen.append(replace(operation, order=0))
            args += mine
    found = graphirs(chosen, backend)(*args)
    wanted = graphirs(chosen, "reference")(*args)
    assert len(chosen) > 30
    for operation, ours, theirs in zip(chosen, found, wanted, strict=True):
        for a, b in zip(optree.tree_leaves(ours), optree.tree_leaves(theirs), strict=True):
            assert a.dtype == b.dtype
            torch.testing.assert_close(
                a.double(),
                b.double(),
                rtol=close,
                atol=close,
                equal_nan=True,
                msg=lambda text, operation=operation: f"{operation}: {text}",
            )
