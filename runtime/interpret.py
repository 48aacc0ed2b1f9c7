"""Run generated Triton text on the CPU, in a worker process under TRITON_INTERPRET=1.

Interpreting replaces parts of Triton's language for the whole process, so it never happens in
the user's own. Arrays go to the worker and back through a memory-mapped file; what to run goes
as lines of JSON over a socket.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphir.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Argument = NDArray[Any] | np.number[Any] | float

WORKER = Path(__file__).with_name("interpret_worker.py")
# Around every array lie bytes of 0xFF (NaN as floats): a stray store is seen, a stray load shows.
GUARD = 4096
GUARD_BYTE = 0xFF
BITS = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (16, 32, 64)}
DTYPES = frozenset(
    ["bool", "bfloat16", *(f"{kind}{n}" for kind, sizes in BITS.items() for n in sizes)]
)


@dataclass
class _Layout:
    """Where each distinct array lies in the shared file."""

    arguments: list[dict[str, Any]] = field(default_factory=list)
    arrays: list[tuple[int, int, NDArray[Any]]] = field(default_factory=list)
    # Each has a copy of its own: right for what is only read.
    overlaps: list[tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=list)
    size: int = GUARD


class Interpreter:
    """Triton's interpreter in a process of its own, started when first needed and then kept.

    Threads may share one: their launches follow one another. Use it as a context manager, or
    call `close`; at the program's exit it closes by itself.

    Args:
        timeout: seconds that one launch may take before the worker is killed.
    """

    def __init__(self, *, timeout: float = 600.0) -> None:
        self.timeout = timeout
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def launch(
        self,
        source: str,
        kernel: str,
        arguments: Sequence[Argument],
        grid: tuple[int, ...],
        *,
        cooperative: bool = False,
    ) -> None:
        """Run one kernel over its whole grid, program after program.

        Args:
            source: the text of a Python module with `@triton.jit` functions.
            kernel: the name of the one to run.
            arguments: every parameter in order: C-contiguous arrays (pointers to Triton; modified
                in place as the kernel does; the same array may be given twice), ints and floats.
                A scalar whose parameter has a type (`n: tl.int64`) arrives with that type.
            grid: one to three sizes.
            cooperative: its programs wait for one another, so each goes on to its next atomic
                operation and hands over to the next program. The grid then has one size.

        Raises:
            BackendError: an argument is of a kind that cannot be passed, the kernel fails (with
                the end of its traceback), writes beyond an array or into a read-only one, kills
                the worker, or takes longer than the timeout.
        """
        layout = _lay_out(arguments)
        with self._lock:
            if self._worker is None or not self._worker.is_usable():
                self._end_worker()
                self._worker = _Worker()
            worker = self._worker
            try:
                shared = np.memmap(worker.data, dtype=np.uint8, mode="w+", shape=(layout.size,))
                shared[:] = GUARD_BYTE
                for start, size, array in layout.arrays:
                    shared[start : start + size] = _bytes(array)
                request = {
                    "source": source,
                    "kernel": kernel,
                    "arguments": layout.arguments,
                    "grid": [int(size) for size in grid],
                    "cooperative": cooperative,
                    "size": layout.size,
                }
                failure = worker.ask(request, self.timeout)
            except BaseException:
                # Half a conversation cannot be taken up again, after Ctrl-C for instance.
                self._end_worker()
                raise
            if failure is not None:
                raise BackendError(f"{kernel} failed in Triton's interpreter:\n{failure}")
            _take_back(kernel, layout, shared)

    def close(self) -> None:
        """End the worker, if there is one. A later launch starts another."""
        with self._lock:
            self._end_worker()

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """One worker process with its private directory."""

    def __init__(self) -> None:
        directory = tempfile.mkdtemp(prefix="graphir-")
        self.data = Path(directory) / "arguments"
        self.crash = Path(directory) / "crash"
        self.owner = os.getpid()
        ours, theirs = socket.socketpair()
        settings = {"TRITON_INTERPRET": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        # What a kernel prints goes to stderr (2), so that a program's own output stays clean.
        self.process = subprocess.Popen(
            # -P: the worker's folder must not hide modules of the same names. -u: prints show.
            [sys.executable, "-Pu", WORKER, str(theirs.fileno()), self.data, self.crash],
            env={**os.environ, **settings},
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,
        )
        theirs.close()
        self.socket = ours
        self.lines = ours.makefile("r", encoding="utf-8")
        closing = (ours.close, self.lines.close)
        self.end = weakref.finalize(self, _end, self.process, closing, directory, self.owner)

    def is_usable(self) -> bool:
        """Whether the process lives and is ours, not that of the process we were forked from."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, request: dict[str, Any], timeout: float) -> str | None:
        """Send one request and wait. The reply is None for success, else what went wrong."""
        self.socket.settimeout(timeout)
        try:
            self.socket.sendall(json.dumps(request).encode() + b"\n")
            reply = self.lines.readline()
        except TimeoutError as slow:
            raise BackendError(
                f"{request['kernel']} took longer than {timeout:g} s in Triton's interpreter",
                hint="use smaller arrays or a smaller grid; interpreting is slow",
            ) from slow
        except OSError:
            reply = ""
        if not reply.endswith("\n"):
            raise BackendError(self._obituary(request["kernel"]))
        error: str | None = json.loads(reply)["error"]
        return error

    def _obituary(self, kernel: str) -> str:
        try:
            status = str(self.process.wait(5.0))
        except subprocess.TimeoutExpired:
            status = "still running"
        said = ""
        with contextlib.suppress(OSError):
            said = self.crash.read_text(errors="replace")
        summary = f"the interpreter's process died (exit status {status}) while running {kernel}"
        summary += "; a load or store outside of every array is the usual reason"
        return "\n".join([summary, *said.strip().splitlines()[:25]])


