"""One kernel a training step, which reads each element of the data once: counted in the tile IR."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from regressions import FEATURES, MORE_PASSES, OTHERS, SIX, Regression, by_name
from steps import MACHINES, footprint, program_traffic, step_program

from graphir.codegen.tile import Load, Store
from graphir.runtime.optim import SGD

OPTIMIZERS = {"plain": SGD(lr=0.1), "momentum": SGD(lr=0.1, momentum=0.9, weight_decay=0.01)}
SIZES = {"rows": 1000, "batch": 100}


def check_one_pass(program: Any, x_bytes: int) -> None:
    """One kernel; every buffer is read once, what the step changes is written once."""
    (kernel,) = program.kernels
    assert kernel.stream is not None
    assert not kernel.grid
    moved = program_traffic(program, SIZES)
    assert moved.read["x"] == x_bytes
    assert moved.passes["x"] == 1
    read, written = footprint(program, SIZES)
    assert moved.read == read
    assert moved.written == written
    assert moved.bytes == sum(read.values()) + sum(written.values())
    assert not any(d.kind == "refused" for d in program.decisions)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("regression", SIX + OTHERS, ids=lambda r: r.name)
def test_a_step_reads_the_data_once(regression: Regression, machine: str, optimizer: str) -> None:
    program = step_program(regression, MACHINES[machine], OPTIMIZERS[optimizer])
    check_one_pass(program, 100 * FEATURES * 4)


@pytest.mark.parametrize("machine", MACHINES)
def test_in_double_precision(machine: str) -> None:
    program = step_program(SIX[0], MACHINES[machine], dtype=torch.float64)
    check_one_pass(program, 100 * FEATURES * 8)


def wide(name: str, features: int, *shapes: tuple[int, ...]) -> Regression:
    """A regression of the usual ones over more features."""
    small = by_name(name)

    def data(rng: Any, rows: int) -> Any:
        return rng.normal(size=(rows, features)), *small.data(rng, rows)[1:]

    return replace(small, params=shapes, data=data)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("regression", "features"),
    [
        (wide("linear", 784, (784,), ()), 784),
        (wide("softmax", 784, (784, 10), (10,)), 784),
        (wide("perceptron", 18, (18, 64), (64,), (64, 64), (64,), (64,), ()), 18),
        (wide("perceptron", 1, (1, 64), (64,), (64, 64), (64,), (64,), ()), 1),
    ],
    ids=["linear-784", "softmax-784", "perceptron-64-64", "one-feature"],
)
def test_wider_models(regression: Regression, features: int, machine: str) -> None:
    check_one_pass(step_program(regression, MACHINES[machine]), 100 * features * 4)


def test_the_step_is_an_update_in_place() -> None:
    program = step_program(SIX[0], MACHINES["cpu"])
    (kernel,) = program.kernels
    stores = [s for s in kernel.epilogue if isinstance(s, Store)]
    assert {s.address.buffer for s in stores} == set(program.outputs)
    assert not any(isinstance(s, Store) for s in (*kernel.preamble, *kernel.body))
    last_load = max(i for i, s in enumerate(kernel.epilogue) if isinstance(s, Load))
    first_store = min(i for i, s in enumerate(kernel.epilogue) if isinstance(s, Store))
    assert last_load < first_store


# How many times the rows of `x` are read, and how many kernels that makes.
PASSES = {
    "batch_standardised": (2, 2),
    "r_squared": (1, 2),
    "correlation": (2, 4),
    "batch_normalised": (2, 5),
    "over_the_batch": (2, 3),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("regression", MORE_PASSES, ids=lambda r: r.name)
def test_what_needs_a_finished_sum_takes_more_passes(regression: Regression, machine: str) -> None:
    program = step_program(regression, MACHINES[machine])
    times, kernels = PASSES[regression.name]
    assert len(program.kernels) == kernels
    assert program_traffic(program, SIZES).read["x"] == times * 100 * FEATURES * 4
    # Each kernel but the last says which sum was waited for.
    for kernel in program.kernels[:-1]:
        reasons = [
            d.reason
            for d in program.decisions
            if d.kind == "refused" and d.subject.startswith(kernel.name)
        ]
        assert any("complete only after the pass" in r for r in reasons), reasons
