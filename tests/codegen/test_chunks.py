"""A long axis beside the stream is walked in chunks: same numbers, same footprint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from regressions import ALL, SIX, by_name
from steps import program_traffic, step_program, trained

import graphir
from graphir.codegen import blocks
from graphir.codegen.cost import step_sizes
from graphir.codegen.gpu_blocks import choices
from graphir.codegen.machine import GPU, Machine
from graphir.codegen.tile import AxisRole
from graphir.codegen.uses import Choice, Uses
from graphir.runtime.optim import SGD, Adam
from graphir.sizes import Size


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kernel that streams rows walks its longest other axis by 2 elements, in loops that
    are unrolled by 4."""

    def chosen(uses: Uses, sizes: Mapping[int, Size], machine: Machine) -> list[Choice]:
        found = choices(uses, sizes, machine)
        choice = next((c for c in found if c.chunked is None), found[0])
        rest = [a for a in uses.order if a != uses.walk.stream]
        if uses.walk.stream not in uses.order or uses.walk.grid or not rest:
            return [choice]
        longest = max(rest, key=lambda a: choice.extent[a])
        return [replace(choice, extent={**choice.extent, longest: 2}, chunked=longest, wide=4)]

    monkeypatch.setattr(blocks, "choices", chosen)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("regression", ALL, ids=lambda r: r.name)
def test_numbers(regression: Any) -> None:
    optimizer = SGD(lr=0.05, momentum=0.9, weight_decay=0.01)
    got = trained(regression, "interpret", optimizer=optimizer, threads=2)
    wanted = trained(regression, "reference", optimizer=optimizer)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-9)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("regression", SIX, ids=lambda r: r.name)
def test_the_data_is_read_once(regression: Any) -> None:
    program = step_program(regression, GPU)
    assert any(k.loops for k in program.kernels)
    sizes = step_sizes(program, {"rows": 40, "batch": 16})
    read = program_traffic(program, sizes).read
    assert read["x"] == 16 * 5 * 4


@pytest.mark.usefixtures("small_chunks")
def test_a_norm_over_all_chunks_needs_a_second_loop_in_the_epilogue() -> None:
    def clipped(backend: str) -> Any:
        regression = by_name("softmax")
        params, data = regression.arguments(40)
        return graphir.train(
            regression.loss, params, data, optimizer=Adam(lr=0.05), batch_size=16, seed=3,
            clip_norm=0.1, backend=backend, progress=False,
        )  # fmt: skip

    got, wanted = clipped("interpret"), clipped("reference")
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-8, atol=1e-10)
    loops = [x for k in got.program.kernels for x in k.loops]
    assert [x.part for x in loops].count("epilogue") == 2


@pytest.mark.usefixtures("small_chunks")
def test_rows_with_a_softmax_over_many_classes() -> None:
    def scaled(w: Any, x: Any) -> Any:
        return torch.softmax(x * w, 1)

    w, x = torch.randn(11, dtype=torch.float64), torch.randn(7, 11, dtype=torch.float64)
    compiled = graphir.compile(scaled, backend="interpret")
    torch.testing.assert_close(compiled(w, x), scaled(w, x))
    (kernel,) = compiled.explain(w, x).program.kernels
    # The maximum, the sum, the quotient.
    assert [(loop.part, loop.unrolled) for loop in kernel.loops] == [("body", False)] * 3
    assert [a.role for a in kernel.axes].count(AxisRole.CHUNK) == 2


@pytest.mark.parametrize("programs", [1, 12, 13, 40])
@pytest.mark.parametrize("features", [20, 300])
def test_partial_results_of_many_programs(features: int, programs: int) -> None:
    def loss(w: Any, x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(x @ w, y)

    rng = np.random.default_rng(0)
    data = (torch.tensor(rng.normal(size=(700, features))), torch.arange(700) % 9)

    def run(backend: str, threads: int | None) -> Any:
        return graphir.train(
            loss, torch.zeros(features, 9, dtype=torch.float64), data, optimizer=SGD(lr=0.05),
            epochs=2, seed=3, backend=backend, threads=threads, progress=False,
        )  # fmt: skip

    got, wanted = run("interpret", programs), run("reference", None)
    torch.testing.assert_close(got.params, wanted.params, rtol=1e-8, atol=1e-10)
    assert got.program.kernels[0].tuning.fan == (12 if features == 300 else 0)
    again = run("interpret", programs)
    assert torch.equal(got.params, again.params)
