"""Every function's kernels on a GPU against torch in float64, at any size, with 64-bit places."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comparison import check_together
from operation_batches import BATCHES
from operations import Operation
from places import Place

import graphir


@pytest.mark.parametrize("operations", BATCHES)
def test_value_and_gradients(operations: list[Operation], place: Place) -> None:
    check_together(operations, place.backend, device=place.device)


def _loss(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    w, b = params
    return ((torch.tanh(x @ w + b) - y) ** 2).mean()


def test_one_kernel_for_every_batch_size(place: Place) -> None:
    """From a row to a million and three, and nothing is compiled again."""
    compiled = graphir.compile(graphir.value_and_grad(_loss), backend=place.backend)
    w, b = torch.linspace(-1, 1, 7), torch.tensor(0.3)
    sizes = [1, 2, 7, 31, 32, 33, 1000, 4097, 65_537, 1_000_003]
    before: set[Any] = set()
    for rows in [n for n in sizes if n <= place.scaled(1_000_003, 4097)]:
        generator = torch.Generator().manual_seed(rows)
        x = torch.randn(rows, 7, generator=generator)
        y = torch.randn(rows, generator=generator)
        on_device = [t.to(place.device) for t in (w, b, x, y)]
        value, grads = compiled((on_device[0], on_device[1]), on_device[2], on_device[3])
        leaves = [t.double().requires_grad_() for t in (w, b)]
        exact = _loss(leaves, x.double(), y.double())
        wanted = torch.autograd.grad(exact, leaves)
        for ours, theirs in zip((value, *grads), (exact.detach(), *wanted), strict=True):
            torch.testing.assert_close(ours.cpu().double(), theirs, rtol=1e-5, atol=1e-5)
        now = _compiled_kernels(compiled) if place.real else set()
        assert not before or now == before
        before = now
    assert len(compiled.entries) == 1


def _compiled_kernels(compiled: Any) -> set[Any]:
    """The keys of Triton's own cache of the kernels of a compiled function."""
    from graphir.runtime.triton_module import load_kernel

    found = set()
    for entry in compiled.entries:
        module = entry.build.executable.backend.ways.launches
        for launch in module.launches:
            caches = load_kernel(module.source, launch.kernel).device_caches
            found |= {(launch.kernel, str(k)) for cache in caches.values() for k in cache[0]}
    return found


def test_places_beyond_32_bits(place: Place) -> None:
    """More than 2³¹ elements read and written."""
    elements = 2**31 + 4099
    if not place.real or torch.cuda.mem_get_info()[0] < 3 * elements:
        pytest.skip("needs 7 GB of a GPU's memory")

    @graphir.compile(backend=place.backend)
    def both(one: Any, x: Any) -> Any:
        return x + one, x.to(torch.float32).sum()

    x = torch.zeros(elements, dtype=torch.uint8, device=place.device)
    marked = [0, 2**31 - 1, 2**31, 2**31 + 4000, elements - 1]
    x[marked] = 3
    y, total = both(torch.tensor(1, dtype=torch.uint8, device=place.device), x)
    assert float(total) == 3 * len(marked)
    assert y[marked].tolist() == [4] * len(marked)
    assert y[[1, 2**31 + 1, elements - 2]].tolist() == [1, 1, 1]
    assert torch.equal(y, x + 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_large_product(dtype: torch.dtype, place: Place) -> None:
    """torch does it on a GPU, where that is faster; in every run with the same bits."""
    rows, side = place.scaled(8192, 600), place.scaled(4096, 512)
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(rows, side, generator=draw).to(dtype) for _ in range(2))
    exact = a.double().T @ b.double()

    @graphir.compile(backend=place.backend, dynamic=())
    def product(a: Any, b: Any) -> Any:
        return a.T @ b

    args = a.to(place.device), b.to(place.device)
    made = product(*args)
    rounding, noise = (2**-8, 2**-8) if dtype is torch.bfloat16 else (1e-12, 1e-9)
    torch.testing.assert_close(made.cpu().double(), exact, rtol=rounding, atol=noise)
    for _ in range(place.scaled(20, 1)):
        assert torch.equal(product(*args), made)
