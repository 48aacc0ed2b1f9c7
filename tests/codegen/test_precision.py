"""Precision is a meaning in the tile IR, spelled for each chip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.codegen.machine import CHIPS, PRECISIONS, Chip, Precision, chip_of, gpu
from graphir.codegen.schedule import plan
from graphir.codegen.tile import Contract
from graphir.codegen.triton_text import print_triton
from graphir.simplify import simplify
from graphir.tracing import trace

SPELLED = {
    ("cuda", "highest"): 'input_precision="tf32x3"',
    ("cuda", "high"): 'input_precision="tf32"',
    ("cuda", "medium"): ".to(tl.bfloat16)",
    ("hip", "highest"): 'input_precision="ieee"',
    ("hip", "high"): 'input_precision="tf32"',
    ("hip", "medium"): ".to(tl.bfloat16)",
}


def product(w: Any, x: Any) -> Any:
    return torch.relu(x @ w)


def text(chip: Chip, precision: Precision, dtype: torch.dtype = torch.float32) -> str:
    args = (torch.zeros(32, 32, dtype=dtype), torch.zeros(64, 32, dtype=dtype))
    graph = simplify(trace(product, args, dynamic=None).graph)
    program = plan(graph, name="product", machine=gpu(chip), precision=precision)
    contracts = [s for s in program.kernels[0].statements() if isinstance(s, Contract)]
    assert [c.precision for c in contracts] == [precision]
    return print_triton(program).source


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda c: c.name)
def test_each_chip_spells_it(chip: Chip, precision: Precision) -> None:
    (line,) = [x for x in text(chip, precision).splitlines() if "tl.dot" in x]
    assert SPELLED[chip.backend, precision] in line


@pytest.mark.parametrize("precision", PRECISIONS)
def test_float64_is_always_exact(precision: Precision) -> None:
    for chip in CHIPS.values():
        assert 'input_precision="ieee"' in text(chip, precision, torch.float64)


def test_rounding_of_operands_in_the_interpreter() -> None:
    w, x = torch.randn(32, 24), torch.randn(40, 32)
    exact = (x.double() @ w.double()).relu()
    errors = {
        precision: float(
            (graphir.compile(product, backend="interpret", precision=precision)(w, x) - exact)
            .abs()
            .max()
        )
        for precision in PRECISIONS
    }
    assert errors["highest"] < 1e-5
    assert 1e-3 < errors["medium"] < 0.5


def test_training_takes_it() -> None:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return ((x @ w - y) ** 2).mean()

    rng = np.random.default_rng(0)
    data = (rng.normal(size=(40, 20)).astype(np.float32), rng.normal(size=(40, 18)))
    data = (data[0], data[1].astype(np.float32))

    def trained(precision: Precision) -> Any:
        return graphir.train(
            loss, np.zeros((20, 18), np.float32), data, optimizer=graphir.optim.SGD(lr=0.1),
            backend="interpret", precision=precision, progress=False,
        )  # fmt: skip

    exact, rounded = trained("highest"), trained("medium")
    assert "tl.bfloat16" in rounded.kernels[0].source
    assert "tl.bfloat16" not in exact.kernels[0].source
    assert 0 < np.abs(exact.params - rounded.params).max() < 1e-2


@pytest.mark.parametrize("make", [graphir.compile, lambda f, **k: graphir.train(f, 0, 0, **k)])
def test_an_unknown_name(make: Any) -> None:
    options = {} if make is graphir.compile else {"optimizer": graphir.optim.SGD(lr=1.0)}
    with pytest.raises(graphir.BackendError, match=r"no precision 'exact'.*\n.*medium"):
        make(product, precision="exact", **options)


def test_chips_without_a_row() -> None:
    assert chip_of("cuda", 90) is CHIPS["sm_90"]
    assert chip_of("cuda", 89).shared_bytes == 99 * 1024
    assert chip_of("hip", "gfx1100").warp == 32
    assert "tf32" not in chip_of("hip", "gfx90a").dots
