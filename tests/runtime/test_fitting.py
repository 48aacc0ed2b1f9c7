"""What the compiler reports goes back to the scheduler's choice of blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from regressions import by_name
from steps import step_program

from graphir.codegen.machine import SM_90, gpu
from graphir.codegen.program import Program, choices_of
from graphir.codegen.schedule import plan
from graphir.codegen.triton_text import print_triton
from graphir.errors import BackendError
from graphir.runtime import fitting
from graphir.runtime.cache import DiskCache
from graphir.runtime.fitting import fit, fitted_program, objection
from graphir.runtime.resources import ResourceReport

CLEAN = ResourceReport(("cuda", 90, 32), 100, 0, 0, 1024, 0, frozenset(), False, {"cubin": 1})


@pytest.fixture(scope="module")
def planned() -> Callable[[Mapping[str, int]], Program]:
    program = step_program(by_name("softmax"), gpu(SM_90), dtype=torch.float32)
    assert program.graph is not None

    def planned(choices: Mapping[str, int]) -> Program:
        assert program.graph is not None
        return plan(
            program.graph, name="fitted", machine=gpu(SM_90), loop=program.loop, choices=choices
        )

    return planned


def compiler(monkeypatch: pytest.MonkeyPatch, says: Callable[[int], ResourceReport]) -> list[int]:
    """A compiler that says of the n-th attempt what `says` does; the attempts."""
    attempts: list[int] = []

    def report(*_: Any, **__: Any) -> ResourceReport:
        attempts.append(len(attempts))
        return says(attempts[-1])

    monkeypatch.setattr(fitting, "compile_report", report)
    return attempts


def test_what_is_wrong_with_a_report() -> None:
    assert objection(CLEAN, SM_90) is None
    assert "trap" in str(objection(replace(CLEAN, has_trap=True), SM_90))
    assert "shared" in str(objection(replace(CLEAN, shared_bytes=300_000), SM_90))
    assert "tensor" in str(objection(replace(CLEAN, tensor_columns=1), SM_90))
    assert "12 bytes" in str(objection(replace(CLEAN, spill_bytes=12), SM_90))


def test_the_first_choice_stays_where_nothing_spills(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = compiler(monkeypatch, lambda _: CLEAN)
    fitted = fit(planned, SM_90)
    assert fitted.program.kernels[0].choice == 0
    assert attempts == [0]


def test_a_spill_leads_to_the_next_choice(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(monkeypatch, lambda n: CLEAN if n == 2 else replace(CLEAN, spill_bytes=8 + n))
    fitted = fit(planned, SM_90)
    assert fitted.program.kernels[0].choice == 2
    (told,) = [d for d in fitted.program.decisions if d.kind == "blocks"]
    assert told.reason.startswith("choice 3; choice 1: 8 bytes of registers went to memory")


def test_what_does_not_compile_leads_to_the_next_choice(
    planned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(n: int) -> ResourceReport:
        if n == 0:
            raise BackendError("no such layout")
        return CLEAN

    compiler(monkeypatch, says)
    assert fit(planned, SM_90).program.kernels[0].choice == 1


def test_where_all_spill_the_least_is_taken(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(monkeypatch, lambda n: replace(CLEAN, spill_bytes=abs(n - 3) + 4))
    fitted = fit(planned, SM_90)
    assert fitted.program.kernels[0].choice == 3
    assert fitted.reports[0].spill_bytes == 4


def test_where_all_spill_there_are_more_and_smaller_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = step_program(by_name("perceptron"), gpu(SM_90), dtype=torch.float32)
    assert program.graph is not None
    graph, loop = program.graph, program.loop

    def planned(choices: Mapping[str, int]) -> Program:
        return plan(graph, name="fitted", machine=gpu(SM_90), loop=loop, choices=choices)

    whole = planned({})
    count = whole.kernels[0].choices
    compiler(monkeypatch, lambda n: replace(CLEAN, spill_bytes=8) if n < count else CLEAN)
    fitted = fit(planned, SM_90)
    assert len(fitted.program.kernels) > len(whole.kernels) == 1
    assert len(fitted.reports) == len(fitted.program.kernels)
    assert fitted.program.halved > 0
    (told,) = [d for d in fitted.program.decisions if d.kind == "blocks"]
    assert told.subject == "fitted"
    assert "8 bytes of registers went to memory" in told.reason
    again = planned(choices_of(fitted.program))
    assert print_triton(again).source == fitted.module.source


def test_where_none_compiles(planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(n: int) -> ResourceReport:
        raise BackendError(f"failure {n}")

    compiler(monkeypatch, says)
    with pytest.raises(BackendError, match="failure"):
        fit(planned, SM_90)


def test_choices_are_kept_on_disk(
    planned: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = DiskCache(tmp_path / "cache")
    attempts = compiler(monkeypatch, lambda n: CLEAN if n else replace(CLEAN, spill_bytes=4))
    first = fitted_program(planned, SM_90, cache)
    again = fitted_program(planned, SM_90, cache)
    assert first.kernels[0].choice == again.kernels[0].choice == 1
    assert first.decisions == again.decisions
    assert attempts == [0, 1]
