"""All operations, so many in one function that compiles once."""

from __future__ import annotations

import operations as some
import operations_more as more
import operations_writes as writes
import pytest

_TOGETHER = 16
_GROUPS = {
    "elementwise": some.ELEMENTWISE,
    "reductions": some.REDUCTIONS,
    "products": some.PRODUCTS,
    "movement": more.MOVEMENT,
    "losses": more.LOSSES,
    "kinks": more.KINKS,
    "writes": writes.WRITES,
}
BATCHES = [
    pytest.param(operations[i : i + _TOGETHER], id=f"{name}-{i // _TOGETHER}")
    for name, operations in _GROUPS.items()
    for i in range(0, len(operations), _TOGETHER)
]
