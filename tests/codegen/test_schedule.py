"""The scheduler: what goes into one kernel, what is refused, and for which reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from regressions import by_name
from steps import MACHINES, step_program

import graphir
from graphir.codegen.axes import name_axes
from graphir.codegen.machine import CPU, GPU, Machine
from graphir.codegen.program import Binding, Program, Role
from graphir.codegen.schedule import plan
from graphir.codegen.stream import choose_stream
from graphir.codegen.tile import AxisRole, Contract, Load, Store
from graphir.codegen.verify import unsafe_updates
from graphir.graph import Graph
from graphir.runtime.optim import SGD
from graphir.simplify import simplify


def graph_of(fn: Callable[..., Any], *shapes: tuple[int, ...], dynamic: Any = None) -> Graph:
    args = [torch.zeros(s) for s in shapes]
    return simplify(graphir.trace(fn, *args, dynamic=dynamic))


def planned(
    fn: Callable[..., Any],
    *shapes: tuple[int, ...],
    dynamic: Any = None,
    machine: Machine = CPU,
) -> Program:
    return plan(graph_of(fn, *shapes, dynamic=dynamic), name="fn", machine=machine)


def reasons(program: Program, kind: str = "refused") -> list[str]:
    return [d.reason for d in program.decisions if d.kind == kind]


BOTH = pytest.mark.parametrize("machine", [CPU, GPU], ids=lambda m: m.name)


# -- one kernel ---------------------------------------------------------------------------------


@BOTH
def test_what_fits_is_one_kernel_with_a_word_about_it(machine: Machine) -> None:
    program = planned(lambda w, x: torch.tanh(x @ w).sum(0), (5, 3), (9, 5), machine=machine)
    (kernel,) = program.kernels
    (decision,) = program.decisions
    assert decision.kind == "kernel"
    assert decision.subject == kernel.name == "fn_0"
    assert f"one pass over n in blocks of {kernel.stream.block}" in decision.reason


def test_the_stream_is_where_most_data_lies() -> None:
    def stream(graph: Graph) -> Any:
        axes = name_axes(graph)
        chosen = choose_stream(graph, axes)
        return None if chosen is None else axes.size[chosen]

    assert str(stream(graph_of(lambda w, x: x @ w, (50, 60), (3, 50)))) == "n"
    assert stream(graph_of(lambda x: x.sum(1), (4000, 7), dynamic=())) == 4000
    assert stream(graph_of(lambda x: x.sum(1), (7, 5), dynamic=())) is None


def test_buffers_come_in_the_order_of_the_call() -> None:
    program = step_program(by_name("batch_normalised"), CPU, SGD(lr=0.1, momentum=0.9))
    roles = [b.role for b in program.buffers]
    scratch = roles.index(Role.SCRATCH)
    assert set(roles[scratch:]) == {Role.SCRATCH}
    assert program.buffers[scratch - 1].name == "order"
    names = [b.name for b in program.buffers]
    assert len(set(names)) == len(names)
    assert [b.name for b in program.buffers if b.binding is Binding.ROWS] == ["x", "y"]
    steps = [b for b in program.buffers if b.binding is Binding.STEP]
    assert [str(b.shape[0]) for b in steps] == ["steps"] * len(steps)
    assert {b.role for b in steps} == {Role.INPUT, Role.OUTPUT}
    for kernel in program.kernels:
        assert list(kernel.buffers) == [n for n in names if n in kernel.buffers]


def test_an_output_that_is_an_argument_is_copied() -> None:
    program = planned(lambda a, x: (x, x + a, x), (), (9, 3))
    (kernel,) = program.kernels
    assert [s.address.buffer for s in kernel.body if isinstance(s, Store)] == [
        "out0", "out2", "out1",
    ]  # fmt: skip
    assert sum(isinstance(s, Load) and s.address.buffer == "x" for s in kernel.statements()) == 1


# -- refusals -----------------------------------------------------------------------------------


@BOTH
def test_a_finished_sum_is_not_there_within_its_pass(machine: Machine) -> None:
    program = planned(lambda a, x: x - a * x.mean(0), (), (9, 3), machine=machine)
    assert len(program.kernels) == 2
    (reason,) = reasons(program)
    assert reason.startswith("it varies along the streamed axis but needs %")
    assert reason.endswith("which is complete only after the pass")


@BOTH
def test_moved_positions_of_a_computed_value_go_through_memory(machine: Machine) -> None:
    program = planned(lambda a, x: torch.exp(x)[1:] * a, (), (900,), machine=machine)
    assert len(program.kernels) == 2
    assert any(
        "a slice shifts positions along an axis, so %" in r and "must be in memory first" in r
        for r in reasons(program)
    )
    written = [s.address.buffer for s in program.kernels[0].statements() if isinstance(s, Store)]
    assert [program.buffer(name).role for name in written] == [Role.SCRATCH]


def test_no_address_reaches_a_reshape_of_a_transpose() -> None:
    program = planned(lambda w: w.T.reshape(-1) * 2, (6, 7), dynamic=())
    assert len(program.kernels) == 2
    assert any("which its memory's layout does not allow" in r for r in reasons(program))


def test_moved_arguments_need_no_kernel_of_their_own() -> None:
    program = planned(lambda a, x: x[1:] - x[:-1] + a[1:4].reshape(3, 1)[1], (6,), (900,))
    assert len(program.kernels) == 1


@BOTH
def test_a_value_along_two_unknown_axes_is_shared_out(machine: Machine) -> None:
    program = planned(
        lambda x, y: torch.exp(x @ y.T).sum(1) + 1, (9, 3), (7, 3),
        dynamic={"x": 0, "y": 0}, machine=machine,
    )  # fmt: skip
    (kernel,) = program.kernels
    assert kernel.stream is not None
    assert [a.role for a in kernel.axes] == [AxisRole.STREAM, AxisRole.GRID, AxisRole.TILE]
    assert str(kernel.stream.size) == "m"
    program = planned(
        lambda x, y: (x @ y.T, x.sum(0)), (9, 3), (7, 3), dynamic={"x": 0, "y": 0}, machine=machine
    )
    assert len(program.kernels) == 2
    assert any(r.endswith("is walked by a kernel of its own") for r in reasons(program))


def test_a_product_too_big_for_a_tile_streams_what_it_sums() -> None:
    program = planned(lambda x, y: x @ y, (300, 700), (700, 500), dynamic=(), machine=GPU)
    (kernel,) = program.kernels
    assert kernel.stream is not None
    assert kernel.stream.size == 700
    assert sorted(a.size for a in kernel.grid) == [300, 500]
    assert all(16 <= a.block <= 128 for a in kernel.grid)
    (product,) = (s for s in kernel.body if isinstance(s, Contract))
    assert product.dot
    assert product.into is not None


def test_products_off_the_matrix_unit_are_kept_small() -> None:
    """Batches and integers: a tile of all products is made, within the machine's limits."""
    program = planned(lambda x, y: x @ y, (900, 40, 40), (900, 40, 40), dynamic=(), machine=GPU)
    for kernel in program.kernels:
        for s in kernel.statements():
            if isinstance(s, Contract):
                every = {a.id: a.block for a in (*s.a.axes, *s.b.axes)}
                elements = 1
                for block in every.values():
                    elements *= block
                assert elements <= 1 << 20  # what Triton takes


