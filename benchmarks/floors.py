"""The least time that a step can take here: its data over the bandwidth, its sums over the peak."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from graphir.runtime.cache import DiskCache
from graphir.runtime.toolchain import build_shared_library

from .clock import repeated
from .workloads import Workload

_MOST_BYTES = 1 << 29
_TURNS = 5


@dataclass(frozen=True)
class Machine:
    """What was measured.

    Attributes:
        read: bytes a second, for a number of bytes that are read over and over.
        flops: of multiply-adds in float32, all cores.
        name: for people and file names.
        rates: all that was measured, with units in their names.
    """

    read: Callable[[int], float]
    flops: float
    name: str
    rates: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data; the bandwidth is that of 512 MiB."""
        return {
            "name": self.name, "read": self.read(_MOST_BYTES), "flops": self.flops,
            "rates": self.rates,
        }  # fmt: skip

    def floor(self, workload: Workload) -> tuple[float, str]:
        """The least seconds of a step, and what sets them."""
        reading = workload.step_bytes / self.read(workload.data_bytes)
        computing = workload.step_flops / self.flops
        return (reading, "bytes") if reading > computing else (computing, "FLOPs")


def measure(device: str) -> Machine:
    """This machine's rates: the best of several turns."""
    return _gpu(device) if device.startswith("cuda") else _cpu()


def _cpu() -> Machine:
    text = Path(__file__).with_name("floors.c").read_text(encoding="utf-8")
    library = ctypes.CDLL(str(build_shared_library(text, DiskCache.default())))
    for function in (library.read_seconds, library.multiply_seconds):
        function.restype = ctypes.c_double
    library.read_seconds.argtypes = [
        ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p,
    ]  # fmt: skip
    library.multiply_seconds.argtypes = [ctypes.c_int64, ctypes.c_void_p]
    threads = len(os.sched_getaffinity(0))
    multiple, flops = library.read_multiple(), library.multiply_flops()

    def multiply(thread: int) -> float:
        times, out = 1 << 22, ctypes.c_float()
        return float(times * flops / library.multiply_seconds(times, ctypes.byref(out)))

    @functools.cache
    def read(size: int) -> float:
        each = max(min(size, _MOST_BYTES) // 4 // threads // multiple, 1) * multiple
        data = np.ones(each * threads, np.float32)
        times = max(1, (1 << 27) // each)

        def one(thread: int) -> float:
            out = ctypes.c_float()
            start = data.ctypes.data + 4 * each * thread
            taken: float = library.read_seconds(start, each, times, ctypes.byref(out))
            return float(4 * each * times / taken)

        return together(one, threads)

    return Machine(read, together(multiply, threads), f"{_processor()}, {threads} cores")


def together(rate: Callable[[int], float], threads: int) -> float:
    """The sum of what threads reach at the same time; the best of a few turns."""
    best = 0.0
    for _ in range(_TURNS):
        barrier, rates = threading.Barrier(threads), [0.0] * threads

        def work(
            thread: int, barrier: threading.Barrier = barrier, rates: list[float] = rates
        ) -> None:
            barrier.wait()
            rates[thread] = rate(thread)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        best = max(best, sum(rates))
    return best


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu(device: str) -> Machine:
    """A copy of 1 GiB, and products of large matrices in bfloat16, tf32 and float32."""
    import torch

    def rate(work: Callable[[], object], amount: float) -> float:
        return amount / min(repeated(work, device, 1) for _ in range(_TURNS))

    data = torch.ones(1 << 28, device=device)
    other = torch.empty_like(data)
    found = {"copy_bytes_per_second": rate(lambda: other.copy_(data), 8.0 * data.numel())}
    before = torch.backends.cuda.matmul.allow_tf32
    for name, dtype, tf32 in (
        ("bf16", torch.bfloat16, False), ("tf32", torch.float32, True),
        ("float32", torch.float32, False),
    ):  # fmt: skip
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a = torch.randn(8192, 8192, device=device).to(dtype)
        a @ a  # the library is loaded by the first product
        found[f"{name}_flops_per_second"] = rate(partial(torch.matmul, a, a), 2.0 * 8192**3)
    torch.backends.cuda.matmul.allow_tf32 = before
    bandwidth = found["copy_bytes_per_second"]
    name = torch.cuda.get_device_name(device)
    return Machine(lambda size: bandwidth, found["tf32_flops_per_second"], name, found)
