"""How fast this machine can be: memory bandwidth and arithmetic, measured once and kept on disk."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np

from .cache import DiskCache, digest
from .processor import cpu_features
from .toolchain import build_shared_library

_VERSION = "2"
_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-shared", "-fPIC")
_BIG, _SMALL = 64 << 20, 128 << 10  # bytes a thread: far beyond the caches, and within L2
_PROBE = """
#include <stdint.h>
typedef float vec __attribute__((vector_size(64)));
float read_all(const float *p, int64_t n, int64_t times) {
    vec a = {0}, b = {0}, c = {0}, d = {0};
    for (int64_t t = 0; t < times; t++) {
        const vec *v = (const vec *)p;
        for (int64_t i = 0; i + 4 <= n / 16; i += 4) {
            a += v[i]; b += v[i + 1]; c += v[i + 2]; d += v[i + 3];
        }
        __asm__ volatile("" ::: "memory");
    }
    vec s = a + b + c + d;
    return s[0];
}
float multiply_add(int64_t times) {
    vec a[8] = {0};
    vec x, y;
    for (int k = 0; k < 16; k++) { x[k] = 0.5f; y[k] = 1.0f; }
    __asm__ volatile("" : "+m"(x), "+m"(y));
    for (int64_t t = 0; t < times; t++)
        for (int k = 0; k < 8; k++) a[k] = a[k] * x + y;
    vec s = a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
    return s[0];
}
"""
_OPS_A_ROUND = 8 * 16 * 2


@dataclass(frozen=True)
class Roofline:
    """What a number of threads of this machine reach together.

    Attributes:
        threads: how many.
        memory: bytes a second from memory.
        cache: bytes a second of data that lies in the core's own caches.
        flops: float32 additions and multiplications a second.
        cached: bytes up to which data counts as lying in the caches.
    """

    threads: int
    memory: float
    cache: float
    flops: float
    cached: int

    def seconds(self, bytes_moved: int, flops: int) -> float:
        """The least time for this much traffic and arithmetic."""
        bandwidth = self.cache if bytes_moved <= self.cached else self.memory
        return max(bytes_moved / bandwidth, flops / self.flops)

    def bound(self, bytes_moved: int, flops: int) -> str:
        """Which of the two the least time comes from: "memory", "cache" or "arithmetic"."""
        cached = bytes_moved <= self.cached
        bandwidth = self.cache if cached else self.memory
        if bytes_moved / bandwidth < flops / self.flops:
            return "arithmetic"
        return "cache" if cached else "memory"


def measure_cpu(threads: int, cache: DiskCache | None = None) -> Roofline:
    """The roofline of `threads` threads here: measured at the first call (about 0.3 s), then read.

    Raises:
        BackendError: where there is no C compiler.
    """
    store = cache if cache is not None else DiskCache.default()
    key = digest("roofline", _VERSION, cpu_features(), str(threads))
    known = store.get(key)
    if known is not None:
        return Roofline(**json.loads((known / "roofline.json").read_text()))
    library = ctypes.CDLL(str(build_shared_library(_PROBE, store, flags=_FLAGS)))
    library.read_all.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    library.multiply_add.argtypes = [ctypes.c_int64]
    with ThreadPoolExecutor(threads) as pool:

        def best(work: Callable[[int], object], rounds: int) -> float:
            """The shortest time in which all threads do `work`."""
            times = []
            for _ in range(rounds):
                started = time.perf_counter()
                list(pool.map(work, range(threads)))
                times.append(time.perf_counter() - started)
            return min(times)

        def bandwidth(size: int, times: int, rounds: int) -> float:
            arrays = [_aligned(size // 4) for _ in range(threads)]
            taken = best(
                lambda i: library.read_all(arrays[i].ctypes.data, size // 4, times), rounds
            )
            return threads * size * times / taken

        memory = bandwidth(_BIG, 1, 3)
        within = bandwidth(_SMALL, 400, 3)
        rounds = 400_000
        taken = best(lambda i: library.multiply_add(rounds), 3)
    found = Roofline(
        threads, memory, max(memory, within), threads * rounds * _OPS_A_ROUND / taken,
        threads * (1 << 20),
    )  # fmt: skip
    store.put(key, {"roofline.json": json.dumps(asdict(found)).encode()})
    return found


def _aligned(count: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Ones that begin at a cache line."""
    raw = np.ones(count + 16, np.float32)
    first = (-raw.ctypes.data % 64) // 4
    return raw[first : first + count]
