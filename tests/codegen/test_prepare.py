"""Forms that every kernel can compute: selects, scatters, and one big sum at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.codegen.axes import name_axes
from graphir.codegen.blocks import Blocks
from graphir.codegen.machine import CPU, GPU
from graphir.codegen.prepare import prepare, split_sums
from graphir.codegen.uses import Walk, power_of_two, unheld
from graphir.evaluate import evaluate
from graphir.graph import Graph
from graphir.simplify import simplify
from graphir.sizes import Dim

SMALL = replace(CPU, tile_limit=100)


def traced(fn: Callable[..., Any], *args: Any, dynamic: Any = ()) -> Graph:
    return simplify(graphir.trace(fn, *args, dynamic=dynamic))


def real(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def ops(graph: Graph) -> list[str]:
    return [n.op for n in graph.live()]


def same(before: Graph, after: Graph, *args: Any) -> None:
    for got, wanted in zip(evaluate(after, args), evaluate(before, args), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_a_short_part_of_a_computed_value_is_selected_in_the_tile() -> None:
    x = real(7, 5)
    graph = traced(lambda x: torch.exp(x)[1::2, -2:], x)
    prepared = prepare(graph)
    assert "slice" not in ops(prepared)
    same(graph, prepared, x)


def test_parts_of_arguments_and_long_ones_stay_slices() -> None:
    assert "slice" in ops(prepare(traced(lambda x: x[1:3] * 2, real(7))))
    assert "slice" in ops(prepare(traced(lambda x: torch.exp(x)[1:], real(900))))
    dynamic = {"x": 0}
    assert "slice" in ops(prepare(traced(lambda x: torch.exp(x)[1:], real(9), dynamic=dynamic)))


def test_a_scatter_is_a_sum_over_the_rows() -> None:
    table, ids = real(4, 3), torch.tensor([0, 3, 3, 1, 0])
    graph = traced(graphir.grad(lambda t, i: torch.sin(t[i]).sum()), table, ids)
    assert "scatter_add" in ops(graph)
    prepared = prepare(graph)
    assert "scatter_add" not in ops(prepared)
    same(graph, prepared, table, ids)


def test_prepared_values_of_nan_stay_where_they_are() -> None:
    x = real(4, 3)
    x[1] = np.nan
    graph = traced(lambda x: torch.exp(x)[2:], x)
    (got,) = evaluate(prepare(graph), [x])
    assert not np.isnan(got).any()


@pytest.mark.parametrize("op", [torch.sum, torch.amax, torch.amin])
def test_unknown_sizes_are_reduced_one_after_another(op: Any) -> None:
    x = real(3, 4, 5)
    graph = traced(lambda x: op(torch.exp(x)), x, dynamic={"x": (0, 2)})
    split = split_sums(prepare(graph), CPU)
    axes = [n.attrs["axes"] for n in split.live() if n.kind.value == "reduction"]
    assert axes == [(2,), (0, 1)]
    same(graph, split, x)


def test_known_sizes_are_split_where_no_tile_holds_them() -> None:
    x = real(70, 2, 80)
    graph = traced(lambda x: torch.exp(x).sum(), x)
    assert sum(op == "sum" for op in ops(split_sums(graph, CPU))) == 1
    split = split_sums(graph, SMALL)
    assert [n.attrs["axes"] for n in split.live() if n.op == "sum"] == [(2,), (0, 1)]
    same(graph, split, x)


def test_a_product_over_two_unknown_sizes_is_multiplied_and_summed() -> None:
    x, y = real(6, 4), real(6, 4)
    graph = traced(lambda x, y: torch.einsum("ab,ab->", x, y), x, y,
                   dynamic={"x": (0, 1), "y": (0, 1)})  # fmt: skip
    split = split_sums(prepare(graph), CPU)
    assert "contract" not in ops(split)
    same(graph, split, x, y)


def test_what_a_tile_holds() -> None:
    n = Dim.symbol("n")
    assert unheld({"a": 9, "b": 9}, SMALL) == set()
    assert unheld({"a": n, "b": 9}, SMALL) == {"a"}
    assert unheld({"a": 70, "b": 9, "c": 80}, SMALL) == {"a", "c"}
    assert unheld({"a": 20, "b": 9, "c": 5}, SMALL) == {"a"}
    # Padding counts where tiles are padded: 65 takes 128.
    assert unheld({"a": 128, "b": 128}, GPU) == set()
    assert unheld({"a": 129, "b": 65}, GPU) == {"a", "b"}
    assert [power_of_two(k) for k in (1, 2, 3, 5, 64, 65)] == [1, 2, 4, 8, 64, 128]


def test_axes_are_never_called_as_sizes_are() -> None:
    graph = traced(lambda x: torch.exp(x) * 2, real(2, 3, 4), dynamic={"x": (0, 1, 2)})
    axes = name_axes(graph)
    i, j, k = axes.of[graph.outputs[0]]
    made = Blocks.choose(graph.live(), graph.outputs, Walk(i, (j, k)), axes, CPU).axes
    sizes = {name for a in made.values() if isinstance(a.size, Dim) for name in a.size.names}
    assert sizes == {"n", "m", "k"}
    assert not sizes & {a.name for a in made.values()}


def test_blocks_of_many_axes_stay_small() -> None:
    graph = traced(lambda x: torch.exp(x) * 2, real(2, 3, 4, 5), dynamic={"x": (0, 1, 2, 3)})
    axes = name_axes(graph)
    first, *rest = axes.of[graph.outputs[0]]
    for machine in (CPU, GPU):
        made = Blocks.choose(graph.live(), graph.outputs, Walk(first, tuple(rest)), axes, machine)
        elements = int(np.prod([a.block for a in made.axes.values()]))
        assert elements <= max(machine.block_elements, machine.light_elements)
