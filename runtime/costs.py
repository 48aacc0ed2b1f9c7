"""What each kernel of a program costs, in bytes, operations and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphir.codegen.cost import traffic
from graphir.codegen.program import BATCH, PROGRAMS, ROWS, Binding, Buffer, Program, Role
from graphir.codegen.reuse import scratch_slots
from graphir.codegen.tile import Store, TileKernel
from graphir.sizes import evaluate

from .roofline import Roofline


@dataclass(frozen=True)
class KernelCost:
    """One kernel of one step.

    Attributes:
        kernel: which.
        fused: its ops, each with how often it occurs, most frequent first.
        read, written: bytes of memory, each element once.
        flops: additions, multiplications and function calls.
        least: the seconds that the roofline allows; None where it was not measured.
        bound: what the least time comes from.
    """

    kernel: TileKernel
    fused: tuple[tuple[str, int], ...]
    read: int
    written: int
    flops: int
    least: float | None = None
    bound: str = ""

    @property
    def bytes(self) -> int:
        """Read and written."""
        return self.read + self.written

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flops / self.bytes if self.bytes else 0.0


def kernel_costs(
    program: Program, sizes: Mapping[str, int], roofline: Roofline | None
) -> list[KernelCost]:
    """The cost of each kernel at these sizes, in order."""
    found = []
    for kernel in program.kernels:
        cost = traffic(kernel, program, sizes)
        read, written = sum(cost.read.values()), sum(cost.written.values())
        moved = read + written
        least = roofline.seconds(moved, cost.flops) if roofline else None
        bound = roofline.bound(moved, cost.flops) if roofline else ""
        found.append(KernelCost(kernel, fused(kernel), read, written, cost.flops, least, bound))
    return found


def fused(kernel: TileKernel) -> tuple[tuple[str, int], ...]:
    """The ops of a kernel, each with how often it occurs, most frequent first."""
    counts: dict[str, int] = {}
    for node in kernel.nodes:
        if node.op not in ("input", "constant"):
            counts[node.op] = counts.get(node.op, 0) + 1
    return tuple(sorted(counts.items(), key=lambda item: -item[1]))


def scratch_summary(program: Program, sizes: Mapping[str, int]) -> str | None:
    """What the intermediates between kernels need, and what they would without sharing memory."""
    slots = scratch_slots(program)
    if not slots:
        return None
    bytes_of = {row.buffer.name: row.bytes or 0 for row in memory_plan(program, sizes)}
    each = [[bytes_of[b.name] for b in slot] for slot in slots]
    alone, shared = sum(map(sum, each)), sum(map(max, each))
    count = sum(map(len, each))
    text = f"{count} intermediate{'s' * (count != 1)} between kernels, {quantity(alone, 'B')}"
    if count == len(slots):
        return text
    return f"{text}, in turn in {quantity(shared, 'B')} of memory"


@dataclass(frozen=True)
class MemoryRow:
    """One buffer of the memory plan. `used` names the kernels that read or write it."""

    buffer: Buffer
    bytes: int | None
    what: str
    used: tuple[str, ...]


_OWNERS = {
    Role.INPUT: "the caller's",
    Role.OUTPUT: "returned to the caller",
    Role.SCRATCH: "scratch of the call",
    Role.ZEROED: "scratch, zeroed once",
}


def memory_plan(program: Program, sizes: Mapping[str, int]) -> list[MemoryRow]:
    """Every buffer, in the order of the call."""
    rows = []
    known = {PROGRAMS: 1, **sizes}
    if program.loop is not None and BATCH in known:
        known.setdefault(program.loop.dim, min(known[BATCH], known[ROWS]))
    lent = {b.name: slot[0].name for slot in scratch_slots(program) for b in slot[1:]}
    for buffer in program.buffers:
        what = _OWNERS[buffer.role]
        if buffer.name in lent:
            what += f", in the memory of {lent[buffer.name]}"
        if buffer.binding is Binding.ROWS:
            what += ", one batch of rows a step"
        elif buffer.binding is Binding.STEP:
            what += ", one number a step"
        stored = any(
            isinstance(s, Store) and s.address.buffer == buffer.name
            for k in program.kernels for s in k.statements()
        )  # fmt: skip
        if buffer.role is Role.INPUT and stored:
            what += ", updated in place"
        rows.append(
            MemoryRow(
                buffer,
                _bytes(buffer, known),
                what,
                tuple(k.name for k in program.kernels if buffer.name in k.buffers),
            )
        )
    return rows


def _bytes(buffer: Buffer, sizes: Mapping[str, int]) -> int | None:
    """Bytes that are allocated, or None where a size is not known before the call."""
    total = buffer.dtype.itemsize
    if buffer.binding is Binding.STEP:
        if ROWS not in sizes:
            return None
        return total * -(-sizes[ROWS] // sizes[BATCH])
    try:
        for size in buffer.shape:
            total *= evaluate(size, sizes)
    except KeyError:
        return None
    return total


def quantity(value: float, unit: str) -> str:
    """`1.5 kB`, `12 MFLOP`: three digits."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def duration(seconds: float) -> str:
    """`12 µs`, `3.4 ms`: three digits."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
