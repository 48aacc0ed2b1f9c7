"""What the kernels of the workloads take on each chip, compiled without one: `make kernels`.

Writes `kernels.json` and `kernels.txt` to benchmarks/results/: registers, shared and tensor
memory, spilled bytes and the kinds of instructions of each kernel, and fails where something is
wrong with one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .peer_torch import tensors, torch_ops
from .workloads import BY_NAME, WORKLOADS, Workload

RESULTS = Path(__file__).with_name("results")


@dataclass(frozen=True)
class Row:
    """One kernel of a workload on one chip."""

    workload: str
    rows: str
    kernel: str
    launch: str
    chip: str
    blocks: str
    choice: int
    choices: int
    warps: int
    stages: int
    registers: int
    spill_bytes: int
    shared_bytes: int
    tensor_columns: int
    instructions: tuple[str, ...]
    wrong: str | None


def step_build(workload: Workload, *, shuffle: bool) -> Any:
    """The traced step of a workload as `graphir.train` makes it; a few rows are enough."""
    import graphir
    from graphir.runtime.train import compiled_step
    from graphir.runtime.train_checks import Task

    ops = torch_ops()

    def loss(params: Any, x: Any, y: Any) -> Any:
        return workload.loss(ops, params, x, y)

    loss.__name__ = workload.name
    # A second batch, so that a shuffle means something.
    small = replace(workload, rows=64, batch=32)
    params, data = tensors(workload.params(), "cpu"), tensors(small.data(), "cpu")
    task = Task.checked(loss, tuple(params), tuple(data), None, small.batch, 1, 0)
    optimizer = graphir.optim.SGD(workload.lr, workload.momentum, workload.weight_decay)
    return compiled_step(task, optimizer, shuffle, "interpret", None, "highest").build


def rows_of(name: str, shuffle: bool, chip_name: str) -> list[Row]:
    """The kernels of one workload on one chip: of a step and, where all steps of an epoch are one
    launch, of that."""
    from graphir.codegen.machine import CHIPS, gpu
    from graphir.codegen.program import Program
    from graphir.codegen.schedule import plan
    from graphir.codegen.tile import TileKernel
    from graphir.runtime.fitting import fit, module_report, objection
    from graphir.runtime.resources import ResourceReport
    from graphir.runtime.ways import Ways

    chip, workload = CHIPS[chip_name], BY_NAME[name]
    build = step_build(workload, shuffle=shuffle)

    def planned(choices: Mapping[str, int]) -> Program:
        return plan(
            build.graph, name=build.name, machine=gpu(chip), loop=build.loop, choices=choices
        )

    def row(kernel: TileKernel, way: str, warps: int, stages: int, report: ResourceReport) -> Row:
        blocks = " ".join(f"{a.name}={a.size}/{a.block}" for a in kernel.axes)
        return Row(
            name, "shuffled" if shuffle else "in order", kernel.name, way, chip_name, blocks,
            kernel.choice + 1, kernel.choices, warps, stages, report.registers, report.spill_bytes,
            report.shared_bytes, report.tensor_columns, tuple(sorted(report.instructions)),
            objection(report, chip),
        )  # fmt: skip

    fitted = fit(planned, chip)
    found = [
        row(kernel, "a step", launch.num_warps, launch.num_stages, report)
        for kernel, launch, report in zip(
            fitted.program.kernels, fitted.module.launches, fitted.reports, strict=True
        )
    ]
    sizes = {"rows": workload.rows, "batch": workload.batch}
    ways = Ways(fitted.program, chip.processors, programs=None, chip=chip)
    epoch = ways.choice(sizes).epoch
    if epoch is not None:
        module = ways.module(sizes)
        (launch,) = module.launches
        report = module_report(module, chip)
        found.append(row(epoch.kernel, "an epoch", launch.num_warps, launch.num_stages, report))
    return found


def table(rows: Iterable[Row]) -> str:
    """The rows as text."""
    head = (
        f"{'kernel':20} {'launch':8} {'rows':8} {'chip':7} {'choice':>6} {'warps':>5} "
        f"{'regs':>4} {'spill':>5} {'shared':>8} {'tensor':>6}  blocks; instructions"
    )
    lines = (
        f"{r.kernel:20} {r.launch:8} {r.rows:8} {r.chip:7} {f'{r.choice}/{r.choices}':>6} "
        f"{r.warps:5} {r.registers:4} {r.spill_bytes:5} {r.shared_bytes / 1024:7.1f}K "
        f"{r.tensor_columns:6}  {r.blocks}; {' '.join(r.instructions)}"
        for r in rows
    )
    return "\n".join([head, *lines]) + "\n"


def main() -> int:
    """Compile all, write the table, and say what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=BY_NAME, help="some workloads")
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    import triton

    from graphir.codegen.machine import CHIPS

    names = args.only or [w.name for w in WORKLOADS]
    jobs = [(n, shuffle, chip) for n in names for shuffle in (False, True) for chip in CHIPS]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = [row for rows in pool.map(rows_of, *zip(*jobs, strict=True)) for row in rows]
    args.output.mkdir(parents=True, exist_ok=True)
    text = f"triton {triton.__version__}\n\n{table(found)}"
    (args.output / "kernels.txt").write_text(text, "utf-8")
    made = {"triton": triton.__version__, "kernels": [asdict(r) for r in found]}
    (args.output / "kernels.json").write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    print(text)
    wrong = [f"{r.kernel} on {r.chip}: {r.wrong}" for r in found if r.wrong]
    print("\n".join(wrong) if wrong else f"{len(found)} kernels, none of which spills or can trap")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
