"""Random programs, each on every backend against float64: the kept ones, and some by their seeds.

The long run is `make fuzz`.
"""

from __future__ import annotations

import pytest

from tests.fuzz import corpus
from tests.fuzz.generate import seeded
from tests.fuzz.program import Program
from tests.fuzz.work import examined

KEPT = corpus.load()
SEEDS = range(40)


def assert_agrees(program: Program) -> None:
    report = examined(program)
    assert not report.mismatches, f"{report.mismatches[0]}\n\n{program.source()}"


@pytest.mark.parametrize("number", range(len(KEPT)))
def test_kept_programs(number: int) -> None:
    assert_agrees(KEPT[number])


@pytest.mark.parametrize("seed", SEEDS)
def test_programs_by_seed(seed: int) -> None:
    assert_agrees(seeded(seed))
