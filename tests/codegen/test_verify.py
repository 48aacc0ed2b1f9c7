"""The verifier of the tile IR: every rule, broken by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from regressions import by_name
from steps import step_program

import graphir
from graphir.codegen.machine import CPU, GPU
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.codegen.tile import (
    Accumulator,
    Axis,
    AxisRole,
    Contract,
    Load,
    Map,
    Mask,
    Reduce,
    Statement,
    Store,
    Term,
    Tile,
    TileKernel,
)
from graphir.codegen.verify import KernelError, unsafe_updates, verify_kernel, verify_program
from graphir.dtypes import float32
from graphir.simplify import simplify


@pytest.fixture(scope="module")
def program() -> Program:
    """A whole training step for the GPU: products, sums, masks and updates."""
    return step_program(by_name("softmax"), GPU)


@pytest.fixture(scope="module")
def kernel(program: Program) -> TileKernel:
    return program.kernels[0]


def swapped(kernel: TileKernel, part: str, place: int, *statements: Statement) -> TileKernel:
    """The kernel with other statements in place of one."""
    found = list(getattr(kernel, part))
    found[place : place + 1] = statements
    return replace(kernel, **{part: tuple(found)})


def first(kernel: TileKernel, part: str, kind: type, which: Callable[[Any], bool] = bool) -> int:
    statements = enumerate(getattr(kernel, part))
    return next(i for i, s in statements if isinstance(s, kind) and (which is bool or which(s)))


def broken(kernel: TileKernel, match: str) -> None:
    with pytest.raises(KernelError, match=match):
        verify_kernel(kernel)


def broken_program(program: Program, match: str) -> None:
    with pytest.raises(KernelError, match=match):
        verify_program(program)


def test_what_the_scheduler_makes_is_sound(program: Program) -> None:
    verify_program(program)


# -- kernels --------------------------------------------------------------------------------------


def test_one_axis_is_streamed(kernel: TileKernel) -> None:
    other = Axis(99, "z", 7, AxisRole.STREAM, 4)
    broken(replace(kernel, axes=(*kernel.axes, other)), "streams two axes")


def test_a_tile_is_defined_before_it_is_read(kernel: TileKernel) -> None:
    place = first(kernel, "body", Load)
    name = kernel.body[place].out.name
    broken(swapped(kernel, "body", place), f"body: {name} is read too early")


def test_what_the_body_defines_is_gone_after_it(kernel: TileKernel) -> None:
    inner = next(s.out for s in kernel.body if isinstance(s, Map))
    other = Map(Tile("late", inner.axes, inner.dtype), "neg", (inner,))
    broken(replace(kernel, epilogue=(other, *kernel.epilogue)), "epilogue: .* is read too early")


def test_an_accumulator_is_read_after_the_stream(kernel: TileKernel) -> None:
    total = kernel.accumulators[0].tile
    other = Map(Tile("early", total.axes, total.dtype), "neg", (total,))
    broken(replace(kernel, body=(*kernel.body, other)), f"{total.name} is read too early")


def test_a_tile_is_defined_once(kernel: TileKernel) -> None:
    place = first(kernel, "body", Map)
    same = kernel.body[place]
    broken(swapped(kernel, "body", place, same, same), f"{same.out.name} is defined twice")


def test_only_the_body_varies_along_the_stream(kernel: TileKernel) -> None:
    place = first(kernel, "body", Load, lambda s: kernel.stream in s.out.axes)
    moved = kernel.body[place]
    early = replace(kernel, preamble=(*kernel.preamble, moved))
    broken(early, f"preamble: {moved.out.name} varies along the stream|is read too early")


def test_an_elementwise_op_keeps_the_axes_of_its_arguments(kernel: TileKernel) -> None:
    place = first(kernel, "body", Map, lambda s: len(s.out.axes) == 2)
    s = kernel.body[place]
    fewer = replace(s, out=Tile(s.out.name, s.out.axes[:1], s.out.dtype))
    broken(swapped(kernel, "body", place, fewer), "drops axes of its arguments")


def test_a_reduction_drops_what_it_reduces(kernel: TileKernel) -> None:
    place = first(kernel, "body", Reduce)
    s = kernel.body[place]
    broken(swapped(kernel, "body", place, replace(s, axes=())), "reduces the wrong axes")
    other = Axis(99, "z", 7, AxisRole.TILE, 8)
    broken(swapped(kernel, "body", place, replace(s, axes=(*s.axes, other))), "wrong axes")


def test_a_contraction_drops_what_it_sums(kernel: TileKernel) -> None:
    place = first(kernel, "body", Contract)
    s = kernel.body[place]
    broken(swapped(kernel, "body", place, replace(s, axes=())), "contracts the wrong axes")


def test_a_mask_keeps_the_axes(kernel: TileKernel) -> None:
    place = first(kernel, "body", Mask, lambda s: s.out.axes)
    s = kernel.body[place]
    fewer = replace(s, out=Tile(s.out.name, s.out.axes[:-1], s.out.dtype))
    broken(swapped(kernel, "body", place, fewer), "a mask changes axes")


def test_a_store_has_the_axes_of_what_it_writes(kernel: TileKernel) -> None:
    place = first(kernel, "epilogue", Store, lambda s: s.axes)
    fewer = replace(kernel.epilogue[place], axes=())
    broken(swapped(kernel, "epilogue", place, fewer), "a store of .* lacks axes")


def test_accumulators_are_joined_in_the_stream(kernel: TileKernel) -> None:
    place = first(kernel, "body", Contract, lambda s: s.into is not None)
    s = kernel.body[place]
    unknown = Accumulator(s.out, "add", 0)
    wrong = replace(s, into=unknown)
    broken(swapped(kernel, "body", place, wrong), "is joined outside of the stream")
    total = kernel.accumulators[0]
    one = Tile("one", total.tile.axes, float32)
    late = Reduce(total.tile, one, (), "add", 0, total)
    fill = Load(one, next(x.address for x in kernel.statements() if isinstance(x, Load)))
    broken(replace(kernel, epilogue=(fill, late, *kernel.epilogue)), "outside of the stream")


# -- updates in place ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiled() -> Program:
    """A matrix on a grid of programs, copied with a change."""
    graph = simplify(graphir.trace(lambda w: torch.exp(w) * 2, torch.zeros(300, 300), dynamic=()))
    return plan(graph, name="tiled", machine=GPU)


def in_place(kernel: TileKernel) -> TileKernel:
    """The kernel that writes over what it reads."""
    place = first(kernel, "body", Store)
    s = kernel.body[place]
    address = replace(s.address, buffer="w")
    return swapped(kernel, "body", place, replace(s, address=address))


def test_an_update_of_the_elements_read_is_safe(tiled: Program) -> None:
    kernel = in_place(tiled.kernels[0])
    assert not unsafe_updates(kernel)
    verify_kernel(kernel)


def test_an_update_of_other_elements_is_not(tiled: Program) -> None:
    kernel = in_place(tiled.kernels[0])
    place = first(kernel, "body", Load)
    s = kernel.body[place]
    turned = replace(s.address, terms=tuple(
        Term(stride.stride, other.axis)
        for stride, other in zip(s.address.terms, reversed(s.address.terms), strict=True)
    ))  # fmt: skip
    assert unsafe_updates(swapped(kernel, "body", place, replace(s, address=turned))) == {"w"}
    broken(swapped(kernel, "body", place, replace(s, address=turned)), "updates w while it is read")


def test_an_update_by_several_programs_is_not(tiled: Program) -> None:
    """A program that does not own the element may read what another one has written."""
    kernel = tiled.kernels[0]
    shared = tuple(
        replace(a, role=AxisRole.GRID) if a.role is AxisRole.TILE else a for a in kernel.axes
    )
    other = Axis(99, "z", 7, AxisRole.GRID, 4)
    assert unsafe_updates(in_place(replace(kernel, axes=(*shared, other)))) == {"w"}


# -- programs --------------------------------------------------------------------------------------


def test_buffers_have_names_of_their_own(program: Program) -> None:
    twice = replace(program, buffers=(*program.buffers, program.buffers[0]))
    broken_program(twice, "two buffers share a name")


def test_memory_is_written_before_it_is_read() -> None:
    program = step_program(by_name("r_squared"), CPU)
    assert len(program.kernels) == 2
    turned = replace(program, kernels=program.kernels[::-1])
    broken_program(turned, "reads tmp.* before it is written")


def test_every_output_is_written(program: Program) -> None:
    loss = program.outputs[-1]
    kernel = program.kernels[0]
    place = first(kernel, "epilogue", Store, lambda s: s.address.buffer == loss)
    short = replace(program, kernels=(swapped(kernel, "epilogue", place),))
    broken_program(short, f"no kernel writes {loss}")


def test_a_parameter_is_not_read_after_its_update(program: Program) -> None:
    kernel = program.kernels[0]
    again = replace(program, kernels=(kernel, replace(kernel, name="again")))
    broken_program(again, "again reads .* after its update")


def test_padding_never_enters_a_sum(program: Program) -> None:
    """Each mask of a whole step is needed: without any one of them the verifier speaks up."""
    kernel = program.kernels[0]
    masks = 0
    for part in ("preamble", "body", "epilogue"):
        for place, s in enumerate(getattr(kernel, part)):
            if isinstance(s, Mask):
                masks += 1
                bare = Map(s.out, "copy", (s.source,))
                open_ = replace(program, kernels=(swapped(kernel, part, place, bare),))
                broken_program(open_, "joins what lies beyond .'s end")
                wrong = replace(s, value=3.5)
                odd = replace(program, kernels=(swapped(kernel, part, place, wrong),))
                broken_program(odd, "joins what lies beyond .'s end")
    assert masks >= 4
