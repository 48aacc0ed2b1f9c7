"""What codegen hands to the runtime: buffers, sizes, kernels in order, and the loop around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from graphir.dtypes import DType
from graphir.graph import Graph, Node
from graphir.sizes import Shape, Size, evaluate

from .machine import CPU, Machine

if TYPE_CHECKING:
    from .tile import LibraryProduct, TileKernel

# Sizes that the runtime gives a program besides the graph's own Dims.
ROWS = "rows"  # rows of the whole data set, where a loop runs over batches of it
BATCH = "batch"  # rows of a full batch
PROGRAMS = "programs"  # programs of a Triton grid; threads of a C call


class Role(Enum):
    """Who owns a buffer."""

    INPUT = "input"  # the caller's; with a carry also written
    OUTPUT = "output"  # allocated by the runtime, handed to the caller
    SCRATCH = "scratch"  # allocated by the runtime for the call, contents undefined
    ZEROED = "zeroed"  # as scratch, but zero before the first launch (and left zero by each)


class Binding(Enum):
    """How a buffer meets the batch loop (all are WHOLE where there is none)."""

    WHOLE = "whole"  # the same memory in every step
    ROWS = "rows"  # one batch of rows a step: the memory holds all rows of the data
    STEP = "step"  # one scalar a step: the memory holds one for each step of the call


@dataclass(frozen=True)
class Buffer:
    """A C-contiguous array in memory.

    `shape` is what has to be allocated or passed: with ROWS binding its leading size is `rows`,
    with STEP binding the shape is `(steps,)`, indexed by the step number.
    """

    name: str
    dtype: DType
    shape: Shape
    role: Role
    binding: Binding = Binding.WHOLE
    node: Node | None = None


@dataclass(frozen=True)
class BatchLoop:
    """A compiled loop over mini-batches: step s takes rows s*batch to min((s+1)*batch, rows).

    Attributes:
        dim: the symbol of the graph's batch size, which is smaller in the last step.
        batched: positions of the graph's inputs that are fetched by rows.
        stepped: positions of the graph's 0-d inputs that hold one value a step.
        carry: (output, input) positions: what a step writes, the next one reads, in place.
        shuffled: rows are fetched through the `order` buffer (int64, one entry a row).
    """

    dim: str
    batched: frozenset[int]
    stepped: frozenset[int]
    carry: tuple[tuple[int, int], ...]
    shuffled: bool


@dataclass(frozen=True)
class Decision:
    """One choice of the scheduler with its reason, for `explain()`."""

    kind: str
    subject: str
    reason: str


@dataclass(frozen=True)
class Program:
    """A scheduled graph.

    Attributes:
        name: of the user's function.
        buffers: in the order of the call: inputs of the graph in order, then the outputs that are
            not carried, then `order` where the loop is shuffled, then scratch.
        sizes: names of the sizes in the order of the call (Dims; `rows` and `batch` in a loop).
        kernels: in the order of a step.
        loop: the batch loop, if any.
        outputs: for each output of the graph the name of the buffer that holds it.
        decisions: what the scheduler chose and refused, and why.
        machine: what it was scheduled for.
        halved: how many times the machine's limits were halved for that.
        graph: what was scheduled: the graph that was given, further rewritten. The kernels' nodes
            are its nodes.
    """

    name: str
    buffers: tuple[Buffer, ...]
    sizes: tuple[str, ...]
    kernels: tuple[TileKernel, ...]
    loop: BatchLoop | None
    outputs: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()
    machine: Machine = CPU
    halved: int = 0
    graph: Graph | None = field(default=None, repr=False, compare=False)

    def buffer(self, name: str) -> Buffer:
        """The buffer of that name."""
        return next(b for b in self.buffers if b.name == name)


def choices_of(program: Program) -> dict[str, int]:
    """The numbers of the choices with which a program is planned again, but for 0."""
    found = {k.name: k.choice for k in program.kernels if k.choice}
    return {**found, HALVED: program.halved} if program.halved else found


@dataclass(frozen=True)
class Launch:
    """One launch of a Triton kernel.

    `arguments` name buffers and sizes (also `first` and `last`, the steps to run: with a loop and
    one program the kernel runs them all itself; with several programs it is launched once a step).

    Attributes:
        whole: the kernel runs all steps itself, with however many programs.
        cooperative: its programs wait for one another, so all have to be on the chip at once.
        library: what the kernel does, for a library to do where all batches are full.
    """

    kernel: str
    arguments: tuple[str, ...]
    grid: tuple[tuple[Size, int], ...]
    num_warps: int
    num_stages: int
    signature: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    cooperative: bool = False
    library: LibraryProduct | None = None

    def programs(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Programs along each axis of the grid: one for each block of each (size, block)."""
        return tuple(-(-evaluate(size, sizes) // block) for size, block in self.grid)


@dataclass(frozen=True)
class TritonModule:
    """Triton text and how to launch it. `scratch` is what the kernels need besides the program's
    buffers; its shapes may use `programs`. `lines` has the node of each line of the text."""

    source: str
    launches: tuple[Launch, ...]
    scratch: tuple[Buffer, ...]
    lines: tuple[Node | None, ...] = ()


HALVED = "limits halved"
"""Among the choices of kernels, by name, how many times the machine's limits are halved for all of
them. It is no kernel's name."""

DONE = "done"
"""The buffer of one int64 that holds, on the device, the steps done before a launch: a CUDA graph
of one step can be put on the stream again and again."""

C_ENTRY = "graphir_run"
"""The C entry: `int graphir_run(in_threads_t *in_threads, void **buffers, const int64_t *sizes,
int64_t first, int64_t last, int32_t threads)`, given the function of `c_runtime.THREADS`; 0 where
it succeeded, 1 where memory ran out, 2 where a thread could not be started."""
