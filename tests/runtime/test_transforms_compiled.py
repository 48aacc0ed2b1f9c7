"""Transformations as kernels: the same numbers as the reference evaluator's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from functions import FUNCTIONS, Function

import graphir

BACKENDS = pytest.mark.parametrize("backend", ["c", "interpret"])
# A few of each kind: building the kernels takes most of the time.
CHOSEN = [f for f in FUNCTIONS if f.name in {"softmax", "mlp", "kinks", "tree", "matrices"}]


def run(fn: Any, backend: str, *args: Any) -> Any:
    return graphir.compile(fn, backend=backend, dynamic=())(*args)


@BACKENDS
@pytest.mark.parametrize("function", CHOSEN, ids=str)
@pytest.mark.parametrize("name", ["jacrev", "jacfwd", "hessian"])
def test_jacobians(function: Function, name: str, backend: str) -> None:
    transformed = getattr(graphir, name)(function.fn)
    args = function.arguments()
    torch.testing.assert_close(run(transformed, backend, *args), transformed(*args))


@BACKENDS
@pytest.mark.parametrize("function", CHOSEN, ids=str)
def test_vmap_and_its_gradients(function: Function, backend: str) -> None:
    args = function.arguments(batch=(3,))
    mapped = graphir.vmap(function.fn)
    torch.testing.assert_close(run(mapped, backend, *args), mapped(*args))
    each = graphir.vmap(graphir.jacrev(function.fn))
    torch.testing.assert_close(run(each, backend, *args), each(*args))


@BACKENDS
@pytest.mark.parametrize("function", CHOSEN, ids=str)
def test_products(function: Function, backend: str) -> None:
    args, tangents = function.arguments(), function.arguments(1)

    def both(args: Any, tangents: Any) -> Any:
        out, moved = graphir.jvp(function.fn, args, tangents)
        return moved, graphir.vjp(function.fn, *args)[1](out)

    torch.testing.assert_close(run(both, backend, args, tangents), both(args, tangents))


@BACKENDS
def test_a_compiled_function_inside(backend: str) -> None:
    inner = graphir.compile(lambda x: torch.softmax(x, 0), backend=backend)
    x = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    expected = torch.func.jacrev(lambda x: torch.softmax(x, 0))(x)
    torch.testing.assert_close(graphir.jacrev(inner)(x), expected)
    torch.testing.assert_close(run(graphir.jacfwd(inner), backend, x), expected)


@BACKENDS
def test_one_compile_serves_every_batch_size(backend: str) -> None:
    def loss(w: Any, x: Any) -> Any:
        return torch.tanh(x @ w).sum() ** 2

    each = graphir.compile(graphir.vmap(graphir.grad(loss), (None, 0)),
                           backend=backend)  # fmt: skip
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(3, generator=rng, dtype=torch.float64)
    for rows in (1, 5, 8):
        x = torch.randn(rows, 3, generator=rng, dtype=torch.float64)
        expected = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, x)
        torch.testing.assert_close(each(w, x), expected)
    assert len(each.entries) == 1
