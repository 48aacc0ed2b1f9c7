"""Sums over several axes that no tile holds: each gets kernels on every machine."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphir
from graphir.codegen.machine import CPU, GPU, Machine, halved
from graphir.codegen.schedule import plan
from graphir.simplify import simplify

MACHINES = (CPU, GPU, halved(GPU, 2))
# Equally long ones among them, of which a tile of the GPU's holds two: then it matters which is
# walked.
SIZES = st.sampled_from([1, 2, 16, 17, 17, 17, 20, 32, 33, 40, 70])


def kernels(fn: Any, shapes: list[tuple[int, ...]], dynamic: Any, machine: Machine) -> int:
    args = [torch.zeros(1).expand(shape) for shape in shapes]
    graph = simplify(graphir.trace(fn, *args, dynamic=dynamic))
    return len(plan(graph, name="fn", machine=machine).kernels)


@pytest.mark.parametrize(
    ("shape", "axes", "walked"),
    [
        ((5, 17, 17, 17), (0, 1, 2), 0),
        ((20, 17, 40, 17, 17), (1, 2, 3), 3),
        ((32, 2, 32, 17, 20), (0, 1, 2), 1),
    ],
)
def test_of_equally_long_axes_the_kept_one_is_walked(
    shape: tuple[int, ...], axes: tuple[int, ...], walked: int
) -> None:
    """No kernel was found for these, where the fuser walked another than had been split off."""
    assert kernels(lambda x: torch.logsumexp(x, axes), [shape], {"x": walked}, GPU)


@st.composite
def reductions(draw: Any) -> tuple[list[tuple[int, ...]], Any, dict[str, int]]:
    shape = tuple(draw(st.lists(SIZES, min_size=2, max_size=5)))
    axes = tuple(draw(st.sets(st.sampled_from(range(len(shape))), min_size=1)))
    walked = draw(st.sampled_from([None, *range(len(shape))]))
    return [shape], lambda x: torch.sum(x, axes), {} if walked is None else {"x": walked}


@st.composite
def contractions(draw: Any) -> tuple[list[tuple[int, ...]], Any, dict[str, int]]:
    letters = "abcde"
    sizes = {c: draw(SIZES) for c in letters}
    left, right = (
        "".join(draw(st.permutations(sorted(draw(st.sets(st.sampled_from(letters), min_size=1))))))
        for _ in range(2)
    )
    both = sorted({*left, *right})
    out = "".join(draw(st.lists(st.sampled_from(both), unique=True, max_size=3)))
    unknown = draw(st.sampled_from([None, *both]))
    sides = (("x", left), ("y", right))
    dynamic = {name: side.index(unknown) for name, side in sides if unknown and unknown in side}
    shapes = [tuple(sizes[c] for c in side) for side in (left, right)]
    return shapes, lambda x, y: torch.einsum(f"{left},{right}->{out}", x, y), dynamic


@pytest.mark.parametrize("machine", MACHINES, ids=["c", "triton", "small triton"])
@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(case=st.one_of(reductions(), contractions()))
def test_every_sum_has_kernels(machine: Machine, case: Any) -> None:
    shapes, fn, dynamic = case
    assert kernels(fn, shapes, dynamic, machine)
