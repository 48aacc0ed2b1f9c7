"""Kernels compiled for GPUs that need not be there: nothing spills, nothing can trap, all fits.

`make test` takes the workloads of the benchmark on all chips, and every other loss of the tests on
one chip each; `make kernels` (GRAPHIR_ALL_KERNELS=1) takes all of them on all chips.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from regressions import ALL, by_name
from steps import trained

from benchmarks.kernels import rows_of
from benchmarks.workloads import WORKLOADS
from graphir.codegen.machine import CHIPS, Chip, gpu
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.codegen.tile import Contract
from graphir.runtime.fitting import fit, objection
from graphir.runtime.optim import SGD, Adam

pytest.importorskip("triton")
pytestmark = pytest.mark.targets

EVERYTHING = os.environ.get("GRAPHIR_ALL_KERNELS") == "1"
MATRIX_UNIT = {"mma", "wgmma", "tcgen05", "mfma"}
WIDE_LOADS = {"ld.global.v4", "cp.async", "cp.async.bulk", "load.x4"}
CONTRACTING = {"softmax_sgd", "softmax_full", "mlp_sgd", "multi_output", "wide_mlp"}
ROWS_OF_FOUR = {w.name for w in WORKLOADS if w.layers[0] % 4 == 0}
"""Workloads whose rows are whole vectors of four elements."""
SAMPLE = [
    (regression.name, name)
    for i, regression in enumerate(ALL)
    for name in (CHIPS if EVERYTHING else [list(CHIPS)[i % len(CHIPS)]])
]


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("workload", [w.name for w in WORKLOADS])
def test_a_workload(workload: str, chip: str) -> None:
    rows = rows_of(workload, True, chip)
    assert [(r.kernel, r.wrong) for r in rows if r.wrong] == []
    assert all(r.registers > 0 for r in rows)
    found = set().union(*(r.instructions for r in rows))
    assert bool(found & MATRIX_UNIT) == (workload in CONTRACTING)
    if workload in ROWS_OF_FOUR:
        assert found & WIDE_LOADS


def _planned(graph: Any, loop: Any, name: str, chip: Chip) -> Any:
    def planned(choices: Mapping[str, int]) -> Program:
        return plan(graph, name=name, machine=gpu(chip), loop=loop, choices=choices)

    return planned


@pytest.mark.parametrize(("name", "chip"), SAMPLE)
def test_a_loss(name: str, chip: str) -> None:
    kinds = [(SGD(lr=0.1, momentum=0.9, weight_decay=0.01), torch.float32)]
    if EVERYTHING:
        kinds += [(Adam(lr=0.1), torch.float32), (Adam(lr=0.1), torch.float64)]
    for optimizer, dtype in kinds:
        made = trained(by_name(name), "reference", optimizer=optimizer, dtype=dtype)
        fitted = fit(_planned(made.graph, made.program.loop, name, CHIPS[chip]), CHIPS[chip])
        for kernel, report in zip(fitted.program.kernels, fitted.reports, strict=True):
            assert objection(report, CHIPS[chip]) is None, kernel.name
            dots = [s for s in kernel.statements() if isinstance(s, Contract) and s.dot]
            # Exact products of float64 are no business of AMD's matrix unit in Triton.
            if dots and dtype is torch.float32:
                assert report.instructions & MATRIX_UNIT, kernel.name
