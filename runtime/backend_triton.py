"""The `triton` backend: generated Triton on a GPU's tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphir.codegen.epoch_choice import Way
from graphir.codegen.program import DONE, ROWS, Launch, Program, TritonModule
from graphir.dtypes import DType
from graphir.errors import BackendError
from graphir.row_order import Keys
from graphir.sizes import evaluate_shape

from .cuda import Cuda, Fetch, Mark
from .executable import InEpochs, Memory, Steps
from .ways import Ways

if TYPE_CHECKING:
    import torch

_IN_A_GRAPH = 32
"""Steps of one CUDA graph: so many are put on the stream by one call."""


def launch_steps(
    program: Program,
    module: TritonModule,
    memory: Mapping[str, Memory],
    sizes: Mapping[str, int],
    start: Callable[[Launch, list[Any], tuple[int, ...]], None],
) -> Steps:
    """How the launches of a Triton module make up steps.

    Args:
        memory: by the names of the program's and the module's buffers.
        start: launches one kernel with its arguments over a grid.
    """
    launches = [(one, one.programs(sizes)) for one in module.launches]
    fixed: dict[str, Any] = {**sizes, **memory}

    def run(first: int, last: int) -> None:
        whole = all(one.whole for one, _ in launches)
        slices = [(first, last)] if whole else [(s, s + 1) for s in range(first, last)]
        for begin, end in slices:
            names = {**fixed, "first": begin, "last": end}
            for one, grid in launches:
                start(one, [names[argument] for argument in one.arguments], grid)

    return run


class TritonBackend:
    """A program as Triton kernels on one GPU.

    Args:
        program: what to run.
        device: of the arguments' tensors, if they are any.
        programs: how many programs share a streamed axis; by default as many as there are blocks,
            at most one a multiprocessor.

    Raises:
        BackendError: where there is no GPU.
    """

    name = "triton"
    shares_memory = True
    queue = 1
    """Slices of steps that may wait on the device while the one before runs."""

    def __init__(
        self, program: Program, device: torch.device | None, *, programs: int | None = None
    ) -> None:
        if device is None or device.type != "cuda":
            raise BackendError(
                "the triton backend needs tensors on a GPU, got "
                + ("NumPy arrays" if device is None else f"tensors on {device}"),
                hint="move them with x.cuda(), or use backend='c'",
            )
        self.gpu = Cuda(device)
        self.program = program
        self.ways = Ways(program, self.gpu.processors, programs=programs, chip=program.machine.chip)
        self.text = self.ways.launches.source

    def share(self, sizes: Mapping[str, int]) -> int:
        """The programs that share a step."""
        return self.ways.choice(sizes).programs

    def empty(self, shape: tuple[int, ...], dtype: DType, *, zero: bool) -> Memory:
        """A new tensor."""
        return self.gpu.empty(shape, dtype, zero=zero)

    def upload(self, values: Any) -> Memory:
        """The tensor on this GPU, copied only where it is elsewhere or not contiguous."""
        return self.gpu.upload(values)

    def write(self, memory: Memory, values: np.ndarray[Any, Any]) -> None:
        """Copy to the GPU, after what was launched; does not wait."""
        self.gpu.write(memory, values)

    def shuffle(self, order: Memory, keys: Keys) -> None:
        """Computed on the GPU, after what was launched; does not wait."""
        self.gpu.shuffle(order, keys)

    def read(self, memory: Memory) -> np.ndarray[Any, Any]:
        """Wait, and copy from the GPU."""
        return self.gpu.read(memory)

    def fetch(self, memory: Memory, part: slice) -> Fetch:
        """Begin to copy from the GPU."""
        return self.gpu.fetch(memory, part)

    def mark(self) -> Mark:
        """A place in the stream."""
        return self.gpu.mark()

    def _full_batches(self, sizes: Mapping[str, int]) -> bool:
        """Whether every step has as many rows: a kernel finds out how many on the device, and a
        library is told by the host."""
        loop = self.program.loop
        return loop is None or sizes[ROWS] % sizes[loop.dim] == 0

    def bind_epochs(
        self, memory: Sequence[Memory], sizes: Mapping[str, int], order: Memory | None
    ) -> InEpochs | None:
        """Each is launched by itself: the host runs ahead of the GPU."""
        return None

    def bind(self, memory: Sequence[Memory], sizes: Mapping[str, int]) -> Steps:
        """Allocate the module's own scratch; nothing else is done between launches."""
        choice = self.ways.choice(sizes)
        module = self.ways.module(sizes)
        named = {b.name: m for b, m in zip(self.program.buffers, memory, strict=True)}
        for buffer in module.scratch:
            shape = evaluate_shape(buffer.shape, sizes)
            # Zeroed in any case: a counter must start at 0, and the rest is small.
            named[buffer.name] = self.empty(shape, buffer.dtype, zero=True)
        source, gpu = module.source, self.gpu
        full = self._full_batches(sizes)

        def start(one: Launch, arguments: list[Any], grid: tuple[int, ...]) -> None:
            if one.library is not None and full:
                given = dict(zip(one.arguments, arguments, strict=True))
                gpu.multiply(one.library, given, sizes)
            else:
                gpu.launch(source, one, arguments, grid)

        steps = launch_steps(self.program, module, named, sizes, start)
        if self.program.loop is None or choice.way is not Way.LAUNCHES:
            return steps
        return _Replayed(gpu, steps, named[DONE]).run


class _Replayed:
    """Steps that are launches of their own, captured in a CUDA graph and put on the stream again.

    Args:
        launches: puts steps on the stream, counted from what `done` holds on the device.
        done: one int64: the steps that were done before.
    """

    def __init__(self, gpu: Cuda, launches: Steps, done: Any) -> None:
        self.gpu, self.launches, self.done = gpu, launches, done
        self._compiled = False
        self._graphs: dict[int, Callable[[], None]] = {}

    def run(self, first: int, last: int) -> None:
        """The steps first, …, last - 1. The very first is launched by itself, which compiles."""
        if first == last:
            return
        self.gpu.fill(self.done, first)
        if not self._compiled:
            self._some(1)
            self._compiled = True
            first += 1
        for count in (_IN_A_GRAPH, 1):
            times, rest = divmod(last - first, count)
            first = last - rest
            if times and count not in self._graphs:
                self._graphs[count] = self.gpu.capture(self._capturing(count))
            for _ in range(times):
                self._graphs[count]()

    def _capturing(self, count: int) -> Callable[[], None]:
        return lambda: self._some(count)

    def _some(self, count: int) -> None:
        self.launches(0, count)
        self.gpu.add(self.done, count)
