"""What a kernel costs: bytes of memory by footprint, and floating-point operations.

A pass reads an element of memory once, however often its tiles name it: loading a tile again comes
from cache. So the bytes of a kernel are the footprints of its buffers, not its load statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from graphir.sizes import Size, evaluate

from .program import BATCH, ROWS, Binding, Buffer, Program
from .tile import (
    Address,
    Axis,
    Contract,
    Load,
    Map,
    Reduce,
    Statement,
    Store,
    TileKernel,
)


@dataclass(frozen=True)
class Traffic:
    """Bytes and operations of one run of a kernel.

    Attributes:
        read, written: bytes of memory by buffer, each element counted once.
        flops: additions, multiplications and function calls, each as one.
        passes: by buffer, how many times the kernel walks over it from memory.
    """

    read: dict[str, int]
    written: dict[str, int]
    flops: int
    passes: dict[str, int]

    @property
    def bytes(self) -> int:
        """All bytes moved."""
        return sum(self.read.values()) + sum(self.written.values())


def step_sizes(program: Program, sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes of one full step: in a loop, the batch's."""
    found = dict(sizes)
    if program.loop is not None:
        found[program.loop.dim] = min(sizes[BATCH], sizes[ROWS])
    found.setdefault("start", 0)
    found.setdefault("step", 0)
    return found


def _extent(axes: Iterable[Axis], sizes: Mapping[str, int]) -> int:
    total = 1
    for axis in axes:
        total *= evaluate(axis.size, sizes)
    return total


def _walked(address: Address) -> frozenset[Axis]:
    found: set[Axis] = set()
    for term in address.terms:
        if term.axis is not None:
            found.add(term.axis)
        if term.at is not None:
            found.update(term.at.axes)
    return frozenset(found)


def _capacity(buffer: Buffer, sizes: Mapping[str, int], program: Program) -> int:
    """Elements of a buffer that one step can touch."""
    if buffer.binding is Binding.STEP:
        return 1
    shape: list[Size] = list(buffer.shape)
    if buffer.binding is Binding.ROWS or buffer.name == "order":
        assert program.loop is not None
        shape[0] = sizes[program.loop.dim]
    total = 1
    for size in shape:
        total *= evaluate(size, sizes)
    return total


def traffic(kernel: TileKernel, program: Program, sizes: Mapping[str, int]) -> Traffic:
    """What one step of `kernel` moves and computes; `sizes` as the runtime binds them."""
    sizes = step_sizes(program, sizes)
    read: dict[str, dict[frozenset[Axis], int]] = {}
    written: dict[str, dict[frozenset[Axis], int]] = {}
    passes: dict[str, int] = {}
    flops = 0
    for statement in kernel.statements():
        match statement:
            case Load(address=address):
                walked = _walked(address)
                read.setdefault(address.buffer, {})[walked] = _extent(walked, sizes)
            case Store(address=address):
                walked = _walked(address)
                written.setdefault(address.buffer, {})[walked] = _extent(walked, sizes)
        flops += _operations(statement, sizes)

    def footprint(found: dict[str, dict[frozenset[Axis], int]]) -> dict[str, int]:
        result = {}
        for name, parts in found.items():
            buffer = program.buffer(name)
            elements = min(sum(parts.values()), _capacity(buffer, sizes, program))
            result[name] = elements * buffer.dtype.itemsize
        return result

    # A buffer that does not fit the caches is walked once for each part of the kernel it is in.
    for part in (kernel.preamble, kernel.body, kernel.epilogue):
        for name in {s.address.buffer for s in part if isinstance(s, Load)}:
            passes[name] = passes.get(name, 0) + 1
    return Traffic(footprint(read), footprint(written), flops, passes)


def _operations(statement: Statement, sizes: Mapping[str, int]) -> int:
    match statement:
        case Map(out=out, op=op):
            return 0 if op in ("copy", "cast") else _extent(out.axes, sizes)
        case Reduce(source=source):
            return _extent(source.axes, sizes)
        case Contract(a=a, b=b):
            return 2 * _extent(dict.fromkeys((*a.axes, *b.axes)), sizes)
        case _:
            return 0


# Below these a second thread costs more, in waiting for it, than it brings.
WORTH_BYTES = 1 << 18
WORTH_FLOPS = 1 << 18
# With fewer rows, threads take longer to join their sums than to make them.
WORTH_ROWS = 24


def useful_threads(program: Program, sizes: Mapping[str, int], available: int) -> int:
    """How many threads a step keeps busy: from sizes alone, so that the bits are the same."""
    work = 0.0
    for kernel in program.kernels:
        cost = traffic(kernel, program, sizes)
        feeds = max(cost.bytes / WORTH_BYTES, cost.flops / WORTH_FLOPS)
        if kernel.accumulators and kernel.stream is not None and not kernel.grid:
            rows = evaluate(kernel.stream.size, step_sizes(program, sizes))
            feeds = min(feeds, rows / WORTH_ROWS)
        work = max(work, feeds)
    return max(1, min(available, int(work)))
