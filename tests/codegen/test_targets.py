"""The kernels of the usual models, compiled for GPUs that need not be there: they build, cannot
trap, and fit the chip's shared memory. Spilled registers are only reported: `-rP` prints them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from regressions import SIX, Regression
from steps import step_program

from graphir.codegen.machine import GPU
from graphir.codegen.triton_text import print_triton
from graphir.runtime.optim import SGD
from graphir.runtime.resources import Target, compile_report

pytest.importorskip("triton")

KIB = 1024
TARGETS: dict[str, tuple[Target, int]] = {
    "sm_90": (("cuda", 90, 32), 227 * KIB),
    "gfx942": (("hip", "gfx942", 64), 64 * KIB),
}


def as_in_the_promise(regression: Regression) -> Regression:
    """The same models as large as they may be: 18 features, two hidden layers of 64."""

    def data(rng: Any, rows: int) -> Any:
        return rng.normal(size=(rows, 18)), *regression.data(rng, rows)[1:]

    shapes = {
        "softmax": ((18, 10), (10,)),
        "perceptron": ((18, 64), (64,), (64, 64), (64,), (64,), ()),
    }
    params = shapes.get(regression.name, ((18,), ()))
    return replace(regression, params=params, data=data)


@pytest.mark.targets
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("regression", SIX, ids=lambda r: r.name)
def test_a_step_compiles(regression: Regression, target: str) -> None:
    chip, shared_limit = TARGETS[target]
    optimizer = SGD(lr=0.1, momentum=0.9, weight_decay=0.01)
    program = step_program(as_in_the_promise(regression), GPU, optimizer, torch.float32)
    module = print_triton(program)
    (launch,) = module.launches
    report = compile_report(
        module.source,
        launch.kernel,
        launch.signature,
        target=chip,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )
    print(
        f"{regression.name:>10} {target:>6}: {report.registers:3} registers, "
        f"{report.spill_bytes:5} bytes spilled, {report.stack_bytes:5} of stack, "
        f"{report.shared_bytes / KIB:6.1f} KiB shared, {launch.num_warps} warps"
    )
    assert not report.has_trap
    assert report.shared_bytes <= shared_limit
    assert report.registers > 0
    assert report.text_sizes["cubin" if chip[0] == "cuda" else "hsaco"] > 0
