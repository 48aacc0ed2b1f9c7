"""Parameters that stay in a layout of their own for the length of a call.

A batch loop reads and writes its parameters in every step. Where the one product that reads a
parameter by vectors wants another order of dimensions, or whole vectors, the parameter is copied
once into the call's memory in that layout, and copied back at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from .loops import Array, Nest, accesses
from .program import Binding, Buffer, Program
from .tile import Address, Axis, AxisRole, Load, Map, Statement, Store, Tile, TileKernel
from .uses import power_of_two
from .views import row_major

_NARROWEST = 4  # elements of the shortest vector that a product reads
# Of longer rows the pieces are few beside whole vectors: those of 40 to 90 were updated slower.
_LONGEST = 32
# What is computed in padding is not used, but must not trap, as integers divided by 0 do.
_HARMLESS = frozenset({"float32", "float64", "bool"})


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


def whole_vectors(
    nest: Nest,
    arrays: Mapping[Tile, Array],
    inline: Mapping[Tile, Statement],
    residents: Mapping[str, Resident],
) -> int | None:
    """How far the innermost loop of an update may go on into the padding of all that it reads and
    writes; None where it ends with its axis."""
    inner = nest.axes[-1] if nest.axes else None
    if inner is None or inner.role is not AxisRole.TILE or inner.block > _LONGEST:
        return None
    if nest.far is not None:
        return None
    ends: list[int] = []
    for s in nest.statements:
        if isinstance(s, Store):
            ends.append(_end(s.address, inner, residents))
        elif not isinstance(s, Map) or s.out in arrays or s.out.dtype.name not in _HARMLESS:
            return None
        for x in accesses(s, inline):
            if isinstance(x, Load):
                if any(t.axis is inner or t.at is not None for t in x.address.terms):
                    ends.append(_end(x.address, inner, residents))
            elif x in arrays and inner in x.axes:
                array = arrays[x]
                ends.append(array.extents[-1] if array.axes[-1] is inner else 0)
    # A short row is one vector of about its length: a longer one costs more than it saves.
    vector = max(power_of_two(inner.block), _NARROWEST)
    whole = min([*ends, vector] if ends else [0])
    return whole if whole > inner.block else None


def _end(address: Address, inner: Axis, residents: Mapping[str, Resident]) -> int:
    """Where the rows of a buffer end along `inner`, padding included; 0 where it has none."""
    resident = residents.get(address.buffer)
    if resident is None or resident.buffer.dtype.name not in _HARMLESS:
        return 0
    fastest = address.terms[resident.order[-1]]
    return resident.extents[-1] if fastest.axis is inner and fastest.stride == 1 else 0
