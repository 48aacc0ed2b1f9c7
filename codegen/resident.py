"""Parameters that stay in a layout of their own for the length of a call.

A batch loop reads and writes its parameters in every step. Where the one product that reads a
parameter by vectors wants another order of dimensions, or whole vectors, the parameter is copied
once into the call's memory in that layout, and copied back at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from .program import Binding, Buffer, Program
from .tile import Address, Load, Statement, Store, TileKernel
from .views import row_major


@dataclass(frozen=True)
class Resident:
    """A buffer's other layout: dimensions from the slowest to the fastest, the last one padded."""

    buffer: Buffer
    order: tuple[int, ...]
    lanes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The buffer's own shape."""
        return tuple(s for s in self.buffer.shape if isinstance(s, int))

    @property
    def extents(self) -> tuple[int, ...]:
        """Elements along each dimension of the layout, with the padding."""
        *slow, fast = (self.shape[d] for d in self.order)
        return (*slow, -(-fast // self.lanes) * self.lanes)

    @property
    def elements(self) -> int:
        """How many elements the layout takes."""
        return prod(self.extents)

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements between neighbours along each dimension of the buffer."""
        found = [0] * len(self.order)
        step = 1
        for d, count in zip(reversed(self.order), reversed(self.extents), strict=True):
            found[d] = step
            step *= count
        return tuple(found)

    @property
    def moved(self) -> bool:
        """Whether the layout is not the buffer's own."""
        return self.elements != prod(self.shape) or self.order != tuple(range(len(self.order)))


def choose_residents(
    program: Program, wanted: Iterable[Mapping[str, set[tuple[int, ...]]]]
) -> dict[str, Resident]:
    """The carried parameters that one other layout suits everywhere."""
    if program.loop is None:
        return {}
    orders: dict[str, set[tuple[int, ...]]] = {}
    for found in wanted:
        for name, some in found.items():
            orders.setdefault(name, set()).update(some)
    chosen: dict[str, Resident] = {}
    for _, position in program.loop.carry:
        buffer = program.buffers[position]
        asked = orders.get(buffer.name, set())
        if len(asked) != 1 or not _eligible(buffer, program):
            continue
        lanes = program.machine.vector_bytes // buffer.dtype.itemsize
        resident = Resident(buffer, next(iter(asked)), lanes)
        if resident.moved:
            chosen[buffer.name] = resident
    return chosen


def _eligible(buffer: Buffer, program: Program) -> bool:
    """Whether every address of the buffer names its dimensions one by one."""
    if buffer.binding is not Binding.WHOLE or any(s == 1 for s in buffer.shape):
        return False
    strides = row_major(buffer.shape)
    return all(
        address.offset == 0
        and [t.stride for t in address.terms] == strides
        and all(
            t.at is None and t.shift == 0 and t.step == 1 and t.length is None
            for t in address.terms
        )
        for kernel in program.kernels
        for address in _addresses(kernel.statements())
        if address.buffer == buffer.name
    )


def _addresses(statements: Iterable[Statement]) -> list[Address]:
    return [s.address for s in statements if isinstance(s, (Load, Store))]


def relayout(kernel: TileKernel, residents: Mapping[str, Resident]) -> TileKernel:
    """`kernel` with the addresses of resident buffers in their layouts."""
    if not residents:
        return kernel

    def moved(statement: Statement) -> Statement:
        if not isinstance(statement, (Load, Store)):
            return statement
        resident = residents.get(statement.address.buffer)
        if resident is None:
            return statement
        # Terms are one a dimension, in order (`_eligible`).
        terms = tuple(
            replace(term, stride=stride)
            for term, stride in zip(statement.address.terms, resident.strides, strict=True)
        )
        return replace(statement, address=replace(statement.address, terms=terms))

    return replace(
        kernel,
        preamble=tuple(map(moved, kernel.preamble)),
        body=tuple(map(moved, kernel.body)),
        epilogue=tuple(map(moved, kernel.epilogue)),
    )
