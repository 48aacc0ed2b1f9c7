"""What every test shares: the same random numbers each time it runs."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """A test that fails can be run again."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - tests of functions that draw from NumPy's own state
    torch.manual_seed(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many cases of op × backend × rule held, from what the tests recorded."""
    held = Counter(
        value
        for report in terminalreporter.stats.get("passed", [])
        for key, value in getattr(report, "user_properties", [])
        if key == "op case"
    )
    if held:
        ops, backends, rules = (
            len(set(part)) for part in zip(*(c.split("|") for c in held), strict=True)
        )
        terminalreporter.write_line(
            f"{len(held)} cases of op × backend × rule ({ops} ops, {backends} backends, "
            f"{rules} rules), compared {held.total()} times"
        )
