"""Whole training steps as `graphir.train` makes them, scheduled for either machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from regressions import Regression

import graphir
from graphir.codegen.cost import Traffic, step_sizes, traffic
from graphir.codegen.machine import CPU, GPU, Machine
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.runtime.optim import SGD

MACHINES = {"cpu": CPU, "gpu": GPU}
ROWS, BATCH = 40, 16


def trained(
    regression: Regression,
    backend: str,
    *,
    optimizer: Any = None,
    rows: int = ROWS,
    batch: int = BATCH,
    epochs: int = 1,
    dtype: torch.dtype = torch.float64,
    threads: int | None = None,
) -> Any:
    """A training of a few steps, with shuffled rows and a last batch that is not full."""
    params, data = regression.arguments(rows, dtype)
    return graphir.train(
        regression.loss,
        params,
        data,
        optimizer=optimizer or SGD(lr=0.05),
        batch_size=batch,
        epochs=epochs,
        seed=3,
        backend=backend,
        threads=threads,
        progress=False,
    )


def step_program(
    regression: Regression,
    machine: Machine,
    optimizer: Any = None,
    dtype: torch.dtype = torch.float32,
) -> Program:
    """The program of a whole training step for `machine`; nothing is built."""
    result = trained(regression, "reference", optimizer=optimizer, dtype=dtype)
    loop = result.program.loop
    return plan(result.graph, name=regression.name, machine=machine, loop=loop)


def program_traffic(program: Program, sizes: Mapping[str, int]) -> Traffic:
    """What all kernels of a step move together; buffers read by two kernels count twice."""
    read: dict[str, int] = {}
    written: dict[str, int] = {}
    passes: dict[str, int] = {}
    flops = 0
    for kernel in program.kernels:
        cost = traffic(kernel, program, sizes)
        for total, part in ((read, cost.read), (written, cost.written), (passes, cost.passes)):
            for name, count in part.items():
                total[name] = total.get(name, 0) + count
        flops += cost.flops
    return Traffic(read, written, flops, passes)


def footprint(program: Program, sizes: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """The least that a step can move: bytes of each buffer once, read and written."""
    found = step_sizes(program, sizes)
    assert program.loop is not None
    rows = found[program.loop.dim]
    read, written = {}, {}
    for buffer in program.buffers:
        elements = int(np.prod([s for s in buffer.shape if isinstance(s, int)], dtype=int))
        if buffer.binding.value == "rows" or buffer.name == "order":
            elements *= rows
        if buffer.role.value == "input":
            read[buffer.name] = elements * buffer.dtype.itemsize
        if buffer.name in program.outputs:
            written[buffer.name] = elements * buffer.dtype.itemsize
    return read, written
