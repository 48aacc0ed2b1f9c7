"""The benchmark of `make gpu`, in a process of its own: a line of JSON for each workload.

    python -m benchmarks.gpu_worker DEVICE DIVISOR SECONDS WORKLOAD…
    python -m benchmarks.gpu_worker --trainings      a few trainings, to be watched by memcheck

The most telling contestants come first; who does not fit the time is left out, with the reason.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from .floors import measure
from .gpu_aims import AIMS, Aim
from .measure import Result, exact, race, ready
from .peer_torch import tensors
from .peers import contestants
from .runner import Make
from .workloads import BY_NAME, Workload

# Seconds that the first step of a contestant takes about, until it was seen.
_USUAL = {
    "torch.compile": 8.0, "torch reduce-overhead": 8.0, "torch max-autotune": 25.0,
    "graphir tuned": 20.0,
}  # fmt: skip
_THEN = (
    "torch.compile", "JAX scan", "JAX jit", "torch eager", "graphir tuned",
    "torch reduce-overhead", "torch max-autotune",
)  # fmt: skip


def enlarged(name: str, divisor: int) -> tuple[Workload, int]:
    """The workload of that name (`linreg_full_x16` is one of sixteen times the rows), and how
    often its data is repeated."""
    base, _, count = name.partition("_x")
    workload = BY_NAME[base]
    if divisor > 1:
        workload = workload.smaller(divisor)
    return (workload.copies(int(count)), int(count)) if count else (workload, 1)


def run(
    name: str, device: str, divisor: int, until: float, usual: dict[str, float]
) -> dict[str, Any]:
    """Check and time who fits the time."""
    workload, copies = enlarged(name, divisor)
    base, _ = enlarged(name.partition("_x")[0], divisor)
    params, data = base.params(), base.data()
    result = Result(name)
    makers = contestants(workload, device)
    # Whom it is to beat comes first.
    wanted = AIMS.get(name, Aim()).over or {}
    order = [w for w in dict.fromkeys(("graphir", *wanted, *_THEN, *makers)) if w in makers]
    given: tuple[Any, ...] = data
    if device.startswith("cuda"):
        # Once for all, and larger there than the host would like.
        given = tuple(x.repeat(copies, *[1] * (x.ndim - 1)) for x in tensors(data, device))
    elif copies > 1:
        given = tuple(np.tile(a, (copies, *[1] * (a.ndim - 1))) for a in data)
    # Rows that are repeated change no mean: the smaller data has the same gradients.
    want = exact(base, params, data)
    runners: dict[str, Any] = {}
    for who in order:
        left = until - time.perf_counter()
        if who != "graphir" and left < usual.get(who, 2.0) + 3.0:
            result.refused[who] = f"left out: {max(left, 0):.0f} s were left for {name}"
            continue
        began = time.perf_counter()
        makers_of_one: dict[str, Make] = {who: makers[who]}
        runners |= ready(makers_of_one, workload, device, result, want=want, given=(params, given))
        usual[who] = time.perf_counter() - began
    on_gpu = device.startswith("cuda")
    if runners:
        race(
            runners, workload, result, rounds=5 if on_gpu else 2, device=device,
            seconds=0.05 if on_gpu else 0.01, most=50 if on_gpu else 1000,
        )  # fmt: skip
    if "graphir" in runners:
        result.notes = notes(runners["graphir"])
    return result.as_json() | {
        "step_bytes": workload.step_bytes, "step_flops": workload.step_flops, "rows": workload.rows,
        "batch": workload.batch,
    }  # fmt: skip


def notes(runner: Any) -> list[str]:
    """How graphir ran it."""
    training = getattr(runner, "training", None)
    if training is None:
        return []
    sizes = {"rows": training.task.rows, "batch": training.task.batch}
    return [
        f"{d.kind}: {d.subject}: {d.reason}"
        for d in training.build.decisions_at(sizes)
        if d.kind in ("epoch", "blocks")
    ]


def main(arguments: list[str]) -> None:
    """First the chip's own rates, then the workloads; a line each."""
    if arguments == ["--trainings"]:
        trainings()
        return
    device, divisor, seconds, *names = arguments
    until = time.perf_counter() + float(seconds)
    say({"machine": measure(device).as_json()})
    usual = dict(_USUAL)
    for place, name in enumerate(names):
        now = time.perf_counter()
        share = (until - now) / (len(names) - place)
        # What one workload leaves over, the next may take.
        say({"workload": run(name, device, int(divisor), now + max(share, 0.0), usual)})


def trainings() -> None:
    """An epoch of each kind of kernel, for a tool that watches their memory."""
    for name in ("linreg_sgd", "ridge", "softmax_sgd", "mlp_sgd", "poly_eltwise"):
        workload = BY_NAME[name].smaller(50)
        contestants(workload, "cuda")["graphir"](
            workload, workload.params(), workload.data(), "cuda"
        ).run(1)


def say(line: dict[str, Any]) -> None:
    """One line for whoever started this."""
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
