"""Every function of torch that graphir has, with its gradients, on the compiled backends."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import operations as some
import optree
import pytest
import torch
from comparison import check_together, graphirs
from operation_batches import BATCHES
from operations import Operation


@pytest.mark.parametrize("operations", BATCHES)
@pytest.mark.parametrize("backend", ["c", "interpret"])
def test_value_and_gradients(backend: str, operations: list[Operation]) -> None:
    check_together(operations, backend)


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
