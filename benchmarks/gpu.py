"""`make gpu`: the GPU's tests and benchmark, in the Python that is active, within eight minutes.

    python -m benchmarks.gpu --output DIR
    python -m benchmarks.gpu --device cpu       a rehearsal of the command where there is no GPU

Nothing is installed or downloaded. What is missing is named. One JSON is written, the table comes
last. Exit status: 0; 1 where a test failed or graphir was wrong; 2 where it cannot run here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .gpu_needs import ROOT, Needs, look

# Those with a figure to reach first: what comes late may find no time left.
WORKLOADS = (
    "linreg_full", "softmax_full", "poly_eltwise", "linreg_sgd", "softmax_sgd", "mlp_sgd",
    "wide_mlp", "linreg_full_x16", "softmax_full_x17", "ridge", "multi_output", "poisson", "rmse",
)  # fmt: skip
_TESTS, _MEMCHECK, _LAST = 0.33, 0.1, 10.0  # shares of the time; seconds to write the results
_PROCESSES = 8  # of tests; a context on the GPU takes half a gigabyte


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    add = parser.add_argument
    add("--device", default="cuda", help="cuda (the default); cpu rehearses the command")
    add("--output", type=Path, default=ROOT / "benchmarks/results", help="folder of the JSON")
    add("--seconds", type=float, default=470.0, help="for all of it")
    add("--only", action="append", choices=WORKLOADS, metavar="NAME", help="of the workloads")
    add("--divide", type=int, help="the number of rows by this (1; on a CPU 500)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Look, test, check memory, measure, write, print."""
    options = parse(arguments)
    started = time.perf_counter()
    needs = look(options.device)
    print(needs.text(), flush=True)
    if needs.missing or needs.problem:
        return 2

    def left() -> float:
        return float(options.seconds) - _LAST - (time.perf_counter() - started)

    tests = run_tests(needs, min(options.seconds * _TESTS, left()))
    memory = check_memory(needs, options.device, min(options.seconds * _MEMCHECK, left()))
    names = [n for n in WORKLOADS if not options.only or n in options.only]
    on_gpu = options.device.startswith("cuda")
    measured = measure(names, options.device, options.divide or (1 if on_gpu else 500), left)
    from . import gpu_report

    found = {
        "device": options.device, "python": sys.version.split()[0], "versions": needs.versions,
        "without": list(needs.without), "date": time.strftime("%Y-%m-%d"), "tests": tests,
        "memory": memory, **measured,
    }  # fmt: skip
    found["seconds"] = round(time.perf_counter() - started, 1)
    path = write(found, options.output)
    gpu_report.show(found)
    print(f"{found['seconds']:.0f} s; wrote {path}")
    return int(failed(found))


def failed(found: dict[str, Any]) -> bool:
    """Whether a test failed, memory was misused, or graphir has no right result somewhere."""
    wrong = [r["workload"] for r in found["results"] if "graphir" not in r["times"]]
    return bool(found["tests"]["status"] or found["memory"]["status"] or wrong)


def run_tests(needs: Needs, seconds: float) -> dict[str, Any]:
    """The tests of tests/gpu, by pytest in as many processes as compile at the same time."""
    if "pytest" not in needs.versions:
        return {"status": None, "said": "pytest is missing: the GPU tests were not run"}
    count = min(_PROCESSES, os.cpu_count() or 1)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    # The machine's torch and triton have warnings of their own.
    command += ["-W", "default"]
    started = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        jobs = [
            pool.submit(within, [*command, "--part", f"{i}/{count}"], seconds) for i in range(count)
        ]
        ends = [job.result() for job in jobs]
    counts: dict[str, int] = {}
    for _, output, _ in ends:
        for n, what in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", output):
            counts[what] = counts.get(what, 0) + int(n)
    # 5: a process whose part of the tests is empty.
    wrong = [(status, output) for status, output, _ in ends if status not in (0, 5)]
    unfinished = sum(status is None for status, _ in wrong)
    taken = time.perf_counter() - started
    late = f", {unfinished} of {count} processes did not finish in time" if unfinished else ""
    print(f"GPU tests: {counts} in {taken:.0f} s{late}", flush=True)
    for _, output in wrong:
        print(output[-4000:], flush=True)
    return {
        "status": int(bool(wrong)), **counts, "seconds": round(taken, 1),
        "said": [output[-4000:] for _, output in wrong],
    }  # fmt: skip


def check_memory(needs: Needs, device: str, seconds: float) -> dict[str, Any]:
    """A few trainings under compute-sanitizer's memcheck."""
    tool = needs.tools.get("compute-sanitizer")
    if tool is None or not device.startswith("cuda"):
        return {"status": None, "said": "compute-sanitizer was not run"}
    command = [
        tool, "--tool", "memcheck", "--error-exitcode", "9", sys.executable, "-P", "-m",
        "benchmarks.gpu_worker", "--trainings",
    ]  # fmt: skip
    status, output, taken = within(command, seconds)
    if status is None:
        return {"status": None, "said": f"memcheck was ended after {taken:.0f} s without an error"}
    print(f"memcheck: exit status {status} in {taken:.0f} s", flush=True)
    return {"status": status, "seconds": round(taken, 1), "said": output[-3000:]}


def within(command: list[str], seconds: float) -> tuple[int | None, str, float]:
    """Run a command of this repository.

    Returns:
        Its exit status (None where its time ran out), what it said, and the seconds it took.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=said, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        status: int | None
        try:
            status = process.wait(max(seconds, 1.0))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end(process)
        said.seek(0)
        return status, said.read(), time.perf_counter() - started


def end(process: subprocess.Popen[Any]) -> None:
    """End a command and what it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def environment() -> dict[str, str]:
    """This checkout's packages before any other; JAX takes only the memory that it uses."""
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(ROOT), *([before] if before else [])])
    return os.environ | {"PYTHONPATH": path, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def measure(names: list[str], device: str, divide: int, left: Any) -> dict[str, Any]:
    """The benchmark, workload by workload; where its process dies, another one goes on."""
    machine: dict[str, Any] = {}
    results: list[dict[str, Any]] = []
    troubles: list[str] = []
    rest = list(names)
    while rest and left() > 5:
        before = len(rest)
        command = [
            sys.executable, "-P", "-m", "benchmarks.gpu_worker", device, str(divide),
            f"{left() - 3:.0f}", *rest,
        ]  # fmt: skip
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=errors,
                text=True, start_new_session=True,
            )  # fmt: skip
            guard = threading.Timer(left() + 2, end, [process])
            guard.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    if not line.startswith("{"):
                        continue
                    told = json.loads(line)
                    machine = told.get("machine", machine)
                    if "workload" in told:
                        results.append(told["workload"])
                        rest.remove(told["workload"]["workload"])
                        print(f"{told['workload']['workload']}: measured", flush=True)
            finally:
                guard.cancel()
                end(process)
            errors.seek(0)
            if rest:
                troubles.append(
                    f"{rest[0]}: the process ended with status {process.returncode}\n"
                    + errors.read()[-2000:]
                )
                print(troubles[-1], flush=True)
        if rest and len(rest) == before:
            # It would end there again.
            results.append({"workload": rest.pop(0), "times": {}, "refused": {}, "notes": []})
    troubles += [f"{name}: no time was left" for name in rest]
    return {"machine": machine, "results": results, "troubles": troubles, "divide": divide}


def write(found: dict[str, Any], folder: Path) -> Path:
    """One JSON, named after the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", found["machine"].get("name", "machine").lower()).strip("-")
    path = folder / f"gpu-{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
