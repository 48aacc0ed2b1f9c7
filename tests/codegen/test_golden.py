"""The whole text of two training steps, to be read in review, each beside its numbers.

A change of the generated text that is meant is accepted with

    GRAPHIR_REFRESH_GOLDEN=1 python -m pytest tests/codegen/test_golden.py

which writes the files in golden/ anew; then read their diff.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from regressions import by_name
from steps import trained

GOLDEN = Path(__file__).parent / "golden"
SUFFIX = {"c": "c", "interpret": "triton"}


@pytest.mark.parametrize("backend", SUFFIX)
@pytest.mark.parametrize("name", ["linear", "softmax"])
def test_text_and_numbers(name: str, backend: str) -> None:
    got = trained(by_name(name), backend, dtype=torch.float32, epochs=2)
    wanted = trained(by_name(name), "reference", epochs=2)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-5)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-5)

    (kernel,) = got.kernels
    file = GOLDEN / f"{name}_step.{SUFFIX[backend]}"
    if os.environ.get("GRAPHIR_REFRESH_GOLDEN") == "1":
        file.write_text(kernel.source, "utf-8")
    before = file.read_text("utf-8").splitlines()
    changed = list(difflib.unified_diff(before, kernel.source.splitlines(), lineterm="", n=1))
    assert not changed, "\n".join(
        [f"{file.name} differs; GRAPHIR_REFRESH_GOLDEN=1 accepts it:", *changed]
    )
