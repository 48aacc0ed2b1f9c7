"""The Triton text of six workloads at their true sizes, to be read in review, beside its numbers.

The numbers are those of the interpreter, at odd sizes, with NaN in all memory that a kernel has to
write before it reads. GRAPHIR_REFRESH_GOLDEN=1 writes the files in golden/ anew.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from benchmarks.kernels import step_build
from benchmarks.peer_torch import tensors, torch_ops
from benchmarks.workloads import BY_NAME, Workload
from graphir.runtime.backend_interpret import InterpretBackend

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["linreg_full", "linreg_sgd", "softmax_sgd", "softmax_full", "mlp_sgd", "poly_eltwise"]


@pytest.mark.parametrize("name", NAMES)
def test_text(name: str) -> None:
    build = step_build(BY_NAME[name], shuffle=name.endswith("_sgd"))
    source = build.kernels[0].triton
    file = GOLDEN / f"{name}.triton"
    if os.environ.get("GRAPHIR_REFRESH_GOLDEN") == "1":
        file.write_text(source, "utf-8")
    before = file.read_text("utf-8").splitlines()
    changed = list(difflib.unified_diff(before, source.splitlines(), lineterm="", n=1))
    assert not changed, "\n".join(
        [f"{file.name} differs; GRAPHIR_REFRESH_GOLDEN=1 accepts it:", *changed]
    )


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of floats holds NaN until a kernel writes it."""
    empty = InterpretBackend.empty

    def poison(self: InterpretBackend, shape: Any, dtype: Any, *, zero: bool) -> Any:
        memory = empty(self, shape, dtype, zero=zero)
        if dtype.is_float:
            memory[...] = np.nan
        return memory

    monkeypatch.setattr(InterpretBackend, "empty", poison)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("rows", "columns"), [(1, None), (7, None), (1823, 781)])
@pytest.mark.parametrize("name", NAMES)
def test_numbers(name: str, rows: int, columns: int | None) -> None:
    w = BY_NAME[name]
    layers = (columns or w.layers[0], *w.layers[1:])
    batch = rows if w.batch == w.rows else min(rows, max(w.batch, 256))
    # The steps of descent stay small where there are more columns.
    w = replace(w, rows=rows, batch=batch, layers=layers, lr=w.lr / 10)
    wanted = _trained(w, "reference", torch.float64)
    got = _trained(w, "interpret", torch.float32)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-4)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-3, atol=1e-5)


def _trained(w: Workload, backend: str, dtype: torch.dtype) -> Any:
    ops = torch_ops()

    def loss(params: Any, x: Any, y: Any) -> Any:
        return w.loss(ops, params, x, y)

    def cast(arrays: Any) -> tuple[torch.Tensor, ...]:
        return tuple(t.to(dtype) if t.is_floating_point() else t for t in tensors(arrays, "cpu"))

    return graphir.train(
        loss, cast(w.params()), cast(w.data()), optimizer=graphir.optim.SGD(lr=w.lr),
        batch_size=w.batch, seed=1, backend=backend, threads=3, progress=False,
    )  # fmt: skip
