"""A short run of the random programs, and the kept ones: `make fuzz` is the long run."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, find, given, seed, settings

from graphir.tracing import trace
from tests.fuzz import corpus
from tests.fuzz.compare import Report, compare
from tests.fuzz.expect import expected, faults
from tests.fuzz.generate import programs, seeded
from tests.fuzz.program import Program, from_json, is_valid
from tests.fuzz.reduce import reduced
from tests.fuzz.work import quick_builds

# Programs a test; the tests are few and alike, so that workers share them.
EXAMPLES, TESTS = 12, 6
KEPT = corpus.load()


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Kernels are built with -O1; torch and NumPy may warn of what a program does."""
    with quick_builds(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def assert_no_mismatch(program: Program) -> Report:
    report = compare(program)
    faults = "\n".join(map(str, report.mismatches))
    assert not report.mismatches, f"{faults}\n\n{program.script()}\n# {program.to_json()}"
    return report


@pytest.mark.parametrize("start", range(TESTS))
def test_random_programs(start: int) -> None:
    """On every backend value, gradient and second gradient are those of float64."""
    compared = 0

    @seed(start)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, print_blob=False,
        phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(programs())
    def run(program: Program) -> None:
        nonlocal compared
        compared += not assert_no_mismatch(program).refused

    run()
    assert compared > EXAMPLES // 2


@pytest.mark.parametrize("program", KEPT, ids=range(len(KEPT)))
def test_kept_programs(program: Program) -> None:
    """What was once wrong is right, and stays so."""
    assert not assert_no_mismatch(program).refused


def test_a_seed_is_a_program_and_a_program_is_text() -> None:
    for number in range(20):
        program = seeded(number)
        assert program == seeded(number)
        assert from_json(program.to_json()) == program
        assert is_valid(program)


def has_square(program: Program) -> bool:
    return any("square" in step.text for step in program.steps)


def test_hypothesis_shrinks_a_program_to_the_line_at_fault() -> None:
    found = find(
        programs(), has_square, random=random.Random(1),
        settings=settings(max_examples=3000, deadline=None, database=None,
                          suppress_health_check=list(HealthCheck)),
    )  # fmt: skip
    assert is_valid(found)
    # No program is drawn with fewer lines than two.
    assert len(found.steps) <= 2
    assert len(found.arguments) == 1
    assert found.arguments[0].shape == ()


def test_a_seeds_program_is_reduced_to_the_line_at_fault() -> None:
    program = next(p for p in map(seeded, range(2000)) if has_square(p) and len(p.steps) > 6)
    small = reduced(program, has_square)
    assert is_valid(small)
    assert has_square(small)
    assert len(small.steps) == 1
    assert small.order == 0
    assert not small.second


def test_the_bound_knows_what_a_type_cannot_hold() -> None:
    """A square that is 0 in float32, and one that is infinite, leave nothing of what follows."""

    def there_and_back(x: torch.Tensor) -> torch.Tensor:
        return torch.sqrt(x * x)

    graph = trace(there_and_back, (torch.ones(3),)).graph
    (wanted,) = expected(graph, [np.array([1e-30, 1.0, 1e30], np.float32)])
    assert wanted.bound[0] >= 1e-30
    assert wanted.bound[1] < 1e-4
    assert wanted.steady.tolist() == [True, True, False]


def test_nothing_is_called_wrong_by_few_samples_alone() -> None:
    """One sample's bound is exceeded by what many allow; beyond theirs it is wrong."""

    def cancelling(x: torch.Tensor) -> torch.Tensor:
        return x * 3.0 - x * 2.999

    x = np.linspace(1.0, 2.0, 50).astype(np.float32)
    graph = trace(cancelling, (torch.from_numpy(x),)).graph
    (few,) = expected(graph, [x], samples=1)
    sure = few.surer()
    assert np.all(sure.bound >= few.bound)
    assert np.any(sure.bound > 1.5 * few.bound)
    between = few.value + (few.bound + sure.bound) / 2
    assert faults(between.astype(np.float32), few) is None
    beyond = few.value + 1.5 * sure.bound
    assert "elements are wrong" in str(faults(beyond.astype(np.float32), few))
