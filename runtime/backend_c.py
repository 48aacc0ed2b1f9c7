"""The `c` backend: generated C, built by the system's compiler, called through ctypes."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from graphir.codegen.c_runtime import IN_EPOCHS, IN_THREADS, THREADS
from graphir.codegen.c_text import print_c
from graphir.codegen.cost import useful_threads
from graphir.codegen.order_text import ORDER_ENTRY
from graphir.codegen.program import C_ENTRY, PROGRAMS, Program
from graphir.errors import BackendError
from graphir.row_order import Keys, table

from .cache import DiskCache
from .executable import HostMemory, InEpochs, Memory, Steps
from .toolchain import build_shared_libraries

_MOST_SHARES = 1024
_FAILURES = {
    1: ("memory ran out", "free memory, or use a smaller batch"),
    2: ("a thread could not be started", "pass fewer threads, e.g. threads=1"),
}


class _Epochs(ctypes.Structure):
    """`epochs_t` of `c_runtime.THREADS`."""

    _fields_ = (
        ("epochs", ctypes.c_int64), ("parted", ctypes.c_int64),
        ("which", ctypes.c_void_p), ("bytes", ctypes.c_void_p),
        ("draw", ctypes.c_void_p), ("order", ctypes.c_void_p), ("rows", ctypes.c_int64),
        ("lines", ctypes.c_uint32), ("columns", ctypes.c_uint32), ("keys", ctypes.c_void_p),
    )  # fmt: skip


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
        pointer, count = ctypes.c_void_p, ctypes.c_int64
        self._entry = _function(
            self._libraries[0], C_ENTRY, pointer, pointer, pointer, count, count, ctypes.c_int32
        )
        self._in_threads = ctypes.cast(getattr(self._libraries[1], IN_THREADS), pointer)
        self._in_epochs = _function(
            self._libraries[1], IN_EPOCHS, pointer, pointer, pointer, count, ctypes.c_int32, pointer
        )

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

    def bind_epochs(
        self, memory: Sequence[Memory], sizes: Mapping[str, int], order: Memory | None
    ) -> InEpochs | None:
        """One call of C for all of them."""
        entry, threads = ctypes.cast(self._entry, ctypes.c_void_p), sizes[PROGRAMS]
        numbers, kept = self._numbers(sizes), tuple(memory)
        pointers = [a.ctypes.data for a in kept]
        draw = None if order is None else ctypes.cast(self._order, ctypes.c_void_p).value

        def epochs(steps: int, parts: Mapping[int, Memory], keys: Sequence[Keys]) -> None:
            buffers = (ctypes.c_void_p * len(pointers))(*pointers)
            for position, rows in parts.items():
                buffers[position] = rows.ctypes.data
            which = (ctypes.c_int64 * len(parts))(*parts)
            size = (ctypes.c_int64 * len(parts))(*[a.strides[0] for a in parts.values()])
            count = len(next(iter(parts.values())))
            plan = _Epochs(count, len(parts), ctypes.addressof(which), ctypes.addressof(size))
            words = (ctypes.c_uint32 * (4 * len(keys)))(*chain.from_iterable(keys))
            if order is not None:
                plan.draw, plan.order, plan.rows = draw, order.ctypes.data, len(order)
                plan.lines, plan.columns = table(len(order))
                plan.keys = ctypes.addressof(words)
            code = self._in_epochs(entry, buffers, numbers, steps, threads, ctypes.byref(plan))
            _check(code, len(kept))

        return epochs

    def launcher(self, sizes: Mapping[str, int]) -> Callable[[Any, int, int, int], None]:
        """A function of (pointers to the buffers, first step, last step, how many buffers)."""
        entry, threads = self._entry, sizes[PROGRAMS]
        in_threads, numbers = self._in_threads, self._numbers(sizes)

        def run(pointers: Any, first: int, last: int, count: int) -> None:
            code = entry(in_threads, pointers, numbers, first, last, threads)
            if code:
                _check(code, count)

        return run

    def _numbers(self, sizes: Mapping[str, int]) -> Any:
        """The sizes that the program names, for C."""
        return (ctypes.c_int64 * len(self._size_names))(*[sizes[n] for n in self._size_names])


def _function(library: ctypes.CDLL, name: str, *types: Any) -> Any:
    """A function of a library that returns a code: 0 where it succeeded."""
    found = getattr(library, name)
    found.restype, found.argtypes = ctypes.c_int, types
    return found


def _check(code: int, count: int) -> None:
    """Raise BackendError for what a call of C over so many buffers returned, if it failed."""
    if code:
        what, hint = _FAILURES.get(code, (f"the kernel returned {code}", None))
        raise BackendError(f"the C kernel over {count} buffers failed: {what}", hint=hint)


def available_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
