"""Every function of torch that graphir has: value, dtype, gradient and second gradient are torch's,
by the reference evaluator."""

from __future__ import annotations

from dataclasses import replace

import operations as some
import operations_more as more
import operations_writes as writes
import optree
import pytest
import torch
from comparison import assert_alike, graphirs, torchs
from operations import Operation

ALL: list[Operation] = [
    *some.ELEMENTWISE, *some.REDUCTIONS, *some.PRODUCTS, *more.MOVEMENT, *more.LOSSES, *more.KINKS,
    *writes.WRITES,
]  # fmt: skip


def test_names_are_given_once() -> None:
    assert len({str(operation) for operation in ALL}) == len(ALL)


@pytest.mark.parametrize("operation", ALL, ids=str)
def test_value_and_gradients(operation: Operation) -> None:
    args = operation.arguments()
    found = graphirs([operation])(*args)
    assert_alike(found, torchs([operation], args), operation.loose)


@pytest.mark.parametrize("operation", ALL, ids=str)
def test_float32(operation: Operation) -> None:
    args = operation.arguments(torch.float32)
    plain = replace(operation, order=0)
    found = graphirs([plain])(*args)
    assert_alike(found, torchs([plain], args), 200)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
    ],
    ids=str,
)
def test_other_types(dtype: torch.dtype) -> None:
    """Where torch takes the type, graphir gives its result and dtype."""
    compared = 0
    # torch rounds once where a function is a row of operations here.
    close = 4e-2 if dtype is torch.bfloat16 else 4e-3
    for operation in ALL:
        args = [(x.abs() * 2).round().to(dtype) for x in operation.arguments()]
        try:
            wanted = operation.fn(*args)
        except (RuntimeError, TypeError, IndexError, ValueError):
            continue
        found = graphirs([replace(operation, order=0)])(*args)
        ours, theirs = optree.tree_leaves(found), optree.tree_leaves(wanted)
        for a, b in zip(ours, theirs, strict=True):
            a, b = torch.as_tensor(a), torch.as_tensor(b)
            assert (a.dtype, a.shape) == (b.dtype, b.shape), operation.name
            torch.testing.assert_close(
                a.double(), b.double(), rtol=close, atol=close, equal_nan=True,
                msg=lambda text, operation=operation: f"{operation}: {text}",
            )  # fmt: skip
        compared += 1
    assert compared > 60
