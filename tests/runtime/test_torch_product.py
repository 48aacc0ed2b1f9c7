"""Products that are left to torch, on a device that stands in for a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fake_cuda import FakeCuda, install
from torch.nn import functional as F

import graphir
from graphir.runtime.optim import SGD

FLAGS: Any = torch.backends.cuda.matmul
NAMES = ("allow_fp16_reduced_precision_reduction", "allow_bf16_reduced_precision_reduction",
         "fp32_precision")  # fmt: skip
SIDE = 512


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[FakeCuda]:
    return install(monkeypatch)


def flags() -> dict[str, Any]:
    return {name: getattr(FLAGS, name) for name in NAMES}


def product(a: Any, b: Any) -> Any:
    return a.T @ b


def test_a_compiled_product(devices: list[FakeCuda]) -> None:
    a, b = (torch.randn(700, SIDE, dtype=torch.float64) for _ in range(2))
    compiled = graphir.compile(product, backend="triton", dynamic=())
    found = compiled(a, b)
    devices[-1].drain()
    torch.testing.assert_close(found, a.T @ b)
    assert devices[-1].launched == ["torch.mm"]
    told = compiled.explain(a, b)
    assert any(d.kind == "product" and "by torch.mm" in d.reason for d in told.decisions)
    assert "(torch.mm)" in str(told)
    # The kernel itself computes the same.
    interpreted = graphir.compile(product, backend="interpret", dynamic=())
    torch.testing.assert_close(interpreted(a, b), a.T @ b)


@pytest.mark.parametrize("own", ["none", "tf32"])
@pytest.mark.parametrize(("precision", "wanted"), [("highest", "ieee"), ("high", "tf32")])
def test_the_process_s_own_choice_neither_counts_nor_changes(
    own: str, precision: Any, wanted: str, devices: list[FakeCuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    multiply = torch.mm

    def watched(*args: Any, **options: Any) -> Any:
        seen.append(flags())
        return multiply(*args, **options)

    monkeypatch.setattr(torch, "mm", watched)
    dtype = torch.float32 if precision == "high" else torch.float64
    a, b = (torch.randn(2048, 2048, dtype=dtype) for _ in range(2))
    compiled = graphir.compile(product, backend="triton", dynamic=(), precision=precision)
    before = FLAGS.fp32_precision
    FLAGS.fp32_precision = own
    try:
        mine = flags()
        found = compiled(a, b)
        devices[-1].drain()
        assert flags() == mine
    finally:
        FLAGS.fp32_precision = before
    torch.testing.assert_close(found, a.T @ b, rtol=1e-4, atol=1e-3)
    (during,) = seen
    assert during == {NAMES[0]: False, NAMES[1]: False, NAMES[2]: wanted}


def trained(backend: str, rows: int) -> Any:
    draw = torch.Generator().manual_seed(0)
    params = [torch.randn(SIDE, SIDE, generator=draw, dtype=torch.float64) / 20 for _ in range(2)]
    x, y = (torch.randn(rows, SIDE, generator=draw, dtype=torch.float64) for _ in range(2))

    def loss(params: Any, x: Any, y: Any) -> Any:
        hidden = x
        for w in params:
            hidden = torch.tanh(hidden @ w)
        return F.mse_loss(hidden, y)

    return graphir.train(
        loss, params, (x, y), optimizer=SGD(lr=0.1), batch_size=16, epochs=1, backend=backend,
        progress=False,
    )  # fmt: skip


@pytest.mark.parametrize(("rows", "left"), [(32, True), (24, False)])
def test_a_training_where_every_batch_is_full(
    rows: int, left: bool, devices: list[FakeCuda]
) -> None:
    """With a last batch that is not full the device alone knows how many rows a step has."""
    found, wanted = trained("triton", rows), trained("c", rows)
    assert bool(devices[-1].multiplied) == left
    assert devices[-1].replayed
    for ours, theirs in zip(found.params, wanted.params, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)