def _end(
    process: subprocess.Popen[bytes],
    closing: Sequence[Callable[[], None]],
    directory: str,
    owner: int,
) -> None:
    """End a worker and remove its files; a forked copy of its parent only lets go of it."""
    for close in closing:
        close()
    if os.getpid() == owner:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _bytes(array: NDArray[Any]) -> Bytes:
    """The bytes of a C-contiguous array, without a copy."""
    return array.reshape(-1).view(np.uint8)


def _lay_out(arguments: Sequence[Argument]) -> _Layout:
    """Check the arguments and give every distinct array its place."""
    layout = _Layout()
    for position, value in enumerate(arguments):
        if isinstance(value, np.ndarray):
            start = _place(layout, position, value)
            layout.arguments.append({"dtype": value.dtype.name, "start": start})
        elif isinstance(value, bool | int | float | np.number | np.bool_):
            scalar = value.item() if isinstance(value, np.generic) else value
            # JSON knows no NaN and no infinity, and rounds nothing when they go as text.
            kind = "float" if isinstance(scalar, float) else "int"
            layout.arguments.append({kind: repr(scalar) if kind == "float" else scalar})
        else:
            raise BackendError(
                f"argument {position} of a kernel must be a NumPy array, an int or a float, "
                f"not {type(value).__name__}"
            )
    return layout


def _place(layout: _Layout, position: int, array: NDArray[Any]) -> int:
    """The array's offset in the shared file: a new one, unless it was given before."""
    if array.dtype.name not in DTYPES or not array.dtype.isnative:
        raise BackendError(f"argument {position}: the interpreter takes no {array.dtype} arrays")
    if not array.flags.c_contiguous:
        raise BackendError(
            f"argument {position}: the array of shape {array.shape} is not C-contiguous",
            hint="pass numpy.ascontiguousarray(x)",
        )
    for start, size, other in layout.arrays:
        same = other.ctypes.data == array.ctypes.data and size == array.nbytes
        if same and size and other.dtype == array.dtype:
            return start
        if np.may_share_memory(other, array):
            layout.overlaps.append((array, other))
    start = layout.size
    layout.arrays.append((start, array.nbytes, array))
    layout.size = math.ceil((start + array.nbytes) / 128) * 128 + GUARD
    return start


def _take_back(kernel: str, layout: _Layout, shared: Bytes) -> None:
    """Copy the results home, after checking what must not have changed."""
    end = 0
    for start, size, array in [*layout.arrays, (layout.size, 0, None)]:
        if np.any(shared[end:start] != GUARD_BYTE):
            raise BackendError(f"{kernel} writes outside of its arrays (a store without its mask?)")
        end = start + size
        if array is None or np.array_equal(shared[start:end], _bytes(array)):
            continue
        if any(array is one for pair in layout.overlaps for one in pair):
            raise BackendError(
                f"{kernel} writes into an array of shape {array.shape} that overlaps another one"
            )
        if not array.flags.writeable:
            raise BackendError(f"{kernel} writes into a read-only array of shape {array.shape}")
        _bytes(array)[:] = shared[start:end]
