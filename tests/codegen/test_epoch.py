"""Epochs of one launch: which there are, and that programs that meet at a barrier agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from benchmarks.kernels import step_build
from benchmarks.peer_torch import tensors, torch_ops
from benchmarks.workloads import BY_NAME, Workload
from graphir.codegen.epoch import make_epoch, reblocked
from graphir.codegen.epoch_choice import EpochChoice, Way, choose_epoch, launch_each
from graphir.codegen.machine import SM_90, gpu
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.codegen.tile import Load, Store
from graphir.codegen.triton_epoch import print_epoch
from graphir.codegen.verify import verify_kernel, verify_masks
from graphir.errors import BackendError
from graphir.runtime import epochs
from graphir.runtime.backend_interpret import shared_interpreter
from graphir.runtime.fitting import fitted_epoch


def program_of(name: str) -> Program:
    build = step_build(BY_NAME[name], shuffle=True)
    return plan(build.graph, name=build.name, machine=gpu(SM_90), loop=build.loop)


def chosen(name: str, most_rows: int | None = None) -> EpochChoice:
    w = BY_NAME[name]
    sizes = {"rows": w.rows, "batch": w.batch}
    return choose_epoch(program_of(name), sizes, SM_90.processors, most_rows=most_rows)


@pytest.mark.parametrize(
    ("name", "way", "programs"),
    [
        ("linreg_sgd", Way.ALONE, 1),
        ("mlp_sgd", Way.TOGETHER, 128),
        ("ridge", Way.TOGETHER, 4),
        ("softmax_sgd", Way.LAUNCHES, None),
        ("wide_mlp", Way.LAUNCHES, None),
        ("linreg_full", Way.LAUNCHES, None),
    ],
)
def test_way(name: str, way: Way, programs: int | None) -> None:
    choice = chosen(name)
    assert choice.way is way
    assert programs is None or choice.programs == programs
    assert choice.decision.reason.startswith(way.value)
    assert (choice.epoch is None) == (way is Way.LAUNCHES)


@pytest.mark.parametrize("name", ["linreg_sgd", "ridge", "mlp_sgd"])
def test_what_is_held_is_read_and_written_once(name: str) -> None:
    program = program_of(name)
    assert program.loop is not None
    epoch = make_epoch(program)
    held = {h.buffer.name for h in epoch.held}
    assert held == {program.buffers[place].name for _, place in program.loop.carry}
    left = [*epoch.kernel.statements()]
    assert not [s for s in left if isinstance(s, (Load, Store)) and s.address.buffer in held]
    assert {s.address.buffer for s in epoch.once if isinstance(s, Load)} >= held
    assert not epoch.in_memory


@pytest.mark.parametrize("rows", [16, 32, 64])
def test_other_blocks_of_the_same_kernel(rows: int) -> None:
    (kernel,) = program_of("mlp_sgd").kernels
    other = reblocked(kernel, rows)
    assert other.stream is not None
    assert other.stream.block == rows
    verify_kernel(other)
    verify_masks(other)


def test_blocks_become_smaller_until_the_compiler_agrees() -> None:
    w, program = BY_NAME["mlp_sgd"], program_of("mlp_sgd")
    sizes = {"rows": w.rows, "batch": w.batch}

    def choose(most_rows: int | None) -> EpochChoice:
        return choose_epoch(program, sizes, SM_90.processors, most_rows=most_rows)

    def refuse(reason: str) -> EpochChoice:
        return launch_each(program, sizes, SM_90.processors, None, reason)

    def rows(choice: EpochChoice) -> int:
        assert choice.epoch is not None
        assert choice.epoch.kernel.stream is not None
        return choice.epoch.kernel.stream.block

    first = rows(choose(None))
    answers = iter(["8 bytes of registers went to memory", None])
    found = fitted_epoch(choose, refuse, lambda module: next(answers))
    assert rows(found) == first // 2
    assert f"blocks of {first} rows 8 bytes" in found.decision.reason
    never = fitted_epoch(choose, refuse, lambda module: "it can trap")
    assert never.way is Way.LAUNCHES
    assert "in one launch it can trap" in never.decision.reason


def trained(w: Workload, backend: str, threads: int | None, dtype: torch.dtype) -> Any:
    ops = torch_ops()

    def loss(params: Any, x: Any, y: Any) -> Any:
        return w.loss(ops, params, x, y)

    def cast(arrays: Any) -> tuple[torch.Tensor, ...]:
        return tuple(t.to(dtype) if t.is_floating_point() else t for t in tensors(arrays, "cpu"))

    return graphir.train(
        loss, cast(w.params()), cast(w.data()), batch_size=w.batch, epochs=2, seed=3,
        optimizer=graphir.optim.SGD(w.lr, w.momentum, w.weight_decay), backend=backend,
        threads=threads, progress=False,
    )  # fmt: skip


# Of few sums each program adds up all, of many a share.
@pytest.mark.parametrize(
    ("name", "rows", "batch", "programs"),
    [("ridge", 2000, 900, 3), ("ridge", 1537, 512, 2), ("mlp_sgd", 250, 100, 4),
     ("mlp_sgd", 97, 64, 2)],
)  # fmt: skip
def test_programs_that_meet(name: str, rows: int, batch: int, programs: int) -> None:
    w = replace(BY_NAME[name], rows=rows, batch=batch)
    got = trained(w, "interpret", programs, torch.float32)
    (how,) = [d.reason for d in got.explain().decisions if d.kind == "epoch"]
    assert how.startswith(Way.TOGETHER.value)
    assert got.threads == programs
    assert "meet(" in got.kernels[0].source
    wanted = trained(w, "reference", None, torch.float64)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-5)
    for ours, exact in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("programs", [1, 4])
def test_slices_do_not_change_the_bits(programs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    w = replace(BY_NAME["mlp_sgd"], rows=500, batch=100)
    whole = trained(w, "interpret", programs, torch.float32)
    monkeypatch.setattr(epochs, "SLICE_SECONDS", 0.0)
    sliced = trained(w, "interpret", programs, torch.float32)
    assert whole.history.step_loss == sliced.history.step_loss
    for a, b in zip(whole.params, sliced.params, strict=True):
        assert torch.equal(a, b)


WAITING = """import triton
import triton.language as tl


