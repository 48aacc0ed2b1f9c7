"""What the GPU's tests share. Without a GPU they are skipped; `--rehearse` runs them by the
interpreter at small sizes, so that a mistake in a test is found where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from places import Place

HERE = Path(__file__).parent
NO_GPU = "torch finds no GPU here; --rehearse runs these tests by the interpreter"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rehearse", action="store_true", help="GPU tests by the interpreter")
    parser.addoption("--part", default="0/1", help="I/N: every N-th of the tests, from the I-th on")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    there = torch.cuda.is_available() or config.getoption("--rehearse", default=False)
    first, count = map(int, config.getoption("--part", default="0/1").split("/"))
    items[:] = items[first::count]
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if not there:
                item.add_marker(pytest.mark.skip(reason=NO_GPU))


@pytest.fixture(scope="session")
def place() -> Place:
    """The GPU, or where it is rehearsed."""
    if torch.cuda.is_available():
        return Place("triton", "cuda", True)
    return Place("interpret", "cpu", False)
