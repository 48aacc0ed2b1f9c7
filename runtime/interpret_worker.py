"""The process in which Triton's interpreter runs; `interpret` starts it and talks to it.

Run as `python -P interpret_worker.py SOCKET_FD DATA_FILE CRASH_FILE` with TRITON_INTERPRET=1. It
ends when the socket does. What the interpreter lacks beside the compiler, `interpret_language`
adds.
"""

from __future__ import annotations

import faulthandler
import importlib.util
import json
import os
import shutil
import socket
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTEES = {
    "bool": "int1",
    "float16": "float16",
    "bfloat16": "bfloat16",
    "float32": "float32",
    "float64": "float64",
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
# Triton's canonical names of annotations -> its types, and NumPy's.
SCALARS = {
    **{f"i{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"u{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "fp32": "float32",
    "fp64": "float64",
}


class Worker:
    """Triton, completed, and the kernels it has loaded.

    Args:
        doors, language: the modules `triton_module` and `interpret_language`, loaded from the
            files beside this one.
    """

    def __init__(self, doors: Any, language: Any) -> None:
        self.load_kernel = doors.load_kernel
        self.tl = doors.triton_module("triton.language")
        self.interpreter = doors.triton_module("triton.runtime.interpreter")
        self.normalize = doors.triton_module("triton.runtime.jit")._normalize_ty
        libdevice = doors.triton_module("triton.language.extra.libdevice")
        language.complete(self.tl, self.interpreter, libdevice)

    def run(self, request: dict[str, Any], shared: NDArray[np.uint8]) -> None:
        """Run one kernel on the arrays in the shared file, as the request says."""
        kernel = self.load_kernel(request["source"], request["kernel"])
        notes = kernel.fn.__annotations__
        values = []
        for name, argument in zip(kernel.arg_names, request["arguments"], strict=True):
            note = self.normalize(notes[name]) if name in notes else ""
            values.append(self._value(argument, note, shared.ctypes.data))
        if request["cooperative"]:
            (programs,) = request["grid"]
            _Together(self.interpreter, programs).run(kernel, values)
        else:
            kernel[tuple(request["grid"])](*values)

    def _value(self, argument: dict[str, Any], note: str, base: int) -> Any:
        """What the interpreter takes for an argument: a pointer, a typed or a plain scalar."""
        if "dtype" in argument:
            kind = self.tl.pointer_type(getattr(self.tl, POINTEES[argument["dtype"]]))
            return self._scalar(base + argument["start"], kind, np.uint64)
        value = float(argument["float"]) if "float" in argument else argument["int"]
        if note not in SCALARS:
            return value
        name = SCALARS[note]
        return self._scalar(value, getattr(self.tl, name), np.dtype(name).type)

    def _scalar(self, value: float, kind: Any, dtype: type[np.generic]) -> Any:
        handle = self.interpreter.TensorHandle(np.array([value], dtype=dtype), kind)
        return self.tl.tensor(handle, kind)


class _Together:
    """The programs of one grid, each in a thread, of which one at a time goes on: until its next
    atomic operation, before which the next program has its turn."""

    def __init__(self, interpreter: Any, programs: int) -> None:
        self.interpreter, self.builder = interpreter, interpreter.interpreter_builder
        self.programs = programs
        self.changed = threading.Condition()
        self.left = list(range(programs))
        self.turn = 0
        self.failure: Exception | None = None

    def run(self, kernel: Any, values: list[Any]) -> None:
        """Run all programs to their ends."""
        builder, interpreter = self.builder, self.interpreter
        rmw, patch = builder.create_atomic_rmw, interpreter._patch_lang

        def waiting(*operands: Any) -> Any:
            self.hand_over(int(threading.current_thread().name))
            return rmw(*operands)

        scope = patch(kernel.rewrite())
        # The language is patched once for all threads; the grid is theirs together.
        interpreter._patch_lang = lambda _: self
        builder.create_atomic_rmw = waiting
        builder.set_grid_dim = lambda *_: setattr(builder, "grid_dim", (self.programs, 1, 1))
        builder.set_grid_idx = lambda *_: self._enter()
        try:
            threads = [
                threading.Thread(target=self._program, args=(kernel, values), name=str(k))
                for k in range(self.programs)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            # What was set on the object hides the methods of its class.
            del builder.set_grid_dim, builder.set_grid_idx
            builder.create_atomic_rmw = rmw
            interpreter._patch_lang = patch
            scope.restore()
        if self.failure is not None:
            raise self.failure

    def restore(self) -> None:
        """What an executor calls on the scope of its patches: nothing, until all have ended."""

    def hand_over(self, program: int) -> None:
        """Let the next program go on, and wait for the next turn."""
        with self.changed:
            self._pass_on(program)
            self._wait(program)

    def _program(self, kernel: Any, values: list[Any]) -> None:
        program = int(threading.current_thread().name)
        try:
            with self.changed:
                self._wait(program)
            kernel[(1,)](*values)
        except Exception as failure:  # noqa: BLE001 - raised again where the programs are joined
            self.failure = self.failure or failure
        finally:
            with self.changed:
                self._pass_on(program)
                self.left.remove(program)

    def _enter(self) -> None:
        self.builder.grid_idx = (int(threading.current_thread().name), 0, 0)

    def _pass_on(self, program: int) -> None:
        following = [p for p in self.left if p > program] + self.left
        self.turn = following[0]
        self.changed.notify_all()

    def _wait(self, program: int) -> None:
        self.changed.wait_for(lambda: self.turn == program or self.failure is not None)
        if self.failure is not None:
            raise RuntimeError("another program failed")
        self._enter()


def describe(failure: BaseException) -> str:
    """What first went wrong, with the kernel's own lines that led there."""
    while failure.__cause__ is not None:
        failure = failure.__cause__
    said = traceback.TracebackException.from_exception(failure)
    kernel = [frame for frame in said.stack if frame.filename.startswith("graphir_kernels_")]
    # Triton's own frames matter only where the kernel has none.
    frames = kernel or list(said.stack)
    lines = traceback.format_list(frames[-8:]) + list(said.format_exception_only())
    return "".join(lines).rstrip()


def beside(name: str) -> Any:
    """The module in the file of that name beside this one."""
    file = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"no {file}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def end_with(parent: int, directory: Path) -> None:
    """End this process once its parent has: a kernel in a long loop never looks at the socket.

    A parent that was killed has not removed the directory of the two.
    """
    while os.getppid() == parent:
        time.sleep(1.0)
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(1)


def main(fd: int, data: Path, crash: Path) -> None:
    """Answer requests until the socket ends."""
    threading.Thread(target=end_with, args=(os.getppid(), data.parent), daemon=True).start()
    faulthandler.enable(crash.open("w"))
    # NumPy warns where a GPU silently wraps around or makes a NaN.
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    doors, language = beside("triton_module"), beside("interpret_language")
    worker: Worker | None = None
    with socket.socket(fileno=fd) as connection, connection.makefile("rw") as lines:
        for line in lines:
            request = json.loads(line)
            error = None
            try:
                worker = worker or Worker(doors, language)
                shape = (request["size"],)
                worker.run(request, np.memmap(data, dtype=np.uint8, mode="r+", shape=shape))
            except Exception as failure:  # noqa: BLE001 - whatever a kernel raises is reported
                error = describe(failure)
            lines.write(json.dumps({"error": error}) + "\n")
            lines.flush()
    shutil.rmtree(data.parent, ignore_errors=True)


if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "1"
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
