"""The generated kernels against torch's autograd, and training steps against the evaluator."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from regressions import ALL, SIX, Regression, by_name
from steps import trained

import graphir
from graphir.runtime.optim import SGD

BACKENDS = ["c", "interpret", "reference"]
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("regression", ALL, ids=lambda r: r.name)
def test_value_and_gradients(regression: Regression, backend: str, dtype: str) -> None:
    compiled = graphir.compile(graphir.value_and_grad(regression.loss), backend=backend)
    unit = torch.finfo(DTYPES[dtype]).eps
    for rows in (1, 7, 37, 300):
        params, data = regression.arguments(rows, DTYPES[dtype])
        value, grads = compiled(params, *data)
        expected, wanted = regression.expected(params, data)
        for got, exact in zip((value, *grads), (expected, *wanted), strict=True):
            assert got.dtype == DTYPES[dtype]
            torch.testing.assert_close(got.double(), exact, rtol=50 * unit, atol=50 * unit)
    assert len(compiled.entries) == 1


def same_training(regression: Regression, optimizer: Any, **options: Any) -> None:
    got = trained(regression, optimizer=optimizer, epochs=2, **options)
    wanted = trained(regression, "reference", optimizer=optimizer, epochs=2)
    assert got.threads == options["threads"]
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-10)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("backend", "threads"), [("c", 1), ("c", 2), ("c", 3), ("interpret", 1), ("interpret", 3)]
)
@pytest.mark.parametrize("regression", ALL, ids=lambda r: r.name)
def test_training_steps(regression: Regression, backend: str, threads: int) -> None:
    optimizer = SGD(lr=0.02, momentum=0.5, weight_decay=0.1)
    same_training(regression, optimizer, backend=backend, threads=threads)


@pytest.mark.parametrize("rows", [1, 16, 17, 600])
@pytest.mark.parametrize("backend", ["c", "interpret"])
def test_batches_of_every_size(backend: str, rows: int) -> None:
    """One row, exactly a batch, a batch and one row, more than a block of rows."""
    regression = by_name("softmax")
    options: dict[str, Any] = {"rows": rows, "batch": 290 if rows == 600 else min(rows, 16)}
    got = trained(regression, backend, threads=2, **options)
    wanted = trained(regression, "reference", **options)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-10)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("regression", SIX, ids=lambda r: r.name)
def test_single_precision_steps(regression: Regression) -> None:
    got = trained(regression, "c", dtype=torch.float32, epochs=3)
    wanted = trained(regression, "reference", epochs=3)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["linear", "perceptron", "batch_normalised"])
def test_the_same_bits_each_time(name: str) -> None:
    """Partial results of threads are joined in a fixed order, whichever comes first."""
    hashes = set()
    for _ in range(100):
        result = trained(by_name(name), "c", rows=900, batch=400, threads=2, dtype=torch.float32)
        total = hashlib.sha256(np.asarray(result.history.step_loss).tobytes())
        for p in result.params:
            total.update(p.numpy().tobytes())
        hashes.add(total.hexdigest())
    assert len(hashes) == 1
