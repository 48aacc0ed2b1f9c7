"""`python -m benchmarks.shapes`: the same models at some hundred other sizes, beside the peers.

Widths from 1 to 2,000, classes from 2 to 100, hidden layers from 8 to 512, batches from one row to
all. Every result is checked against float64 before its time counts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import report
from .floors import measure
from .measure import Result, race, ready
from .peers import contestants
from .workloads import Workload, mlp, mse, softmax

# Who is compared: torch.compile takes ten seconds and more to build each, and scan is JAX's best.
COMPARED = ("graphir", "torch eager", "JAX scan", "NumPy")
# Elements and rows of the data, at most; steps of an epoch by torch's dispatch, at most.
ELEMENTS, ROWS, DISPATCHES = 8_000_000, 400_000, 500


def _one(kind: str, layers: tuple[int, ...], batch: int | None, rows: int) -> Workload:
    """A workload of whole batches; all rows are one batch where none is given."""
    size = batch or rows
    # One step of a small rate would be lost in the rounding of the parameters; many of a large one
    # diverge where a row is long.
    rate = 0.02 if batch is None else 0.0002 if kind == "linear" and layers[0] >= 100 else 0.002
    name = f"{kind} {'-'.join(map(str, layers))}, {f'batch {size}' if batch else 'all rows'}"
    return Workload(
        name, name, {"linear": mse, "softmax": softmax, "perceptron": mlp}[kind], layers,
        rows // size * size, size, rate,
        targets="classes" if kind == "softmax" else "real",
        vector=kind == "linear" and layers[-1] == 1,
    )  # fmt: skip


def shapes() -> Iterator[Workload]:
    """Every size that is tried, row by row of the table."""
    for width in (1, 2, 5, 13, 64, 200, 1000, 2000):
        rows = max(2000, min(ROWS, ELEMENTS // width))
        for batch in (1, 32, 1024, None):
            yield _one("linear", (width, 1), batch, min(rows, 4000) if batch == 1 else rows)
    for layers in (
        (2, 2), (8, 3), (13, 100), (64, 10), (64, 100), (300, 20), (784, 10), (784, 100), (2000, 10)
    ):  # fmt: skip
        rows = max(2000, min(60_000, ELEMENTS // layers[0]))
        for batch in (1, 64, 512, None):
            yield _one("softmax", layers, batch, 2000 if batch == 1 else rows)
    for hidden in ((8,), (32,), (512,), (8, 8), (64, 64), (128, 128), (256, 256)):
        for width in (13, 100):
            for batch in (32, 1024):
                rows = 4096 if batch == 32 else 16_384
                yield _one("perceptron", (width, *hidden, 1), batch, rows)
    for layers in ((10, 2), (100, 7), (100, 50)):
        for batch in (64, None):
            yield _one("linear", layers, batch, 20_000)


def compared(workload: Workload, rounds: int) -> Result:
    """Check and time the contestants of one shape."""
    result = Result(workload.name)
    makers = {n: m for n, m in contestants(workload, "cpu").items() if n in COMPARED}
    if workload.steps > DISPATCHES:
        makers.pop("torch eager", None)
    runners = ready(makers, workload, "cpu", result)
    race(runners, workload, result, rounds=rounds, seconds=0.03, device="cpu")
    return result


def table(results: Sequence[Result], title: str) -> Table:
    """A row for each shape."""
    made = Table(title=title, title_justify="left")
    names = [n for n in COMPARED if any(n in r.times for r in results)]
    for heading in ("shape", *names, "ratio"):
        made.add_column(heading, justify="left" if heading == "shape" else "right")
    for r in results:
        times = (report.duration(r.times[n].median) if n in r.times else "-" for n in names)
        made.add_row(r.workload, *times, f"{r.ratio:.2f}" if r.ratio else "-")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write. 1 where graphir failed or was wrong at a shape."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shapes", description=__doc__)
    parser.add_argument("--only", action="append", metavar="TEXT", help="shapes with TEXT in them")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (3)")
    parser.add_argument("--output", type=Path, help="folder of the results (benchmarks/results)")
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    chosen = [w for w in shapes() if not options.only or any(t in w.name for t in options.only)]
    if not chosen:
        parser.error(f"no shape has {' or '.join(options.only)} in its name")
    machine = measure("cpu")
    results = []
    for workload in chosen:
        print(workload.name, "…", file=sys.stderr, flush=True)
        results.append(compared(workload, options.rounds))
    console = Console(record=True, width=120)
    console.print(table(results, machine.name))
    ratios = [r.ratio for r in results if r.ratio]
    faster = sum(ratio > 1 for ratio in ratios)
    console.print(f"faster than every peer at {faster} of {len(results)} shapes")
    for r in results:
        for name, reason in r.refused.items():
            console.print(f"{r.workload}: {name}: {reason}", markup=False, highlight=False)
    written = report.write(
        results, f"{machine.name} shapes", report.settings("cpu", machine.flops),
        console.export_text(), options.output or report.RESULTS, chart=False,
    )  # fmt: skip
    print(f"{time.perf_counter() - started:.0f} s; wrote {', '.join(map(str, written))}")
    return int(any("graphir" not in r.times for r in results))


if __name__ == "__main__":
    sys.exit(main())
