"""Which loop of a nest of the C target runs innermost."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import graphir
from graphir.codegen.blocking import lower_loops
from graphir.codegen.loops import Nest
from graphir.codegen.machine import CPU
from graphir.codegen.schedule import plan


def nests(classes: int) -> list[Nest]:
    """Of the gradient of softmax regression: those that walk over rows and classes."""

    def loss(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(x @ w, y)

    args = torch.zeros(13, classes), torch.zeros(512, 13), torch.zeros(512, dtype=torch.int64)
    graph = graphir.compile(graphir.value_and_grad(loss), backend="c").graph(*args)
    (kernel,) = plan(graph, name="loss", machine=CPU).kernels
    body = lower_loops(kernel, CPU, {}).body
    return [nest for nest in body.nests if nest.product is None and len(nest.axes) == 2]


@pytest.mark.parametrize(("classes", "inner"), [(3, "rows"), (10, "rows"), (100, "classes")])
def test_the_innermost_loop_reads_memory_in_order(classes: int, inner: str) -> None:
    """Few classes lie one after the other for many rows, many classes side by side in a row: of a
    row's other values then only one is at hand, which costs nothing."""
    found = nests(classes)
    # The extremum; the exponentials and their sum; what is picked, and the gradient.
    assert len(found) == 3
    for nest in found:
        assert ("classes" if nest.axes[-1].block == classes else "rows") == inner


def test_an_axis_without_elements_has_its_place() -> None:
    x = torch.zeros(3, 0, 5)
    fn = graphir.compile(lambda x: (torch.exp(x).sum(1), x.transpose(0, 2) + 1), backend="c")
    total, moved = fn(x)
    assert total.eq(0).all()
    assert moved.shape == (5, 0, 3)
