"""What only a new process shows: the time to the first step, and the memory of a training.

Run as a module it measures itself and prints JSON; `first_steps` and `peak_memory` start it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from .peers import contestants
from .workloads import BY_NAME

COMPILERS = ("graphir", "torch.compile", "JAX jit")


def first_steps(
    names: list[str], who: str, device: str, quick: bool
) -> dict[str, dict[str, float]]:
    """Seconds to the end of the first step, imports excluded: with empty caches ("cold"), then in
    another new process ("warm").

    Args:
        names: of workloads; measured in one process one after another.
        who: one of COMPILERS.
    """
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    with tempfile.TemporaryDirectory() as folder:
        caches = {
            "GRAPHIR_CACHE_DIR": folder + "/graphir",
            "TORCHINDUCTOR_CACHE_DIR": folder + "/torch",
            "TRITON_CACHE_DIR": folder + "/triton",
            "JAX_COMPILATION_CACHE_DIR": folder + "/jax",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        for temperature in ("cold", "warm"):
            for name, seconds in _ask(["first", who, device, str(quick), *names], caches).items():
                found[name][temperature] = seconds
    return found


def peak_memory(names: list[str], device: str, quick: bool) -> dict[str, int]:
    """Peak bytes of `graphir.train` beyond the data and the parameters."""
    return {n: int(b) for n, b in _ask(["memory", "graphir", device, str(quick), *names]).items()}


def _ask(arguments: list[str], settings: dict[str, str] | None = None) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fresh", *arguments],
        env=os.environ | (settings or {}), capture_output=True, text=True, check=False,
        cwd=Path(__file__).resolve().parent.parent,
    )  # fmt: skip
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _first(who: str, device: str, names: list[str], quick: bool) -> dict[str, float]:
    found = {}
    for name in names:
        # The rows of one step, and few of them where it takes all: what is measured is what comes
        # before it.
        smaller = BY_NAME[name].smaller(100 if quick else 10)
        workload = replace(smaller, rows=smaller.batch)
        params, data = workload.params(), workload.data()
        make = contestants(workload, device)[who]
        started = time.perf_counter()
        make(workload, params, data, device).run(1)
        found[name] = time.perf_counter() - started
    return found


def _memory(device: str, names: list[str], quick: bool) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in names:
        workload = BY_NAME[name].smaller(10) if quick else BY_NAME[name]
        runner: Any = contestants(workload, device)["graphir"](
            workload, workload.params(), workload.data(), device
        )
        # Compiles, so that only the training itself is seen below.
        runner.run(1)
        runner.reset()
        if device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            runner.run(2)
            found[name] = torch.cuda.max_memory_allocated() - before
        else:
            before = _resident("VmRSS")
            # Linux then counts the peak anew.
            Path("/proc/self/clear_refs").write_text("5")
            runner.run(2)
            found[name] = _resident("VmHWM") - before
    return found


def _resident(field: str) -> int:
    """A number of bytes from Linux's account of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def main(arguments: list[str]) -> None:
    """`first|memory WHO DEVICE QUICK NAMES…`, and the answer as JSON."""
    what, who, device, quick, *names = arguments
    import torch

    if device.startswith("cuda"):
        torch.zeros(1, device=device)
    # Imports are no part of a first step; graphir leaves some of its own to the first compile.
    for module in ("runtime.train", "runtime.backend_c", "codegen.schedule", "codegen.c_text"):
        importlib.import_module(f"graphir.{module}")
    if who.startswith("JAX"):
        import jax

        jax.numpy.zeros(1).block_until_ready()
    small = quick == "True"
    answer = _first(who, device, names, small) if what == "first" else _memory(device, names, small)
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
