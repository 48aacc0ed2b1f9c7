"""The `c` backend: generated C, built by the system's compiler, called through ctypes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from graphir.codegen.c_runtime import IN_THREADS, THREADS
from graphir.codegen.c_text import print_c
from graphir.codegen.cost import useful_threads
from graphir.codegen.order_text import ORDER_ENTRY
from graphir.codegen.program import C_ENTRY, PROGRAMS, Program
from graphir.errors import BackendError
from graphir.row_order import Keys, table

from .cache import DiskCache
from .executable import HostMemory, Memory, Steps
from .toolchain import build_shared_libraries

_MOST_SHARES = 1024
_FAILURES = {
    1: ("memory ran out", "free memory, or use a smaller batch"),
    2: ("a thread could not be started", "pass fewer threads, e.g. threads=1"),
}


class CBackend(HostMemory):
    """A program built into a shared library, which stays loaded.

    Args:
        program: what to build.
        threads: how many share a call; by default as many as the work of a step feeds, at most
            the CPUs that this process may use.

    Raises:
        BackendError: where there is no compiler or the text does not build.
    """

    name = "c"
    shares_memory = True

    def __init__(self, program: Program, *, threads: int | None = None) -> None:
        self._threads = threads
        self._program = program
        self._shares: dict[tuple[int, ...], int] = {}
        self.text = print_c(program)
        self._size_names = program.sizes
        built = build_shared_libraries([self.text, THREADS], DiskCache.default())
        # The libraries live as long as this object: an entry point without them would dangle.
        self._libraries = [ctypes.CDLL(str(path)) for path in built]
        self._entry = getattr(self._libraries[0], C_ENTRY)
        self._entry.restype = ctypes.c_int
        self._entry.argtypes = [
            ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
            ctypes.c_int32,
        ]  # fmt: skip
        self._in_threads = ctypes.cast(getattr(self._libraries[1], IN_THREADS), ctypes.c_void_p)

    def shuffle(self, order: Memory, keys: Keys) -> None:
        """Computed by the library, which has it beside a shuffled loop."""
        rows = len(order)
        self._order(order.ctypes.data, rows, *table(rows), (ctypes.c_uint32 * len(keys))(*keys))

    @cached_property
    def _order(self) -> Any:
        found = getattr(self._libraries[0], ORDER_ENTRY)
        found.restype = None
        found.argtypes = [
            ctypes.c_void_p, ctypes.c_int64, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p,
        ]  # fmt: skip
        return found

    def share(self, sizes: Mapping[str, int]) -> int:
        """The threads of a step of these sizes, from the sizes alone: the same at each call."""
        if self._threads is not None:
            return self._threads
        key = tuple(sizes.values())
        if key not in self._shares:
            if len(self._shares) >= _MOST_SHARES:
                self._shares.clear()
            self._shares[key] = useful_threads(self._program, sizes, available_cpus())
        return self._shares[key]

    def bind(self, memory: Sequence[Memory], sizes: Mapping[str, int]) -> Steps:
        """One array of pointers and one of sizes; ctypes releases the GIL during a call."""
        run = self.launcher(sizes)
        pointers = (ctypes.c_void_p * len(memory))(*[a.ctypes.data for a in memory])
        # The closure holds the arrays: their memory outlives the pointers to it.
        kept = tuple(memory)

        def steps(first: int, last: int) -> None:
            run(pointers, first, last, len(kept))

        return steps

    def launcher(self, sizes: Mapping[str, int]) -> Callable[[Any, int, int, int], None]:
        """A function of (pointers to the buffers, first step, last step, how many buffers)."""
        entry, threads = self._entry, sizes[PROGRAMS]
        in_threads = self._in_threads
        numbers = (ctypes.c_int64 * len(self._size_names))(*[sizes[n] for n in self._size_names])

        def run(pointers: Any, first: int, last: int, count: int) -> None:
            code = entry(in_threads, pointers, numbers, first, last, threads)
            if code:
                what, hint = _FAILURES.get(code, (f"the kernel returned {code}", None))
                raise BackendError(f"the C kernel over {count} buffers failed: {what}", hint=hint)

        return run


def available_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
