"""The seconds of some work: wall time on a CPU, device events on a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], object], device: str) -> float:
    """Run `work` and wait for its end."""
    if not device.startswith("cuda"):
        started = time.perf_counter()
        work()
        return time.perf_counter() - started
    import torch

    event: Any = torch.cuda.Event
    begin, end = event(enable_timing=True), event(enable_timing=True)
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3


def repeated(work: Callable[[], object], device: str, repeats: int) -> float:
    """The seconds of `work` done so often. On a GPU its L2 cache is emptied before each time, which
    does not count; the emptying also gives the host time to put the work on the stream."""
    if not device.startswith("cuda"):

        def every() -> None:
            for _ in range(repeats):
                work()

        return seconds(every, device)
    import torch

    event: Any = torch.cuda.Event
    other = torch.empty(1 << 28, dtype=torch.int8, device=device)
    pairs = []
    for _ in range(repeats):
        begin, end = event(enable_timing=True), event(enable_timing=True)
        other.zero_()
        begin.record()
        work()
        end.record()
        pairs.append((begin, end))
    torch.cuda.synchronize()
    return sum(float(begin.elapsed_time(end)) for begin, end in pairs) / 1e3
