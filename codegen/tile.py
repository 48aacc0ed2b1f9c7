"""The tile IR: what a kernel does to tiles, before either target is chosen.

A kernel is: for each block of its grid axes: a preamble; a loop over blocks of the stream axis; an
epilogue. Statements define tiles (single assignment), whose axes are named; an operand that lacks
an axis of the result repeats along it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from graphir.dtypes import DType
from graphir.graph import Node
from graphir.sizes import Size

from .machine import Precision


class AxisRole(Enum):
    """How a kernel walks an axis."""

    STREAM = "stream"  # a loop over blocks; its accumulators are combined across programs
    GRID = "grid"  # one program a block
    TILE = "tile"  # held whole
    CHUNK = "chunk"  # a loop of its own within each part of the kernel, over blocks


@dataclass(frozen=True)
class Axis:
    """An axis of a kernel. `block` is how many of its elements a tile holds."""

    id: int
    name: str
    size: Size
    role: AxisRole
    block: int

    @property
    def ragged(self) -> bool:
        """Whether a tile may hold positions beyond the axis' end."""
        if self.role is AxisRole.TILE:
            return self.size != self.block
        return not (isinstance(self.size, int) and self.size % self.block == 0)

    @property
    def blocks(self) -> int:
        """How many blocks an axis of known size has."""
        assert isinstance(self.size, int)
        return -(-self.size // self.block)


@dataclass(frozen=True, eq=False)
class Tile:
    """A value in a kernel: a scalar for each position along `axes`."""

    name: str
    axes: tuple[Axis, ...]
    dtype: DType
    node: Node | None = None


@dataclass(frozen=True, eq=False)
class Accumulator:
    """What blocks are joined into, from the combiner's identity on.

    Where `tile` lies along a chunk axis the stream's blocks are joined into `pieces`, one a chunk,
    and `tile` is what an epilogue's loop over the chunks reads. Partial results of several
    programs are read `at_once`.
    """

    tile: Tile
    op: str
    identity: float | int | bool
    pieces: tuple[Tile, ...] = ()
    at_once: int = 1


@dataclass(frozen=True)
class Term:
    """One summand of an element's offset: `stride * ((position - shift) / step)`.

    The position is the place along `axis`, or what the integer tile `at` holds there. A step
    other than 1 (and any `length`) makes positions that do not land on an element read as 0.
    """

    stride: Size
    axis: Axis | None = None
    at: Tile | None = None
    shift: int = 0
    step: int = 1
    length: Size | None = None


@dataclass(frozen=True)
class Address:
    """Elements of a buffer: `offset` plus the terms, in elements."""

    buffer: str
    terms: tuple[Term, ...]
    offset: Size = 0


@dataclass(frozen=True, eq=False)
class Load:
    """Read; positions beyond an axis' end (or not landing on an element) give 0."""

    out: Tile
    address: Address


@dataclass(frozen=True, eq=False)
class Fill:
    """A scalar constant."""

    out: Tile
    value: float | int | bool


@dataclass(frozen=True, eq=False)
class SizeOf:
    """A scalar: the number behind a size."""

    out: Tile
    size: Size


@dataclass(frozen=True, eq=False)
class Position:
    """The place along the one axis of `out`: 0, 1, …"""

    out: Tile


@dataclass(frozen=True, eq=False)
class Map:
    """An elementwise op; arguments repeat along axes that they lack."""

    out: Tile
    op: str
    args: tuple[Tile, ...]


@dataclass(frozen=True, eq=False)
class Mask:
    """`source` within the ragged `axes`, `value` beyond their ends."""

    out: Tile
    source: Tile
    axes: tuple[Axis, ...]
    value: float | int | bool


@dataclass(frozen=True, eq=False)
class Reduce:
    """Join along `axes` with `op` from `identity` on; into an accumulator, or defining `out`."""

    out: Tile
    source: Tile
    axes: tuple[Axis, ...]
    op: str
    identity: float | int | bool
    into: Accumulator | None = None


@dataclass(frozen=True, eq=False)
class Contract:
    """Sum of products along `axes`; `dot` says that the matrix unit does it, `precision` how
    exactly where the operands are float32. The sum of a `dot` of 16 bits is float32."""

    out: Tile
    a: Tile
    b: Tile
    axes: tuple[Axis, ...]
    dot: bool
    into: Accumulator | None = None
    precision: Precision = "highest"


@dataclass(frozen=True, eq=False)
class Store:
    """Write within the axes' ends."""

    value: Tile
    address: Address
    axes: tuple[Axis, ...]


@dataclass(frozen=True, eq=False)
class Loop:
    """Statements of a part that are run once a block of a chunk axis.

    Attributes:
        part: "preamble", "body" or "epilogue".
        start, stop: which of the part's statements, as in a slice.
        axis: whose blocks are walked.
        accumulators: what the blocks are joined into; complete after the loop.
        unrolled: one copy of the statements a block, since each block has accumulators of the
            stream of its own, and those lie in registers.
    """

    part: str
    start: int
    stop: int
    axis: Axis
    accumulators: tuple[Accumulator, ...]
    unrolled: bool


@dataclass(frozen=True)
class Matrix:
    """A matrix in memory: element (i, j) lies `offset + i * strides[0] + j * strides[1]` elements
    from the buffer's first."""

    buffer: str
    shape: tuple[Size, Size]
    strides: tuple[Size, Size]
    offset: Size = 0


@dataclass(frozen=True)
class LibraryProduct:
    """`out = left @ right`, summed in float32 at least, with products of float32 as exact as
    `precision` says."""

    left: Matrix
    right: Matrix
    out: Matrix
    precision: Precision


@dataclass(frozen=True)
class Tuning:
    """How a kernel is compiled: none of it changes what is computed.

    Attributes:
        warps: of a program.
        stages: how many blocks of the innermost loop with loads are in flight.
        hoists: whether what stays the same in the stream's loop may be computed before it, which
            takes registers for all of the loop.
        group: with two shared axes, how many blocks of the first are walked together, so that
            programs that run together share rows and columns in the cache; 0 for no such order.
        fan: how many programs' partial results are joined by one of them before those of all
            such groups are; 0 where the last program joins all.
    """

    warps: int = 4
    stages: int = 2
    hoists: bool = True
    group: int = 0
    fan: int = 0


USUAL = Tuning()


Statement: TypeAlias = Load | Fill | SizeOf | Position | Map | Mask | Reduce | Contract | Store


@dataclass(frozen=True)
class TileKernel:
    """One kernel.

    Attributes:
        axes: all axes, in the order in which tiles hold them.
        preamble, body, epilogue: the body is run once a block of the stream axis; without a
            stream axis it is empty.
        accumulators: in the order in which programs combine them.
        buffers: names of the buffers that it reads or writes, in the program's order.
        nodes: the graph's nodes that it computes.
        loops: over chunks, in the order of the parts and of their statements.
        tuning: for a GPU's compiler.
        choice, choices: the number of this choice of blocks, and how many there were.
        library: all that the kernel does, where it is a product that a library does faster.
    """

    name: str
    axes: tuple[Axis, ...]
    preamble: tuple[Statement, ...]
    body: tuple[Statement, ...]
    epilogue: tuple[Statement, ...]
    accumulators: tuple[Accumulator, ...]
    buffers: tuple[str, ...]
    nodes: tuple[Node, ...] = field(repr=False, default=())
    loops: tuple[Loop, ...] = ()
    tuning: Tuning = USUAL
    choice: int = 0
    choices: int = 1
    library: LibraryProduct | None = None

    @property
    def stream(self) -> Axis | None:
        """The axis that the body loops over."""
        return next((a for a in self.axes if a.role is AxisRole.STREAM), None)

    @property
    def grid(self) -> tuple[Axis, ...]:
        """The axes that programs share out."""
        return tuple(a for a in self.axes if a.role is AxisRole.GRID)

    def statements(self) -> Iterator[Statement]:
        """All statements in order."""
        yield from self.preamble
        yield from self.body
        yield from self.epilogue


def operands(statement: Statement) -> tuple[Tile, ...]:
    """The tiles that a statement reads."""
    match statement:
        case Map(args=args):
            return args
        case Mask(source=source) | Reduce(source=source):
            return (source,)
        case Contract(a=a, b=b):
            return (a, b)
        case Store(value=value, address=address):
            return (value, *(t.at for t in address.terms if t.at is not None))
        case Load(address=address):
            return tuple(t.at for t in address.terms if t.at is not None)
        case _:
            return ()


def defines(statement: Statement) -> Tile | None:
    """The tile that a statement defines; None for a store or an accumulation."""
    match statement:
        case Store():
            return None
        case Reduce(out=out, into=into) | Contract(out=out, into=into):
            return out if into is None else None
        case _:
            return statement.out
