"""Tensors made inside a traced function from sizes that are known only when the kernel runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import graphir

W = torch.tensor([0.5, -1.0, 2.0, 0.25])

SYMBOLIC: dict[str, Callable[..., Any]] = {
    "arange": lambda w, x: x * torch.arange(x.shape[0])[:, None],
    "arange of a dtype": lambda w, x: torch.arange(x.size(0), dtype=torch.float64),
    "arange from 1": lambda w, x: x[1:] * torch.arange(1, x.shape[0])[:, None],
    "arange down": lambda w, x: torch.arange(x.shape[0] - 1, -1, -1),
    "arange of fractions": lambda w, x: torch.arange(0, x.shape[0]) + 0.5,
    "zeros": lambda w, x: torch.zeros(x.shape[0], 4) + x,
    "zeros of a tuple": lambda w, x: torch.zeros((x.shape[0], 4), device=x.device) + x,
    "zeros of a shape": lambda w, x: torch.zeros(x.shape, dtype=torch.float64) + x,
    "zeros by keyword": lambda w, x: torch.zeros(size=(x.shape[0], 4)) + x,
    "ones": lambda w, x: torch.ones(x.shape[0]) @ x,
    "ones as a column": lambda w, x: torch.cat([torch.ones(x.shape[0], 1), x], 1) @ torch.ones(5),
    "full": lambda w, x: torch.full((x.shape[0],), 2.0) @ x,
    "full of ints": lambda w, x: torch.full((x.shape[0], 2), 3),
    "full of bools": lambda w, x: torch.full((x.shape[0],), True),
    "full of a traced number": lambda w, x: torch.full((x.shape[0],), w[1]) @ x,
    "a size in full": lambda w, x: torch.full((2,), x.shape[0]),
    "eye": lambda w, x: torch.eye(x.shape[0]) @ x,
    "eye of two sizes": lambda w, x: torch.eye(x.shape[0], 4) + x,
    "linspace": lambda w, x: torch.linspace(-1, 1, x.shape[0]) @ x,
    "empty": lambda w, x: torch.empty(x.shape[0]).fill_(2.0) @ x,
    "written to": lambda w, x: torch.zeros(x.shape[0], 2).index_add_(
        1, torch.tensor([0, 1, 0, 1]), x),
    "tensor": lambda w, x: torch.tensor(x.shape[0]) * x,
    "numel": lambda w, x: torch.ones(x.numel()) * x.flatten(),
    "an array of the user's": lambda w, x: W.expand(x.shape[0], 4) * x,
    "torch.reshape": lambda w, x: torch.reshape(x, (x.shape[0] * 2, -1)),
    "reshape": lambda w, x: x.reshape(x.shape[0] * 2, -1),
    "view": lambda w, x: x.view(-1, x.size(1)),
    "view of three": lambda w, x: x.view(x.size(0), 2, -1),
    "repeat": lambda w, x: w.repeat(x.shape[0], 1) * x,
    "broadcast_to": lambda w, x: torch.broadcast_to(w, (x.shape[0], 4)) * x,
}  # fmt: skip
SPECIALISED: dict[str, Callable[..., Any]] = {
    "range": lambda w, x: sum(x[i] * i for i in range(x.shape[0])),
    "len": lambda w, x: x / len(x),
    "a comparison": lambda w, x: x if x.shape[0] > 5 else -x,
    "truth": lambda w, x: x if bool(x.shape[0]) else -x,
    "half of it": lambda w, x: x[: x.shape[0] // 2],
    "arange by 2": lambda w, x: torch.arange(0, x.shape[0], 2),
    "a function that graphir does not know": lambda w, x: torch.hann_window(x.shape[0]) @ x,
}


def check(fn: Callable[..., Any], backend: str, *, symbolic: bool) -> None:
    compiled = graphir.compile(fn, backend=backend)
    for rows in (6, 3, 1):
        x = torch.arange(rows * 4.0).reshape(rows, 4) - 3
        found, wanted = compiled(W, x), fn(W, x)
        assert found.dtype == wanted.dtype
        torch.testing.assert_close(found, wanted)
    graph = compiled.graph(W, torch.ones(6, 4))
    assert bool(graph.notes) is not symbolic


@pytest.mark.parametrize("backend", ["reference", "c"])
@pytest.mark.parametrize("name", SYMBOLIC)
def test_a_size_that_varies_makes_tensors(name: str, backend: str) -> None:
    check(SYMBOLIC[name], backend, symbolic=True)


@pytest.mark.parametrize("name", SPECIALISED)
def test_what_needs_the_number_is_traced_for_each_size(name: str) -> None:
    check(SPECIALISED[name], "reference", symbolic=False)


def test_other_floating_types_by_default() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        check(lambda w, x: torch.ones(x.shape[0]) * 1.5, "reference", symbolic=True)
        check(lambda w, x: torch.linspace(0, 1, x.shape[0]), "reference", symbolic=True)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_gradients_flow_into_what_fills(backend: str) -> None:
    def loss(w, x):
        return (torch.full((x.shape[0],), w[0] * w[1]) @ x).sum()

    found = graphir.compile(graphir.grad(loss), backend=backend)
    for rows in (5, 2):
        # torch's own full takes no tensor that requires gradients.
        x = torch.randn(rows, 4)
        wanted = torch.tensor([W[1], W[0], 0, 0]) * x.sum()
        torch.testing.assert_close(found(W, x), wanted)


def test_a_column_of_ones_trains() -> None:
    def loss(w, x, y):
        return ((torch.cat([torch.ones(x.shape[0], 1), x], 1) @ w - y) ** 2).mean()

    x = torch.linspace(-1, 1, 64)[:, None]
    y = 3 + 2 * x[:, 0]
    result = graphir.train(
        loss, torch.zeros(2), (x, y), optimizer=graphir.optim.SGD(lr=0.3), batch_size=10,
        epochs=60, seed=0, backend="c",
    )  # fmt: skip
    torch.testing.assert_close(result.params, torch.tensor([3.0, 2.0]), rtol=0, atol=1e-3)
    assert not result.graph.notes


def test_numpys_functions_of_a_size() -> None:
    def fn(w, x):
        return (np.arange(x.shape[0])[:, None] + np.zeros((x.shape[0], 4)) + x).sum(0) * w

    compiled = graphir.compile(fn, backend="reference")
    for rows in (4, 2):
        x = np.ones((rows, 4))
        np.testing.assert_allclose(compiled(W.numpy(), x), fn(W.numpy(), x))
    root = graphir.compile(lambda w, x: w / np.sqrt(x.shape[0]), backend="reference")
    np.testing.assert_allclose(root(W.numpy(), np.ones((9, 4))), W.numpy() / 3)
    assert not root.graph(W.numpy(), np.ones((9, 4))).notes


def test_torch_is_as_before_outside_the_trace() -> None:
    graphir.compile(SYMBOLIC["arange"], backend="reference")(W, torch.ones(3, 4))
    assert not torch.overrides._get_current_function_mode_stack()
    with pytest.raises(ZeroDivisionError):
        graphir.compile(lambda x: x * (1 // 0), backend="reference")(torch.ones(3))
    assert not torch.overrides._get_current_function_mode_stack()
