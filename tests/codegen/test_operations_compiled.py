"""Every function of torch that graphir has, with its gradients, on the compiled backends."""

from __future__ import annotations

from itertools import chain

import operations as some
import operations_more as more
import pytest
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