BOTH_ROWS = {"x": 0, "y": 0}
SMALL = replace(CPU, name="small", tile_limit=256, kept_limit=300)


def test_tiles_and_accumulators_must_fit() -> None:
    program = planned(lambda x, y: x.T @ y, (9, 20), (9, 20), dynamic=BOTH_ROWS, machine=SMALL)
    (kernel,) = program.kernels
    assert [a.size for a in kernel.grid] == [20]
    sums = planned(
        lambda x, y, z: (x.T @ y, x.T @ z), (9, 16), (9, 12), (9, 13),
        dynamic={"x": 0, "y": 0, "z": 0}, machine=SMALL,
    )  # fmt: skip
    assert len(sums.kernels) == 2
    assert "accumulators of 400 elements exceed small's 300" in reasons(sums)


def test_a_reason_names_the_kernel_and_the_node() -> None:
    program = planned(lambda a, x: x - a * x.mean(0), (), (9, 3))
    (refused,) = (d for d in program.decisions if d.kind == "refused")
    assert re.fullmatch(r"fn_0: %\d+ = sub", refused.subject)


def test_where_nothing_fits_the_error_says_what_and_why() -> None:
    tiny = replace(CPU, name="tiny", kept_limit=2)
    with pytest.raises(graphir.BackendError, match=r"no kernel of tiny can compute .* = sum") as e:
        planned(lambda a, x: x.sum(0), (), (9, 3), machine=tiny)
    assert "accumulators of 3 elements exceed tiny's 2" in str(e.value)


