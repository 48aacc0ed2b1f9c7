"""A program and a backend that runs it: buffers are allocated, sizes bound, steps run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np

from graphir.codegen.program import BATCH, PROGRAMS, ROWS, Binding, Buffer, Program, Role
from graphir.codegen.reuse import scratch_slots
from graphir.dtypes import DType
from graphir.errors import BackendError
from graphir.frontend.torch_arrays import as_array
from graphir.row_order import Keys, row_order
from graphir.sizes import evaluate_shape

from .debug import logged, logs_launches

Memory: TypeAlias = Any
"""What a backend computes on: NumPy arrays on the CPU, torch tensors on a GPU."""

Steps: TypeAlias = Callable[[int, int], None]
"""Runs the steps first, …, last - 1 on the memory that it was bound to."""


InEpochs: TypeAlias = Callable[[int, Mapping[int, Memory], Sequence[Keys]], None]
"""Runs whole epochs on the memory that it was bound to: of so many steps, as many as the given
memory has rows; it takes the place of buffers, by their positions, a row an epoch. Then the keys of
each epoch's order of rows, where there is one."""


class Passed(Protocol):
    """A moment of the device's time."""

    def wait(self) -> None:
        """Until it has passed."""

    def since(self, earlier: Any) -> float:
        """The seconds from an earlier moment to this one, both of which have passed."""


class Fetched(Protocol):
    """A copy under way to the host.

    Attributes:
        mark: when it is done.
    """

    @property
    def mark(self) -> Passed: ...

    def wait(self) -> np.ndarray[Any, Any]:
        """The values, once they are there."""


class Backend(Protocol):
    """What runs programs. One file each; nothing else knows how a kernel is launched.

    Attributes:
        name: as users spell it.
        shares_memory: whether buffers that are never in use together may lie in the same memory.
        queue: how many slices of steps may wait while the one before them runs.
    """

    name: str
    shares_memory: bool
    queue: int

    def share(self, sizes: Mapping[str, int]) -> int:
        """How many threads or programs share a step of these sizes: the size `programs`."""

    def empty(self, shape: tuple[int, ...], dtype: DType, *, zero: bool) -> Memory:
        """New memory; its contents are undefined unless `zero`."""

    def upload(self, values: Any) -> Memory:
        """An array or tensor as memory of this backend: itself where it can be, else a copy."""

    def write(self, memory: Memory, values: np.ndarray[Any, Any]) -> None:
        """Copy `values` over all of `memory`."""

    def shuffle(self, order: Memory, keys: Keys) -> None:
        """Write the order of the rows that the keys give: `graphir.row_order.row_order`."""

    def read(self, memory: Memory) -> np.ndarray[Any, Any]:
        """The contents, once everything launched is done; a view where that is possible."""

    def fetch(self, memory: Memory, part: slice) -> Fetched:
        """Begin to copy a part of `memory`, as it is once everything launched is done."""

    def mark(self) -> Passed:
        """When everything launched so far is done."""

    def bind(self, memory: Sequence[Memory], sizes: Mapping[str, int]) -> Steps:
        """Prepare a call that may be run often.

        Args:
            memory: in the order of the program's buffers.
            sizes: every size by its name, `programs` among them.
        """

    def bind_epochs(
        self, memory: Sequence[Memory], sizes: Mapping[str, int], order: Memory | None
    ) -> InEpochs | None:
        """Prepare calls of several epochs; None where each is launched by itself.

        Args:
            order: the one of `memory` that holds the order of the rows, if any.
        """


class HostMark:
    """A moment of the host's time."""

    def __init__(self) -> None:
        self._time = time.perf_counter()

    def wait(self) -> None:
        """It has passed."""

    def since(self, earlier: HostMark) -> float:
        """Seconds."""
        return self._time - earlier._time


class HostFetch:
    """A copy that is done."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self._values, self.mark = values, HostMark()

    def wait(self) -> np.ndarray[Any, Any]:
        """The values."""
        return self._values


class HostMemory:
    """The memory of the backends that compute on NumPy arrays, and are done when they return."""

    queue = 0
    shares_memory = False

    def empty(self, shape: tuple[int, ...], dtype: DType, *, zero: bool) -> Memory:
        """A new array."""
        return np.zeros(shape, dtype.numpy) if zero else np.empty(shape, dtype.numpy)

    def upload(self, values: Any) -> Memory:
        """The array, or the tensor's memory, copied only where it is not contiguous."""
        if not isinstance(values, np.ndarray):
            values = as_array(values.contiguous())
        if values.flags.c_contiguous and values.flags.aligned:
            return values
        return np.require(values, requirements=("C", "A"))

    def write(self, memory: Memory, values: np.ndarray[Any, Any]) -> None:
        """Copy."""
        memory[...] = values

    def shuffle(self, order: Memory, keys: Keys) -> None:
        """Computed by NumPy."""
        order[...] = row_order(len(order), keys)

    def read(self, memory: Memory) -> np.ndarray[Any, Any]:
        """The array itself."""
        return np.asarray(memory)

    def fetch(self, memory: Memory, part: slice) -> HostFetch:
        """A copy."""
        return HostFetch(np.array(memory[part]))

    def mark(self) -> HostMark:
        """Now."""
        return HostMark()

    def bind_epochs(
        self, memory: Sequence[Memory], sizes: Mapping[str, int], order: Memory | None
    ) -> InEpochs | None:
        """Each is launched by itself."""
        return None


