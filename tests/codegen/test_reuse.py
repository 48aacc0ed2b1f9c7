"""Intermediates of several kernels share memory where they are never in use together."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

import graphir
from graphir.codegen.machine import CPU
from graphir.codegen.reuse import scratch_slots
from graphir.codegen.schedule import plan


def chain(x: Any) -> Any:
    """Products of a matrix with itself and its transpose: no two of them fit one kernel."""
    for _ in range(5):
        x = torch.tanh(x @ x.T) / 8
    return x


def test_a_chain_of_kernels_needs_the_memory_of_two() -> None:
    x = torch.randn(40, 40, dtype=torch.float64)
    compiled = graphir.compile(chain, backend="c", dynamic=())
    program = plan(compiled.graph(x), name="chain", machine=CPU)
    assert len(program.kernels) >= 5
    slots = scratch_slots(program)
    assert sum(map(len, slots)) >= 4
    assert len(slots) <= 3
    uses = {
        b.name: [k for k, kernel in enumerate(program.kernels) if b.name in kernel.buffers]
        for slot in slots
        for b in slot
    }
    for slot in slots:
        for before, after in pairwise(slot):
            assert max(uses[before.name]) < min(uses[after.name])
    torch.testing.assert_close(compiled(x), chain(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(compiled(2 * x), chain(2 * x), rtol=1e-12, atol=1e-12)


def test_explain_tells_of_it() -> None:
    x = torch.randn(40, 40)
    text = str(graphir.compile(chain, backend="c", dynamic=()).explain(x))
    assert "intermediates between kernels" in text
    assert "in turn in" in text
