"""The model that chooses blocks for a GPU, and what follows from its choices in the text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks.kernels import step_build
from benchmarks.workloads import BY_NAME, WORKLOADS
from graphir.codegen.machine import CHIPS, GPU, SM_90, Chip, gpu
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.codegen.tile import AxisRole, Load, TileKernel
from graphir.codegen.triton_text import print_triton
from graphir.codegen.verify import KernelError, verify_kernel
from graphir.graph import Graph
from graphir.simplify import simplify
from graphir.tracing import trace


def step(name: str, chip: Chip, choices: dict[str, int] | None = None) -> Program:
    build = step_build(BY_NAME[name], shuffle=True)
    return plan(build.graph, name=build.name, machine=gpu(chip), loop=build.loop, choices=choices)


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda c: c.name)
@pytest.mark.parametrize("name", [w.name for w in WORKLOADS])
def test_every_choice_is_a_sound_kernel(name: str, chip: Chip) -> None:
    first = step(name, chip)
    most = max(k.choices for k in first.kernels)
    seen = set()
    for number in range(most):
        program = step(name, chip, {k.name: number for k in first.kernels})
        assert [k.choice for k in program.kernels] == [
            min(number, k.choices - 1) for k in program.kernels
        ]
        seen.add(repr([(k.axes, k.tuning) for k in program.kernels]))
    assert len(seen) == most


def test_a_choice_depends_on_nothing_else() -> None:
    assert step("mlp_sgd", SM_90).kernels[0].axes == step("mlp_sgd", SM_90).kernels[0].axes


def test_the_long_axis_is_walked_in_chunks_twice() -> None:
    (kernel,) = step("softmax_sgd", SM_90).kernels
    forward, backward, update = kernel.loops
    assert (forward.part, forward.unrolled) == ("body", False)
    assert (backward.part, backward.unrolled) == ("body", True)
    assert update.part == "epilogue"
    # The logits are complete after the first loop; a gradient is summed for each chunk.
    assert [a.op for a in forward.accumulators] == ["add"]
    (gradient,) = [a for a in kernel.accumulators if a.pieces]
    assert len(gradient.pieces) == backward.axis.blocks == 7


def test_short_axes_are_not() -> None:
    (kernel,) = step("linreg_full", SM_90).kernels
    assert not kernel.loops
    assert all(a.role is not AxisRole.CHUNK for a in kernel.axes)


def test_a_chunk_is_read_in_its_loop_only() -> None:
    (kernel,) = step("softmax_sgd", SM_90).kernels
    loop = kernel.loops[0]
    shorter = replace(loop, stop=loop.stop - 1)
    with pytest.raises(KernelError, match=r"outside of the stream|too early"):
        verify_kernel(replace(kernel, loops=(shorter, *kernel.loops[1:])))
    with pytest.raises(KernelError, match="varies along the chunks"):
        verify_kernel(replace(kernel, loops=()))
    once = replace(kernel.loops[1], unrolled=False)
    with pytest.raises(KernelError, match="outside of its chunks"):
        verify_kernel(replace(kernel, loops=(loop, once, kernel.loops[2])))


def test_an_update_in_a_loop_reads_what_it_writes_and_no_more() -> None:
    (kernel,) = step("softmax_sgd", SM_90).kernels
    update = kernel.loops[-1]
    load = next(s for s in kernel.epilogue[update.start :] if isinstance(s, Load))
    address = replace(load.address, offset=10)
    moved = replace(load, address=address)
    epilogue = tuple(moved if s is load else s for s in kernel.epilogue)
    with pytest.raises(KernelError, match="updates params_0 while it is read"):
        verify_kernel(replace(kernel, epilogue=epilogue))


def graph_of(fn: Any, *shapes: tuple[int, ...]) -> Graph:
    # No memory is touched: an expanded number has any shape.
    args = [torch.zeros(()).expand(shape) for shape in shapes]
    return simplify(trace(fn, tuple(args), dynamic=None).graph)


def text(fn: Any, *shapes: tuple[int, ...]) -> str:
    return print_triton(plan(graph_of(fn, *shapes), name="fn", machine=GPU)).source


def test_places_have_as_many_bits_as_they_need() -> None:
    def doubled(w: Any) -> Any:
        return w * 2

    assert ".to(tl.int64)" not in text(doubled, (3000, 4000))
    assert ".to(tl.int64) * 40000" in text(doubled, (70_000, 40_000))


def test_large_products_are_walked_in_groups() -> None:
    kernels: tuple[TileKernel, ...] = step("wide_mlp", SM_90).kernels
    assert [k.tuning.group for k in kernels if len(k.grid) == 2] == [8] * 5
    source = print_triton(step("wide_mlp", SM_90)).source
    assert source.count("tl.swizzle2d(") == 5


def test_double_precision_takes_smaller_blocks() -> None:
    def product(w: Any, x: Any) -> Any:
        return torch.relu(x @ w)

    def area(dtype: torch.dtype) -> int:
        args = torch.zeros(512, 512, dtype=dtype), torch.zeros(2048, 512, dtype=dtype)
        graph = simplify(trace(product, args, dynamic=None).graph)
        (kernel,) = plan(graph, name="fn", machine=GPU).kernels
        rows, columns = kernel.grid
        return rows.block * columns.block

    assert area(torch.float64) < area(torch.float32)
