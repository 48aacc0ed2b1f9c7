"""Products of 16 bits: given to the matrix unit as they are, summed in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import graphir
from graphir.codegen.machine import CHIPS, GPU, PRECISIONS, Precision, gpu
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.codegen.tile import Contract, Mask
from graphir.codegen.triton_text import print_triton
from graphir.graph import Graph
from graphir.runtime.fitting import fit, objection
from graphir.simplify import simplify
from graphir.tracing import trace

NARROW = [torch.bfloat16, torch.float16]
MATRIX_UNIT = {"mma", "wgmma", "tcgen05", "mfma"}


def simplified(fn: Any, *args: Any, dynamic: Any = None) -> Graph:
    return simplify(trace(fn, args, dynamic=dynamic).graph)


def planned(graph: Graph, precision: Precision = "highest") -> Program:
    return plan(graph, name="f", machine=GPU, precision=precision)


def dots(program: Program) -> list[str]:
    lines = print_triton(program).source.splitlines()
    return [x.strip() for x in lines if "tl.dot" in x]


def loss(params: Any, x: Any, y: Any) -> Any:
    """Mixed precision: float32 weights, products in the type of the data."""
    a, b = params
    hidden = torch.relu(x @ a.to(x.dtype))
    return F.mse_loss((hidden @ b.to(x.dtype)).float(), y)


def arguments(dtype: torch.dtype, rows: int = 70, widths: Any = (24, 40, 20)) -> Any:
    draw = torch.Generator().manual_seed(0)
    first, hidden, last = widths
    a = torch.randn(first, hidden, generator=draw) / 5
    b = torch.randn(hidden, last, generator=draw) / 5
    x = torch.randn(rows, first, generator=draw).to(dtype)
    return (a, b), x, torch.randn(rows, last, generator=draw)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dtype", NARROW)
def test_operands_stay_narrow(dtype: torch.dtype, precision: Precision) -> None:
    """At every precision: no product of 16 bits is rounded."""
    graph = simplified(
        lambda w, x: x @ w, torch.zeros(32, 32).to(dtype), torch.ones(8, 32).to(dtype)
    )
    program = planned(graph, precision)
    assert dots(program) == ["t4 = tl.dot(x, w, out_dtype=tl.float32)"]
    assert "x.to(" not in print_triton(program).source


@pytest.mark.parametrize("dtype", NARROW)
def test_a_training_step_with_float32_weights(dtype: torch.dtype) -> None:
    graph = simplified(graphir.value_and_grad(loss), *arguments(dtype))
    program = planned(graph)
    (kernel,) = program.kernels
    products = [s for s in kernel.statements() if isinstance(s, Contract)]
    assert len(products) == 5
    for s in products:
        assert s.dot
        assert s.a.dtype.name == s.b.dtype.name == str(dtype).removeprefix("torch.")
        assert s.out.dtype.name == "float32"
    # What is read holds 0 beyond the end; widened first, it would have been masked once more.
    assert not any(isinstance(s, Mask) and s.source.name == "x" for s in kernel.statements())


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    ("programs", "widths"), [(None, (24, 40, 20)), (3, (24, 40, 20)), (None, (160, 192, 160))]
)
def test_values_and_gradients(dtype: torch.dtype, programs: int | None, widths: Any) -> None:
    """In one pass, by several programs, and by kernels that share out products."""
    params, x, y = arguments(dtype, rows=301, widths=widths)
    step = graphir.value_and_grad(loss)
    value, slopes = graphir.compile(step, backend="interpret", threads=programs)(params, x, y)
    leaves = [p.clone().requires_grad_() for p in params]
    wanted = loss(leaves, x, y)
    wanted.backward()
    torch.testing.assert_close(value, wanted.detach(), rtol=1e-2, atol=1e-3)
    for ours, leaf in zip(slopes, leaves, strict=True):
        assert ours.dtype is torch.float32
        torch.testing.assert_close(ours, leaf.grad, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_halves_are_summed_in_float32(backend: str) -> None:
    """In float16 itself a sum of ones ends at 2048."""
    ones = torch.ones(5000, 16, dtype=torch.float16)

    def sums(w: Any, x: Any) -> Any:
        return x.T @ (x * w), x.sum(0), (x[:, :1] * w).sum()

    w = torch.ones(16, dtype=torch.float16)
    product, column, total = graphir.compile(sums, backend=backend)(w, ones)
    assert product.dtype is torch.float16
    assert torch.equal(product, torch.full((16, 16), 5000.0).half())
    assert torch.equal(column, torch.full((16,), 5000.0).half())
    assert total.isinf()  # 80000


def test_exact_products_round_nothing() -> None:
    draw = torch.Generator().manual_seed(1)
    w, x = (torch.randn(n, 64, generator=draw).bfloat16() for n in (48, 33))
    made = graphir.compile(lambda w, x: x.float() @ w.float().T, backend="interpret")(w, x)
    torch.testing.assert_close(made.double(), x.double() @ w.double().T, rtol=1e-6, atol=1e-5)


def test_a_product_with_float32_is_one_of_float32() -> None:
    """The one is exact in float32; rounded to 16 bits the other would not be."""
    w, x = torch.randn(32, 24), torch.randn(50, 32).bfloat16()

    def mixed(w: Any, x: Any) -> Any:
        return x.float() @ w

    (line,) = dots(planned(simplified(mixed, w, x)))
    assert 'input_precision="tf32x3"' in line
    made = graphir.compile(mixed, backend="interpret")(w, x)
    torch.testing.assert_close(made.double(), x.double() @ w.double(), rtol=1e-6, atol=1e-5)


def test_different_kinds_of_16_bits_meet_in_float32() -> None:
    w, x = torch.randn(32, 24).half(), torch.randn(50, 32).bfloat16()

    def mixed(w: Any, x: Any) -> Any:
        return x.float() @ w.float()

    (line,) = dots(planned(simplified(mixed, w, x)))
    assert 'input_precision="tf32x3"' in line
    made = graphir.compile(mixed, backend="interpret")(w, x)
    torch.testing.assert_close(made.double(), x.double() @ w.double(), rtol=1e-6, atol=1e-5)


def test_a_repeated_operand_is_widened_where_there_is_no_matrix() -> None:
    """One row repeated: multiplied and summed, in float32."""
    row, x = torch.randn(32).bfloat16(), torch.randn(50, 32).bfloat16()

    def fn(row: Any, x: Any) -> Any:
        return x.float() @ row.float()[:, None].expand(32, 24)

    made = graphir.compile(fn, backend="interpret")(row, x)
    torch.testing.assert_close(made, fn(row, x), rtol=1e-5, atol=1e-5)


def test_what_lies_between_kernels_is_narrow() -> None:
    """A hidden layer that a product of its own reads is written in 16 bits."""
    graph = simplified(loss, *arguments(torch.bfloat16, widths=(512, 1024, 256)))
    program = planned(graph)
    assert len(program.kernels) > 1
    hidden = [b for b in program.buffers if b.name.startswith("tmp") and b.shape[1:] == (1024,)]
    assert [b.dtype.name for b in hidden] == ["bfloat16"]


@pytest.mark.targets
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("widths", [(32, 64, 16), (512, 1024, 256)], ids=["one_pass", "wide"])
def test_compiled(widths: Any, chip: str) -> None:
    pytest.importorskip("triton")
    target = CHIPS[chip]
    graph = simplified(graphir.value_and_grad(loss), *arguments(torch.bfloat16, widths=widths))

    def scheduled(choices: Mapping[str, int]) -> Program:
        return plan(graph, name="narrow", machine=gpu(target), choices=choices)

    fitted = fit(scheduled, target)
    for kernel, report in zip(fitted.program.kernels, fitted.reports, strict=True):
        assert objection(report, target) is None, kernel.name
        if any(isinstance(s, Contract) for s in kernel.statements()):
            assert report.instructions & MATRIX_UNIT, kernel.name
