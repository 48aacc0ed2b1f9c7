"""Every function of torch that graphir has: value, dtype, gradient and second gradient are torch's,
by the reference evaluator."""

from __future__ import annotations

from dataclasses import replace

import operations as some
import operations_more as more
import pytest
import torch
from comparison import assert_alike, graphirs, torchs
from operations import Operation

ALL: list[Operation] = [
    *some.ELEMENTWISE, *some.REDUCTIONS, *some.PRODUCTS, *more.MOVEMENT, *more.LOSSES, *more.KINKS,
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