@triton.jit
def waiting(seen_ptr, out_ptr, limit: tl.int64):
    pid = tl.program_id(0)
    programs = tl.num_programs(0)
    arrived = tl.atomic_add(seen_ptr, 1, sem="acq_rel") + 1
    while arrived < programs:
        arrived = tl.atomic_add(seen_ptr, 0, sem="acq_rel")
    tl.store(out_ptr + pid, pid + arrived, mask=pid < limit)
    if pid == limit:
        tl.store(out_ptr + pid + undefined, pid)
"""


def test_the_interpreter_runs_programs_that_wait() -> None:
    seen, out = np.zeros(1, np.int32), np.zeros(5, np.int32)
    launch = shared_interpreter().launch
    launch(WAITING, "waiting", [seen, out, 5], (5,), cooperative=True)
    assert out.tolist() == [5, 6, 7, 8, 9]
    seen[:] = 0
    with pytest.raises(BackendError, match="undefined"):
        launch(WAITING, "waiting", [seen, out, 2], (5,), cooperative=True)
    # Nothing of the common run is left behind.
    seen[:] = 0
    launch(WAITING, "waiting", [seen, out, 1], (1,))
    assert out[0] == 1


@pytest.mark.parametrize(("name", "stages"), [("linreg_sgd", 3), ("ridge", 1), ("mlp_sgd", 1)])
def test_only_data_is_fetched_ahead(name: str, stages: int) -> None:
    """Programs that meet read in each step what others wrote in it."""
    (line,) = [x for x in print_epoch(chosen(name)).source.splitlines() if "for step in" in x]
    assert f"tl.range(first, last, num_stages={stages}" in line
