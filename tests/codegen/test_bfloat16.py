"""bfloat16: its bits, its rounding, promotion, products, derivatives and training, as in torch."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphir
from graphir.dtypes import ALL, promote

BACKENDS = ["reference", "c", "interpret"]
NARROW = torch.bfloat16


def bits(x: Any) -> list[int]:
    """The numbers' bits; every NaN the same."""
    plain = torch.where(torch.isnan(x), torch.tensor(math.nan, dtype=x.dtype), x)
    return plain.view(torch.int16).tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_conversions_are_exact(backend: str) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16).view(NARROW)
    halves = [1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-20]
    edges = [math.nan, math.inf, -math.inf, 3.39e38, 3.4e38, -3.4e38, 1e-40, 4.6e-41, 1e-45, -0.0]
    singles = torch.tensor(halves + edges + [x / 7 for x in range(-300, 300)])

    def fn(every: Any, singles: Any) -> Any:
        return every.float(), singles.bfloat16(), every * 1.0, singles.double().bfloat16()

    compiled = graphir.compile(fn, backend=backend, dynamic=())
    for ours, theirs in zip(compiled(every, singles), fn(every, singles), strict=True):
        assert ours.dtype == theirs.dtype
        same = bits if ours.dtype is NARROW else lambda x: x.nan_to_num(7.0, math.inf).tolist()
        assert same(ours) == same(theirs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_operation_rounds_once_and_sums_do_so_at_the_end(backend: str) -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(40, 12, generator=draw).to(NARROW) for _ in range(2))

    def fn(x: Any, y: Any) -> Any:
        ones = torch.ones_like(x)
        return (
            x + y, x * y - 0.1, x / y, x.abs().sqrt(), torch.exp(x), x > y, torch.maximum(x, y),
            x.long(), (x > 0).to(NARROW), ones.sum(), (ones * 3).sum(0), x.amax(1), x.argmin(1),
            x[1:5, ::3], torch.where(x > 0, x, y), x[torch.tensor([3, 1])], torch.cat([x, y]),
        )  # fmt: skip

    compiled = graphir.compile(fn, backend=backend, dynamic=())
    for ours, theirs in zip(compiled(x, y), fn(x, y), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_promotion(backend: str) -> None:
    x = torch.tensor([1.5, -2.25]).to(NARROW)

    def fn(x: Any, h: Any, d: Any, i: Any) -> Any:
        return x + h, x * 2, x + 0.5, x + d, x * i, x / 3, x * d[0], i + 0.5

    args = (x, x.half(), x.double(), torch.tensor([2, 3]))
    for ours, theirs in zip(
        graphir.compile(fn, backend=backend, dynamic=())(*args), fn(*args), strict=True
    ):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_every_pair_promotes_as_in_torch() -> None:
    for a in ALL:
        for b in ALL:
            wanted = torch.promote_types(getattr(torch, a.name), getattr(torch, b.name))
            assert str(wanted) == f"torch.{promote(a, b)}", (a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_products_accumulate_in_float32(backend: str) -> None:
    draw = torch.Generator().manual_seed(1)
    x, w = torch.randn(70, 300, generator=draw).to(NARROW), torch.randn(300, 5, generator=draw)

    def fn(w: Any, x: Any) -> Any:
        return x @ w, torch.tanh(x @ w).sum(0)

    narrow = w.to(NARROW)
    product, total = graphir.compile(fn, backend=backend)(narrow, x)
    exact = x.double() @ narrow.double()
    assert product.dtype is NARROW
    torch.testing.assert_close(product.double(), exact, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(total, fn(narrow, x)[1], rtol=2e-2, atol=5e-2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_derivatives_are_torch_s(backend: str) -> None:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(30, 6, generator=draw).to(NARROW)
    y = torch.randint(0, 3, (30,), generator=draw)
    w = (torch.randn(6, 3, generator=draw) / 2).to(NARROW)

    def loss(w: Any, x: Any) -> Any:
        return F.cross_entropy((torch.tanh(x) @ w).float(), y)

    compiled = graphir.compile(graphir.value_and_grad(loss), backend=backend)
    value, slope = compiled(w, x)
    leaf = w.clone().requires_grad_()
    wanted = loss(leaf, x)
    wanted.backward()
    assert leaf.grad is not None
    assert slope.dtype is NARROW
    torch.testing.assert_close(value, wanted.detach(), rtol=1e-2, atol=0)
    torch.testing.assert_close(slope.float(), leaf.grad.float(), rtol=2e-2, atol=1e-3)
    # And through torch's own autograd.
    again = w.clone().requires_grad_()
    graphir.compile(loss, backend=backend)(again, x).backward()
    assert again.grad is not None
    torch.testing.assert_close(again.grad, slope, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_training_with_float32_weights_on_bfloat16_data(backend: str) -> None:
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(64, 4, generator=draw).to(NARROW)
    y = x.float() @ torch.tensor([1.0, -2.0, 0.5, 3.0])

    def loss(w: Any, x: Any, y: Any) -> Any:
        return F.mse_loss((x @ w.to(x.dtype)).float(), y)

    found = graphir.train(
        loss, torch.zeros(4), (x, y), optimizer=graphir.optim.SGD(lr=0.1), batch_size=16,
        epochs=30, backend=backend,
    )  # fmt: skip
    assert found.params.dtype is torch.float32
    torch.testing.assert_close(found.params, torch.tensor([1.0, -2.0, 0.5, 3.0]), rtol=0, atol=0.03)


@pytest.mark.parametrize("backend", BACKENDS)
def test_numpy_arrays(backend: str) -> None:
    x = np.linspace(-3, 3, 24).reshape(4, 6).astype(ml_dtypes.bfloat16)

    def fn(x: Any) -> Any:
        return np.exp(x), x.T[1:] * 2, x.sum(0), x.astype(np.float32).mean()

    first, second, third, mean = graphir.compile(fn, backend=backend, dynamic=())(x)
    assert first.dtype == second.dtype == third.dtype == ml_dtypes.bfloat16
    wide = x.astype(np.float32)
    np.testing.assert_array_equal(first, np.exp(wide).astype(x.dtype))
    np.testing.assert_array_equal(second, (wide.T[1:] * 2).astype(x.dtype))
    np.testing.assert_array_equal(third, wide.sum(0).astype(x.dtype))
    np.testing.assert_allclose(mean, wide.mean(), atol=1e-6)


def test_recorded_written_and_read_back() -> None:
    x = torch.tensor([1.0, 2.0]).to(NARROW)
    with graphir.record() as tape:
        a = tape.watch(x, "a")
        b = (a * 1.01).sum()
    assert b.item() == (x * 1.01).sum().item()
    tape.backward(b)
    assert a.grad.dtype is NARROW
    graph = graphir.trace(lambda a: a * x, torch.ones(2))
    again = type(graph).from_json(graph.to_json())
    assert str(again) == str(graph)
    (held,) = again.captured.values()
    assert torch.equal(held, x)
    graphir.check_grads(lambda a: torch.tanh(a.float()), (x,))
