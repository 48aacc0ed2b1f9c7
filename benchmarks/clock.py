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