# -- updates in place -----------------------------------------------------------------------------


@pytest.mark.parametrize("machine", MACHINES)
def test_an_update_waits_for_a_later_kernel_that_reads_the_parameter(machine: str) -> None:
    program = step_program(by_name("batch_normalised"), MACHINES[machine], SGD(lr=0.1))
    carried = {program.outputs[i] for i, _ in program.loop.carry}
    assert carried == {"params_0", "params_1"}
    for place, kernel in enumerate(program.kernels):
        written = {s.address.buffer for s in kernel.statements() if isinstance(s, Store)}
        for name in written & carried:
            assert all(name not in later.buffers for later in program.kernels[place + 1 :])
    assert "it is still read, by a later kernel or elsewhere than where it is written" in reasons(
        program, "kept"
    )


def test_an_update_that_reads_other_elements_goes_through_memory() -> None:
    """A matrix on a grid: no program may write what another one still reads."""

    def loss(params: Any, x: Any) -> Any:
        (m,) = params
        return ((m - m.T) ** 2).sum() + (x @ m).sum()

    result = graphir.train(
        loss, (torch.ones(300, 300),), (torch.ones(4, 300),), optimizer=SGD(lr=0.1),
        backend="reference", progress=False,
    )  # fmt: skip
    for machine in MACHINES.values():
        program = plan(result.graph, name="loss", machine=machine, loop=result.program.loop)
        assert reasons(program, "kept")
        last = program.kernels[-1]
        stores = [s for s in last.statements() if isinstance(s, Store)]
        assert "params_0" in [s.address.buffer for s in stores]
        assert not any(unsafe_updates(kernel) for kernel in program.kernels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_what_a_product_reads_may_be_computed_on_the_way(dtype: torch.dtype) -> None:
    """The kernel walks the product's axes, not those of an operand alone: none is held whole."""

    def fn(a: Any, b: Any) -> Any:
        return torch.relu(a.to(dtype)) @ torch.relu(b.to(dtype))

    (kernel,) = planned(fn, (4096, 2048), (2048, 1024), dynamic=(), machine=GPU).kernels
    assert kernel.stream is not None
    assert kernel.stream.size == 2048
    assert [a.size for a in kernel.grid] == [4096, 1024]


def test_large_matrices_that_share_an_axis_are_not_walked_in_columns() -> None:
    """Programs of one walk would share out the axis that both have, and hold the other whole."""

    def fn(a: Any, b: Any, c: Any, d: Any) -> Any:
        return a * 2, a @ b @ c @ d, torch.exp(b), torch.exp(c), torch.exp(d)

    program = planned(fn, *((4096, 4096),) * 4, dynamic=(), machine=GPU)
    for kernel in program.kernels:
        assert all(a.role is not AxisRole.TILE for a in kernel.axes), kernel.name


def test_a_kernel_is_made_for_what_can_run() -> None:
    """Of mixed precision: the walk of a later product left fewer nodes, and held 512 whole."""

    def loss(params: Any, x: Any) -> Any:
        hidden = x
        for w in params:
            hidden = torch.relu(hidden @ w.to(x.dtype))
        return hidden.float().square().mean()

    params, x = [torch.zeros(512, 512) for _ in range(3)], torch.zeros(64, 512).bfloat16()
    graph = simplify(graphir.trace(graphir.value_and_grad(loss), params, x))
    for kernel in plan(graph, name="fn", machine=GPU).kernels:
        products = [s for s in kernel.statements() if isinstance(s, Contract)]
        assert all(s.into is not None for s in products), kernel.name
