"""`tune=True`: a few ways to run the same kernels, measured; the fastest is kept on disk.

What was chosen is in the result, and given back as `tune=result.tuning` it is what runs: so a
tuned training can be repeated to the bit, on this machine or on another one.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from graphir.codegen.program import HALVED
from graphir.errors import BackendError, GraphirError

from .backends import Build
from .cache import DiskCache, digest
from .debug import timed
from .executable import Backend, Steps
from .triton_module import triton_module

MOST = 8
"""Candidates of one kernel, and of the number of threads or programs."""
_TURNS = 5
_LEAST_SECONDS = 2e-3  # of one turn

Measure: TypeAlias = "Callable[[Build], float]"
"""The seconds of a step (or call) of a build."""


@dataclass(frozen=True)
class Tuned:
    """What was chosen by measuring.

    Attributes:
        backend, device: what it was measured on.
        threads: of the C backend, or programs of Triton's; None for the model's number.
        choices: for Triton's kernels by name the number of the choice of blocks, 0 where none is
            named.
        seconds: of a step, for each candidate that was measured, by a name for people.
    """

    backend: str
    device: str
    threads: int | None = None
    choices: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """As text, for a file beside the model."""
        return json.dumps(
            {
                "backend": self.backend, "device": self.device, "threads": self.threads,
                "choices": dict(self.choices), "seconds": dict(self.seconds),
            }
        )  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> Tuned:
        """From `to_json`'s text.

        Raises:
            GraphirError: where it is none.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as failure:
            raise GraphirError(f"this is no text of Tuned.to_json(): {failure}") from failure

    def applied(self, build: Build) -> Build:
        """The build that runs so.

        Raises:
            BackendError: for a build of another backend.
        """
        if build.backend != self.backend:
            raise BackendError(
                f"tune was measured with backend {self.backend!r}, this is {build.backend!r}",
                hint=f"pass backend={self.backend!r}, or tune=True to measure anew",
            )
        return replace(build, threads=self.threads, choices=dict(self.choices))


def check_tune(tune: object, backend: str) -> None:
    """Raise BackendError where `tune` is neither a bool nor a Tuned, or nothing can be measured."""
    if not isinstance(tune, (bool, Tuned)):
        raise BackendError(
            f"tune must be True, False or an earlier result's tuning, got {type(tune).__name__}",
            hint="pass tune=True, or tune=result.tuning to repeat it",
        )
    if tune and backend in ("interpret", "reference"):
        raise BackendError(
            f"tune measures kernels, and backend {backend!r} runs them for tests only",
            hint="use backend='triton' with tensors on a GPU, or backend='c'",
        )


def tuned(build: Build, tune: bool | Tuned, sizes: Mapping[str, int], measure: Measure) -> Tuned:
    """The candidate to run: the one given, the one on disk, or the fastest.

    Args:
        sizes: the number behind each size.
        measure: see Measure.

    Raises:
        BackendError: where the build cannot run here.
    """
    if isinstance(tune, Tuned):
        return tune
    # Without a device the backend says so; nothing is looked up before.
    backend = build.executable.backend.name
    cache = DiskCache.default()
    text, numbers = build.kernels[0].source, repr(sorted(sizes.items()))
    key = digest(
        "tuned", backend, text, device_name(build), numbers, str(build.threads), versions(build)
    )
    entry = cache.get(key)
    if entry is not None:
        return Tuned.from_json((entry / "tuned.json").read_text("utf-8"))
    with timed("tune", build.name):
        found = _fastest(build, measure)
    cache.put(key, {"tuned.json": found.to_json().encode()})
    return found


def _fastest(build: Build, measure: Measure) -> Tuned:
    """Kernel by kernel the fastest choice, then the fastest number of threads."""
    best = Tuned(build.backend, device_name(build), build.threads, dict(build.taken))
    seconds = {"by the model": measure(best.applied(build))}
    least = seconds["by the model"]

    def attempt(name: str, candidate: Tuned) -> None:
        nonlocal best, least
        try:
            seconds[name] = measure(candidate.applied(build))
        except BackendError:
            # It does not fit this chip.
            return
        if seconds[name] < least:
            best, least = candidate, seconds[name]

    for kernel, count in build.alternatives.items():
        for number in range(min(count, MOST)):
            if number != build.taken.get(kernel, 0):
                choices = {**best.choices, kernel: number}
                attempt(f"{kernel}: choice {number + 1}", replace(best, choices=choices))
    if build.threads is None:
        for threads in thread_counts(build):
            attempt(f"{threads} at once", replace(best, threads=threads))
    return replace(best, seconds=seconds)


def thread_counts(build: Build) -> list[int]:
    """Numbers of threads to try; of a GPU's programs only one, which the model may have missed."""
    if build.backend == "triton":
        return [1] if build.loop is not None else []
    from .backend_c import available_cpus

    most = available_cpus()
    found = [1]
    while found[-1] * 2 < most and len(found) < MOST - 2:
        found.append(found[-1] * 2)
    return found if found[-1] == most else [*found, most]


def shortest_step(backend: Backend, steps: Steps, count: int) -> float:
    """The seconds of one of `count` steps by the device's own time: the least of some turns.

    The steps run on memory of their own, so that nothing is changed by measuring.
    """
    steps(0, count)  # what is compiled at the first launch is compiled now

    def turn(times: int) -> float:
        begin = backend.mark()
        for _ in range(times):
            steps(0, count)
        end = backend.mark()
        end.wait()
        return max(end.since(begin), 1e-9)

    times = max(1, min(1000, int(_LEAST_SECONDS / turn(1))))
    return min(turn(times) for _ in range(_TURNS)) / times / count


def device_name(build: Build) -> str:
    """What runs the build, for people and for keys."""
    if build.backend == "triton":
        import torch

        name: str = torch.cuda.get_device_name(build.device)
        return name
    from .processor import cpu_features

    return f"{digest(cpu_features())[:16]} {platform.machine()}, {os.cpu_count()} CPUs"


def versions(build: Build) -> str:
    """What a measurement may depend on besides the text of the kernels."""
    if build.backend != "triton":
        return ""
    import torch

    return f"triton {triton_module('triton').__version__}, torch {torch.__version__}"


def named(found: Tuned | None) -> Sequence[tuple[str, str]]:
    """What `explain()` says of it: about what, and why."""
    if found is None:
        return ()
    told = ", ".join(f"{name} {1e6 * s:.3g} µs" for name, s in found.seconds.items())
    taken = [
        f"{kernel} {n} times" if kernel == HALVED else f"choice {n + 1} of {kernel}"
        for kernel, n in found.choices.items() if n
    ]  # fmt: skip
    if found.threads is not None:
        taken.append(f"{found.threads} at once")
    return ((found.device, f"{', '.join(taken) or 'as by the model'}; measured: {told}"),)