@dataclass(frozen=True)
class Call:
    """An executable bound to its memory.

    Attributes:
        run: `run(first, last)` does those steps; without a loop `run(0, 1)` is the call.
        outputs: the memory of each of the graph's outputs (a carried one is the input's own).
        programs: how many threads or programs share the work.
        in_epochs: runs several epochs at once, where the backend can and nobody listens to each.
    """

    run: Steps
    outputs: list[Memory]
    programs: int
    in_epochs: InEpochs | None


class Executable:
    """A program that is ready to run.

    Attributes:
        program, backend: what is run, and what runs it.
        outputs: the position of each of the graph's outputs among the program's buffers.
        slots: positions of scratch buffers that live in the same memory, in turn.
    """

    def __init__(self, program: Program, backend: Backend) -> None:
        self.program, self.backend = program, backend
        inputs = [i for i, b in enumerate(program.buffers) if b.role is Role.INPUT]
        # The permutation of a shuffled loop is the last buffer that the caller gives.
        shuffled = program.loop is not None and program.loop.shuffled
        self._order = inputs.pop() if shuffled else None
        self._inputs = len(inputs)
        position = {b.name: i for i, b in enumerate(program.buffers)}
        self.outputs = tuple(position[name] for name in program.outputs)
        slots = scratch_slots(program) if backend.shares_memory else ()
        self.slots = tuple(tuple(position[b.name] for b in s) for s in slots if len(s) > 1)

    def bind(
        self, inputs: Sequence[Memory], sizes: Mapping[str, int], *, order: Memory | None = None
    ) -> Call:
        """Allocate what the caller does not give, and prepare to run.

        Args:
            inputs: memory for each of the graph's inputs, in order, C-contiguous.
            sizes: the graph's Dims by name; with a loop also `rows` and `batch`.
            order: with a shuffled loop the permutation of the rows, int64.

        Raises:
            BackendError: where memory is missing.
        """
        if len(inputs) != self._inputs or (order is None) != (self._order is None):
            raise BackendError(
                f"the program takes {self._inputs} inputs and "
                f"{'no order' if self._order is None else 'an order of the rows'}, "
                f"got {len(inputs)} inputs"
            )
        known = self.known_sizes(sizes)
        known[PROGRAMS] = programs = self.backend.share(known)
        memory: list[Memory] = list(inputs)
        lent = self._slots(known)
        for i, buffer in enumerate(self.program.buffers[len(inputs) :], len(inputs)):
            if i in lent:
                memory.append(lent[i])
            else:
                memory.append(order if i == self._order else self._allocate(buffer, known))
        steps = self.backend.bind(memory, known)
        in_epochs = None
        if self.program.loop is not None and not logs_launches():
            in_epochs = self.backend.bind_epochs(memory, known, order)
        steps = logged(steps, self.program, programs)
        return Call(steps, [memory[i] for i in self.outputs], programs, in_epochs)

    def known_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The sizes of a step: in a loop, with those of a full batch."""
        known = dict(sizes)
        loop = self.program.loop
        if loop is not None:
            # What is allocated by the batch size must hold the largest batch.
            known[loop.dim] = min(known[BATCH], known[ROWS])
        return known

    def run(
        self,
        inputs: Sequence[Memory],
        sizes: Mapping[str, int],
        *,
        first: int = 0,
        last: int = 1,
        order: Memory | None = None,
    ) -> list[Memory]:
        """Bind, run the steps first, …, last - 1, and return the outputs."""
        call = self.bind(inputs, sizes, order=order)
        call.run(first, last)
        return call.outputs

    def _slots(self, sizes: Mapping[str, int]) -> dict[int, Memory]:
        """The memory of the buffers that share it."""
        found: dict[int, Memory] = {}
        for slot in self.slots:
            buffers = [self.program.buffers[i] for i in slot]
            shapes = [evaluate_shape(b.shape, sizes) for b in buffers]
            whole = self.backend.empty((max(map(prod, shapes)),), buffers[0].dtype, zero=False)
            for i, shape in zip(slot, shapes, strict=True):
                found[i] = whole[: prod(shape)].reshape(shape)
        return found

    def _allocate(self, buffer: Buffer, sizes: Mapping[str, int]) -> Memory:
        if buffer.binding is Binding.STEP:
            shape: tuple[int, ...] = (count_steps(sizes[ROWS], sizes[BATCH]),)
        else:
            shape = evaluate_shape(buffer.shape, sizes)
        return self.backend.empty(shape, buffer.dtype, zero=buffer.role is Role.ZEROED)


def count_steps(rows: int, batch: int) -> int:
    """Batches in an epoch; the last one may be smaller."""
    return -(-rows // batch)
