"""`python -m benchmarks`: graphir and its peers on the same training steps."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from . import fresh, report
from .floors import measure
from .measure import Result, race, ready
from .peers import contestants
from .workloads import BY_NAME, WORKLOADS, Workload


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    names = ", ".join(BY_NAME)
    add("--only", action="append", choices=list(BY_NAME), metavar="NAME", help=f"of {names}")
    add("--device", default="cpu", help="cpu (the default) or cuda")
    add("--quick", action="store_true", help="fewer rows, no torch.compile: within two minutes")
    add("--rounds", type=int, help="turns of each contestant (9; quick: 3)")
    add("--no-fresh", action="store_true", help="leave out what needs new processes")
    add("--output", type=Path, help="folder of the results (benchmarks/results; quick: out/bench)")
    return parser.parse_args(arguments)


def run(workload: Workload, options: argparse.Namespace) -> Result:
    """Check and time every contestant."""
    result = Result(workload.name)
    makers = contestants(workload, options.device)
    if options.quick:
        del makers["torch.compile"]
    runners = ready(makers, workload, options.device, result)
    rounds = options.rounds or (3 if options.quick else 9)
    race(
        runners, workload, result, rounds=rounds, seconds=0.02 if options.quick else 0.25,
        device=options.device,
    )  # fmt: skip
    return result


def add_fresh(results: list[Result], options: argparse.Namespace) -> None:
    """First steps and memory, a process for each workload; in a hurry one for all."""
    names = [r.workload for r in results]
    by_name = {r.workload: r for r in results}
    groups = [names] if options.quick else [[name] for name in names]
    for group in groups:
        for who in fresh.COMPILERS:
            skipped = options.quick and who == "torch.compile"
            if skipped or who not in contestants(BY_NAME[group[0]], options.device):
                continue
            for name, seconds in fresh.first_steps(
                group, who, options.device, options.quick
            ).items():
                by_name[name].first[who] = seconds
        for name, size in fresh.peak_memory(group, options.device, options.quick).items():
            by_name[name].memory = size


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, write. 1 where graphir failed or was wrong on a workload."""
    options = parse(arguments)
    started = time.perf_counter()
    chosen = [w for w in WORKLOADS if not options.only or w.name in options.only]
    if options.quick:
        chosen = [w.smaller(10) for w in chosen]
    machine = measure(options.device)
    results = []
    for workload in chosen:
        print(f"{workload.name}: {workload.title} …", file=sys.stderr, flush=True)
        result = run(workload, options)
        result.floor, result.limit = machine.floor(workload)
        results.append(result)
    if not options.no_fresh:
        print("first steps and memory, in new processes …", file=sys.stderr, flush=True)
        add_fresh(results, options)
    text = report.show(results, f"{machine.name}{', quick' if options.quick else ''}")
    folder = options.output or (Path("out/bench") if options.quick else report.RESULTS)
    written = report.write(
        results,
        machine.name,
        report.settings(options.device, machine.flops, quick=options.quick),
        text,
        folder,
    )
    print(f"{time.perf_counter() - started:.0f} s; wrote {', '.join(map(str, written))}")
    return int(any("graphir" not in r.times for r in results))


if __name__ == "__main__":
    sys.exit(main())
