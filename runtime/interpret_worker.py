"""The process in which Triton's interpreter runs; `interpret` starts it and talks to it.

Run as `python -P interpret_worker.py SOCKET_FD DATA_FILE CRASH_FILE` with TRITON_INTERPRET=1. It
ends when the socket does. Where the interpreter of Triton falls short of the compiler (libdevice,
bfloat16 products, typed scalars), it is completed here.
"""

from __future__ import annotations

import dataclasses
import faulthandler
import importlib.util
import json
import math
import os
import socket
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

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


def _each(function: Callable[[float], float]) -> Callable[..., NDArray[Any]]:
    """A function of Python floats, applied to each element in double precision."""
    return np.vectorize(function, otypes=[np.float64])


def _lgamma(x: float) -> float:
    if x <= 0 and x == math.floor(x):
        return math.inf
    return math.lgamma(x)


def _round(x: NDArray[Any]) -> NDArray[Any]:
    """Round halves away from zero, as C does."""
    whole: NDArray[Any] = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x), whole)


def libdevice_functions() -> dict[str, Callable[..., NDArray[Any]]]:
    """NumPy's (or Python's) equivalents of the libdevice functions that kernels use."""
    same = "exp exp2 log log2 log10 log1p expm1 sqrt sin cos tan sinh cosh tanh floor ceil trunc"
    same += " rint cbrt abs isnan isinf signbit hypot copysign fmod nextafter"
    functions: dict[str, Callable[..., NDArray[Any]]] = {
        name: getattr(np, name) for name in same.split()
    }
    inverse = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}
    inverse |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh"}
    functions |= {name: getattr(np, theirs) for name, theirs in inverse.items()}
    return functions | {
        "pow": np.power,
        "rsqrt": lambda x: 1 / np.sqrt(x),
        "nearbyint": np.rint,
        "round": _round,
        "finitef": np.isfinite,
        "isfinited": np.isfinite,
        "erf": _each(math.erf),
        "erfc": _each(math.erfc),
        "lgamma": _each(_lgamma),
    }


class Worker:
    """Triton, completed, and the kernels it has loaded.

    Args:
        doors: the module `triton_module`, loaded from the file beside this one.
    """

    def __init__(self, doors: Any) -> None:
        self.load_kernel = doors.load_kernel
        self.tl = doors.triton_module("triton.language")
        self.interpreter = doors.triton_module("triton.runtime.interpreter")
        self.normalize = doors.triton_module("triton.runtime.jit")._normalize_ty
        self.libdevice = doors.triton_module("triton.language.extra.libdevice")
        for name, function in libdevice_functions().items():
            setattr(self.libdevice, name, self._elementwise(function))
        self._complete_dot()
        self._complete_index()
        self._complete_splat()
        self._complete_bfloat16()

    def _elementwise(self, function: Callable[..., NDArray[Any]]) -> Callable[..., Any]:
        """A libdevice function on the interpreter's tensors, which are NumPy arrays inside."""
        core, interpreter = self.tl.core, self.interpreter
        semantic = interpreter.interpreter_semantic

        def call(*operands: Any, **_: Any) -> Any:
            tensors = [semantic.to_tensor(operand) for operand in operands]
            if len(tensors) == 2:
                tensors = core.binary_op_type_legalization(*tensors, semantic)
            scalar = tensors[0].type.scalar
            data = np.asarray(function(*(tensor.handle.data for tensor in tensors)))
            scalar, dtype = (core.int1, bool) if data.dtype == bool else (scalar, None)
            data = data.astype(dtype or tensors[0].handle.data.dtype)
            kind = tensors[0].type
            kind = core.block_type(scalar, list(data.shape)) if kind.is_block() else scalar
            return core.tensor(interpreter.TensorHandle(data, scalar), kind)

        return call

    def _complete_dot(self) -> None:
        """Take bfloat16 operands as the numbers they stand for, and every precision's name."""
        tl, interpreter = self.tl, self.interpreter
        builder = interpreter.interpreter_builder
        names = ("ieee", "tf32", "tf32x3", "bf16x3", "bf16x6")
        builder.options = dataclasses.replace(builder.options, allowed_dot_input_precisions=names)
        dot = builder.create_dot

        def widened(handle: Any) -> Any:
            if handle.dtype.scalar != tl.bfloat16:
                return handle
            bits = handle.data.astype(np.uint32) << 16
            return interpreter.TensorHandle(bits.view(np.float32), tl.float32)

        def create_dot(a: Any, b: Any, *others: Any) -> Any:
            return dot(widened(a), widened(b), *others)

        builder.create_dot = create_dot

    def _complete_index(self) -> None:
        """Let a scalar bound a `range`: Triton 3.6 asks NumPy for what its 2.4 refuses."""
        patch = self.interpreter._patch_lang_tensor

        def patched(tensor: Any, *scope: Any) -> None:
            patch(tensor, *scope)
            tensor.__index__ = lambda self: int(self.handle.data.item())

        self.interpreter._patch_lang_tensor = patched

    def _complete_splat(self) -> None:
        """Let a comparison of scalars be spread: the interpreter gives it its operands' type."""
        interpreter = self.interpreter

        def create_splat(kind: Any, handle: Any) -> Any:
            data = np.full(kind.shape, handle.data.reshape(-1)[0], handle.data.dtype)
            return interpreter.TensorHandle(data, handle.dtype.scalar)

        interpreter.interpreter_builder.create_splat = create_splat

    def _complete_bfloat16(self) -> None:
        """Round to the nearest bfloat16, halves to even, where the interpreter cuts bits off."""
        tl, interpreter = self.tl, self.interpreter
        builder = interpreter.interpreter_builder
        cast = builder.cast_impl

        def cast_impl(source: Any, kind: Any) -> Any:
            before, after = source.dtype.scalar, kind.scalar
            if before == after or tl.bfloat16 not in (before, after):
                return cast(source, kind)
            if before == tl.bfloat16:
                wide = (source.data.astype(np.uint32) << 16).view(np.float32)
                wider = interpreter.TensorHandle(wide, tl.float32)
                return wider if after == tl.float32 else cast(wider, kind)
            single = np.asarray(source.data, np.float32)
            bits = single.view(np.uint32)
            near = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
            near = np.where(np.isnan(single), np.uint16(0x7FC0), near)
            return interpreter.TensorHandle(near, after)

        def get_bf16(value: float) -> Any:
            single = np.array([value], dtype=np.float32)
            return cast_impl(interpreter.TensorHandle(single, tl.float32), tl.bfloat16)

        builder.cast_impl = cast_impl
        builder.get_bf16 = get_bf16

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


def main(fd: int, data: Path, crash: Path) -> None:
    """Answer requests until the socket ends."""
    faulthandler.enable(crash.open("w"))
    # NumPy warns where a GPU silently wraps around or makes a NaN.
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    beside = Path(__file__).with_name("triton_module.py")
    spec = importlib.util.spec_from_file_location("triton_module", beside)
    if spec is None or spec.loader is None:
        raise ImportError(f"no {beside}")
    doors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(doors)
    worker: Worker | None = None
    with socket.socket(fileno=fd) as connection, connection.makefile("rw") as lines:
        for line in lines:
            request = json.loads(line)
            error = None
            try:
                worker = worker or Worker(doors)
                shape = (request["size"],)
                worker.run(request, np.memmap(data, dtype=np.uint8, mode="r+", shape=shape))
            except Exception as failure:  # noqa: BLE001 - whatever a kernel raises is reported
                error = describe(failure)
            lines.write(json.dumps({"error": error}) + "\n")
            lines.flush()


if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "1"
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
