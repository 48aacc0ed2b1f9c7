"""Which form a product takes on a CPU: how wide its vectors are, and how many rows go together."""

from __future__ import annotations

import pytest
import torch

import graphir
from graphir.codegen.blocking import lower_loops
from graphir.codegen.machine import AVX2, AVX512, Machine
from graphir.codegen.products import Product
from graphir.codegen.schedule import plan


def product(width: int, dtype: torch.dtype, machine: Machine) -> Product:
    """Of the predictions of linear regression over so many columns."""

    def loss(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((x @ w - y) ** 2).mean()

    shapes = (width,), (512, width), (512,)
    args = [torch.zeros(shape, dtype=dtype) for shape in shapes]
    graph = graphir.compile(graphir.value_and_grad(loss), backend="c").graph(*args)
    (kernel,) = plan(graph, name="loss", machine=machine).kernels
    body = lower_loops(kernel, machine, {}).body
    return next(nest.product for nest in body.nests if nest.product is not None)


@pytest.mark.parametrize(
    ("width", "machine", "lanes", "together"),
    [
        (2, AVX512, 4, 4), (8, AVX512, 8, 8), (13, AVX512, 8, 8), (32, AVX512, 8, 8),
        (48, AVX512, 8, "a row at a time"), (64, AVX512, 8, "a row at a time"),
        (100, AVX512, 16, "a row at a time"), (13, AVX2, 8, 8), (32, AVX2, 8, 8),
        (100, AVX2, 8, "a row at a time"),
    ],
)  # fmt: skip
def test_short_rows_go_together(
    width: int, machine: Machine, lanes: int, together: int | str
) -> None:
    """As many as half the widest vector has lanes: the product adds the halves of a row, and their
    lanes change places twice as fast. Long rows are streams of memory, one is read at a time."""
    p = product(width, torch.float32, machine)
    assert p.inner
    assert p.lanes == lanes
    assert ("a row at a time" if p.by_rows else p.row_block) == together


@pytest.mark.parametrize(("width", "lanes"), [(6, 4), (24, 4), (40, 8)])
def test_halves_of_float64(width: int, lanes: int) -> None:
    assert product(width, torch.float64, AVX512).lanes == lanes
