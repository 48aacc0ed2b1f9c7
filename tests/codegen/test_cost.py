"""Bytes by footprint, operations, and how many threads they are worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from regressions import by_name
from steps import step_program

import graphir
from graphir.codegen.cost import traffic, useful_threads
from graphir.codegen.machine import CPU, GPU, Machine
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.simplify import simplify

BOTH = pytest.mark.parametrize("machine", [CPU, GPU], ids=lambda m: m.name)


def planned(
    fn: Callable[..., Any], *args: torch.Tensor, dynamic: Any = (), machine: Machine = CPU
) -> Program:
    graph = simplify(graphir.trace(fn, *args, dynamic=dynamic))
    return plan(graph, name="fn", machine=machine)


@BOTH
def test_each_element_counts_once(machine: Machine) -> None:
    program = planned(
        lambda x: torch.softmax(x, 1), torch.zeros(9, 7), dynamic={"x": 0}, machine=machine
    )
    (kernel,) = program.kernels
    cost = traffic(kernel, program, {"n": 1000})
    assert cost.read == {"x": 1000 * 7 * 4}
    assert cost.written == {"out0": 1000 * 7 * 4}
    assert cost.bytes == 2 * 1000 * 7 * 4
    assert cost.passes == {"x": 1}


@BOTH
def test_two_tiles_of_one_array_are_its_elements_once(machine: Machine) -> None:
    program = planned(
        lambda w, x: ((x @ w) * x).sum(1), torch.zeros(5, 5), torch.zeros(9, 5),
        dynamic={"x": 0}, machine=machine,
    )  # fmt: skip
    (kernel,) = program.kernels
    assert traffic(kernel, program, {"n": 100}).read == {"w": 25 * 4, "x": 100 * 5 * 4}


def test_rows_picked_by_index_are_no_more_than_there_are() -> None:
    table, ids = torch.zeros(50, 3), torch.zeros(8, dtype=torch.int64)
    program = planned(lambda t, i: t[i] * 2, table, ids, dynamic={"i": 0})
    (kernel,) = program.kernels
    assert traffic(kernel, program, {"n": 10}).read == {"t": 10 * 3 * 4, "i": 10 * 8}
    assert traffic(kernel, program, {"n": 1000}).read == {"t": 50 * 3 * 4, "i": 1000 * 8}


@BOTH
def test_operations_of_a_product(machine: Machine) -> None:
    program = planned(lambda x, w: x @ w, torch.zeros(20, 30), torch.zeros(30, 40), machine=machine)
    (kernel,) = program.kernels
    assert traffic(kernel, program, {}).flops == 2 * 20 * 30 * 40


def test_a_step_of_a_loop_is_one_batch() -> None:
    program = step_program(by_name("linear"), CPU)
    (kernel,) = program.kernels
    full = traffic(kernel, program, {"rows": 1000, "batch": 100})
    assert full.read["order"] == 100 * 8
    assert traffic(kernel, program, {"rows": 60, "batch": 100}).read["x"] == 60 * 5 * 4


def test_a_second_walk_over_an_array_shows() -> None:
    program = step_program(by_name("linear"), CPU)
    (kernel,) = program.kernels
    passes = traffic(kernel, program, {"rows": 1000, "batch": 100}).passes
    # Parameters are read before the rows, and again to be updated.
    assert (passes["x"], passes["params_0"]) == (1, 2)


def test_threads_come_from_the_sizes() -> None:
    program = step_program(by_name("linear"), CPU)

    def threads(batch: int, available: int = 8) -> int:
        return useful_threads(program, {"rows": 10**7, "batch": batch}, available)

    assert threads(16) == 1
    assert threads(10**6) == 8
    assert threads(10**6, available=3) == 3
    counts = [threads(2**k) for k in range(20)]
    assert counts == sorted(counts)
