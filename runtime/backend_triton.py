"""The `triton` backend: generated Triton on a GPU's tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphir.codegen.program import Launch, Program, TritonModule
from graphir.codegen.triton_text import print_triton
from graphir.dtypes import DType
from graphir.errors import BackendError
from graphir.frontend.torch_arrays import as_array, as_tensor
from graphir.sizes import evaluate, evaluate_shape

from .executable import Memory, Steps
from .triton_launch import launch

if TYPE_CHECKING:
    import torch

# Blocks that one program walks in about the time that it takes to launch a step.
_WORTH_A_LAUNCH = 8


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
    # One kernel on one program walks the steps itself; several have to wait for one another.
    alone = len(launches) == 1 and int(np.prod(launches[0][1])) == 1

    def run(first: int, last: int) -> None:
        slices = [(first, last)] if alone else [(s, s + 1) for s in range(first, last)]
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

    def __init__(
        self, program: Program, device: torch.device | None, *, programs: int | None = None
    ) -> None:
        import torch

        if device is None or device.type != "cuda":
            raise BackendError(
                "the triton backend needs tensors on a GPU, got "
                + ("NumPy arrays" if device is None else f"tensors on {device}"),
                hint="move them with x.cuda(), or use backend='c'",
            )
        self.device = device
        self._programs = programs
        self._processors = torch.cuda.get_device_properties(device).multi_processor_count
        self.program = program
        self.module = print_triton(program)
        self.text = self.module.source

    def share(self, sizes: Mapping[str, int]) -> int:
        """One for few blocks: then all steps are one launch."""
        if self._programs is not None:
            return self._programs
        streams = [k.stream for k in self.program.kernels if k.stream is not None]
        blocks = max((-(-evaluate(a.size, sizes) // a.block) for a in streams), default=1)
        return 1 if blocks < _WORTH_A_LAUNCH else min(blocks, self._processors)

    def empty(self, shape: tuple[int, ...], dtype: DType, *, zero: bool) -> Memory:
        """A new tensor."""
        import torch

        make = torch.zeros if zero else torch.empty
        return make(shape, dtype=getattr(torch, dtype.name), device=self.device)

    def upload(self, values: Any) -> Memory:
        """The tensor on this GPU, copied only where it is elsewhere or not contiguous."""
        import torch

        given = as_tensor(values) if isinstance(values, np.ndarray) else values
        return torch.as_tensor(given, device=self.device).detach().contiguous()

    def write(self, memory: Memory, values: np.ndarray[Any, Any]) -> None:
        """Copy to the GPU."""
        memory.copy_(as_tensor(values))

    def read(self, memory: Memory) -> np.ndarray[Any, Any]:
        """Wait, and copy from the GPU."""
        return as_array(memory)

    def bind(self, memory: Sequence[Memory], sizes: Mapping[str, int]) -> Steps:
        """Allocate the module's own scratch; nothing else is done between launches."""
        named = {b.name: m for b, m in zip(self.program.buffers, memory, strict=True)}
        for buffer in self.module.scratch:
            shape = evaluate_shape(buffer.shape, sizes)
            # Zeroed in any case: a counter must start at 0, and the rest is small.
            named[buffer.name] = self.empty(shape, buffer.dtype, zero=True)
        source = self.module.source

        def start(one: Launch, arguments: list[Any], grid: tuple[int, ...]) -> None:
            launch(
                source,
                one.kernel,
                arguments,
                grid,
                num_warps=one.num_warps,
                num_stages=one.num_stages,
            )

        return launch_steps(self.program, self.module, named, sizes, start)
