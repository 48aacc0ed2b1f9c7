"""Nothing behind the data's last row is read: vectors and blocks end where it ends, and what is
fetched ahead may not be there."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import graphir
from graphir.runtime.optim import SGD

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="protects a page")
_KEPT: list[Any] = []  # memory lives as long as the arrays on it


def at_the_end_of_memory(values: np.ndarray) -> np.ndarray:
    """A copy behind which no byte may be read."""
    page = mmap.PAGESIZE
    size = -(-values.nbytes // page) * page
    memory = mmap.mmap(-1, size + page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + size), ctypes.c_size_t(page), 0) == 0
    _KEPT.append(memory)
    flat = np.frombuffer(memory, values.dtype, values.size, size - values.nbytes)
    flat[:] = values.ravel()
    return flat.reshape(values.shape)


def softmax(w: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(x @ w, y[:, 0].long() % 3)


def logistic(w: Any, x: Any, y: Any) -> Any:
    return F.binary_cross_entropy_with_logits((x @ w)[:, 0], (y[:, 0] > 0).to(x.dtype))


def several_outputs(w: Any, x: Any, y: Any) -> Any:
    return ((x @ w - y) ** 2).mean()


def own_columns(w: Any, x: Any, y: Any) -> Any:
    return (torch.exp(x[:, 1] * w[0, 0] - x[:, 2]) * y[:, 1]).mean() + (w**2).sum()


def next_rows(w: Any, x: Any, y: Any) -> Any:
    return ((x[1:, 0] * w[0, 0] - y[:-1, 0]).abs() + x[:-1, 1]).sum() + w.sum()


def hidden(w: Any, x: Any, y: Any) -> Any:
    return ((torch.tanh(x @ w) - y) ** 2).sum()


MODELS = [softmax, logistic, several_outputs, own_columns, next_rows, hidden]


def data(rows: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(rows)
    x, y = (rng.standard_normal((rows, columns)).astype(dtype) for columns in (5, 3))
    return at_the_end_of_memory(x), at_the_end_of_memory(y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_gradients_read_no_row_that_is_not_there(model: Callable[..., Any], dtype: str) -> None:
    w = torch.from_numpy(np.linspace(-1, 1, 15).reshape(5, 3).astype(dtype))
    step = graphir.compile(
        graphir.value_and_grad(model), backend="c", dynamic={"x": (0,), "y": (0,)}
    )
    for rows in (2, 3, 15, 16, 17, 63, 64, 65, 130, 300):
        x, y = map(torch.from_numpy, data(rows, dtype))
        wide = w.double().clone().requires_grad_()
        model(wide, x.double(), y.double()).backward()
        _, gradient = step(w, x, y)
        error = 2e-5 if dtype == "float32" else 1e-11
        assert wide.grad is not None
        torch.testing.assert_close(gradient.double(), wide.grad, rtol=error, atol=error)


@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
@pytest.mark.parametrize("model", MODELS[:4], ids=lambda m: m.__name__)
def test_epochs_read_no_row_that_is_not_there(model: Callable[..., Any], shuffle: bool) -> None:
    w = torch.linspace(-1, 1, 15).reshape(5, 3)
    x, y = map(torch.from_numpy, data(101, "float32"))
    found = [
        graphir.train(
            model, w.clone(), (x, y), optimizer=SGD(lr=0.1), batch_size=7, epochs=2,
            shuffle=shuffle, backend=backend, progress=False,
        ).params
        for backend in ("c", "reference")
    ]  # fmt: skip
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5)
