"""Calls of the C backend whose signature was met before: all but the addresses is known.

Nothing is copied or converted: the kernel reads the arguments where they lie, and writes into new
arrays or tensors that the caller gets.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from graphir.codegen.program import PROGRAMS, Role
from graphir.dtypes import DType
from graphir.frontend.torch_arrays import as_tensor, has_its_numbers
from graphir.sizes import evaluate_shape

from .backend_c import CBackend
from .executable import Executable

_byte_at = ctypes.c_char.from_buffer


def _int64(x: int) -> ctypes.c_int64:
    number = ctypes.c_int64(x)
    if number.value != x:
        raise OverflowError(f"{x} does not fit into 64 bits")
    return number


_NUMBERS: Mapping[str, Callable[[Any], Any]] = {
    "float32": ctypes.c_float,
    "float64": ctypes.c_double,
    "int64": _int64,
    "bool": ctypes.c_bool,
}


class DirectCall:
    """One signature of a program without a loop, prepared.

    Args:
        executable: of the C backend.
        inputs: what is passed for each of the graph's inputs (a captured array, or an example
            argument), all of kinds that `takes` accepts.
        dtypes: of the graph's inputs.
        sizes: the graph's Dims by name.
        tensor: whether outputs are tensors.
    """

    def __init__(
        self,
        executable: Executable,
        inputs: Sequence[Any],
        dtypes: Sequence[DType],
        sizes: Mapping[str, int],
        *,
        tensor: bool,
    ) -> None:
        backend = executable.backend
        assert isinstance(backend, CBackend)
        known = dict(sizes)
        known[PROGRAMS] = backend.share(known)
        self._launch = backend.launcher(known)
        self._addresses = [_address_of(x) for x in inputs]
        self._numbers = [
            (i, np.asarray if isinstance(x, np.generic) else _NUMBERS[dtypes[i].name])
            for i, x in enumerate(inputs)
            if type(x) in (float, int, bool) or isinstance(x, np.generic)
        ]
        # ctypes takes bytes as a pointer; packing them is faster than making a ctypes array.
        self._pack = struct.Struct(f"{len(executable.program.buffers)}P").pack
        buffers = executable.program.buffers[len(inputs) :]
        shapes = [evaluate_shape(b.shape, known) for b in buffers]
        lender = {i: slot[0] for slot in executable.slots for i in slot}
        for slot in executable.slots:
            most = max(prod(shapes[i - len(inputs)]) for i in slot)
            shapes[slot[0] - len(inputs)] = (most,)
        self._make: list[Callable[[], Any]] = []
        # Where each buffer's memory is among what is made.
        place: dict[int, int] = {}
        for i, (shape, b) in enumerate(zip(shapes, buffers, strict=True), len(inputs)):
            if lender.get(i, i) == i:
                place[i] = len(self._make)
                self._make.append(_maker(shape, b.dtype, zero=b.role is Role.ZEROED))
        positions = range(len(inputs), len(inputs) + len(buffers))
        self._places = [place[lender.get(i, i)] for i in positions]
        self._outputs = [place[i] for i in executable.outputs]
        if tensor:
            # Of NumPy's memory: a new array and a tensor on it take half the time of a new tensor.
            self._make = [_as_tensor(make) for make in self._make]
        self._shared = bool(executable.slots)
        self._made_address = _tensor_address() if tensor else _array_address

    @staticmethod
    def takes(inputs: Sequence[Any], dtypes: Sequence[DType]) -> bool:
        """Whether every input can be read where it lies."""
        return all(map(_readable, inputs, dtypes))

    def __call__(self, inputs: list[Any]) -> list[Any]:
        """Run, and give the outputs. `inputs` is changed."""
        for i, number in self._numbers:
            inputs[i] = number(inputs[i])
        made = [make() for make in self._make]
        addresses = [of(x) for of, x in zip(self._addresses, inputs)]  # noqa: B905 - faster
        own = list(map(self._made_address, made))
        addresses += [own[k] for k in self._places] if self._shared else own
        self._launch(self._pack(*addresses), 0, 1, len(addresses))
        return [made[i] for i in self._outputs]


def _readable(x: Any, dtype: DType) -> bool:
    if type(x) is np.ndarray:
        return bool(x.flags.c_contiguous and x.flags.aligned)
    if isinstance(x, np.generic):
        return x.dtype == dtype.numpy
    if type(x) in (float, int, bool):
        return dtype.name in _NUMBERS
    torch = sys.modules.get("torch")
    plain = torch is not None and type(x) in (torch.Tensor, torch.nn.Parameter)
    return plain and x.device.type == "cpu" and has_its_numbers(x)


def _array_address(x: Any) -> int:
    try:
        return ctypes.addressof(_byte_at(x))
    except (TypeError, ValueError):
        # A read-only or an empty array; this way is slow.
        return int(x.ctypes.data)


def _tensor_address() -> Callable[[Any], int]:
    address: Callable[[Any], int] = sys.modules["torch"].Tensor.data_ptr
    return address


def _address_of(x: Any) -> Callable[[Any], int]:
    if isinstance(x, (np.ndarray, np.generic)):
        return _array_address
    return ctypes.addressof if type(x) in (float, int, bool) else _tensor_address()


def _as_tensor(make: Callable[[], Any]) -> Callable[[], Any]:
    if make().dtype.name == "bfloat16":
        return lambda: as_tensor(make())
    from_numpy = sys.modules["torch"].from_numpy
    return lambda: from_numpy(make())


def _maker(shape: tuple[int, ...], dtype: DType, *, zero: bool) -> Callable[[], Any]:
    make = np.zeros if zero else np.empty
    kind = dtype.numpy
    return lambda: make(shape, kind)
