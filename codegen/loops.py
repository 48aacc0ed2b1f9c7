"""The loop IR of the C target: which statements share a loop nest, what lies in arrays, and in
which order the loops run. Made from the tile IR by `nesting`; the C printer only spells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

from .products import Product
from .tile import (
    Axis,
    Contract,
    Load,
    Map,
    Reduce,
    Statement,
    Tile,
    TileKernel,
    operands,
)

_ON_STACK = 1 << 14  # elements; larger arrays come from the call's memory


@dataclass(frozen=True, eq=False)
class Array:
    """Memory for a tile: `axes` from the slowest to the fastest index, extents from the blocks.

    The fastest extent is rounded up to whole vectors of `lanes`.
    """

    tile: Tile
    axes: tuple[Axis, ...]
    lanes: int = 1

    @property
    def extents(self) -> tuple[int, ...]:
        """Elements along each axis, with the padding."""
        if not self.axes:
            return ()
        *slow, fast = (a.block for a in self.axes)
        return (*slow, -(-fast // self.lanes) * self.lanes)

    @property
    def elements(self) -> int:
        """How many elements it holds."""
        return prod(self.extents)

    @property
    def padded(self) -> bool:
        """Whether it has padding."""
        return bool(self.axes) and self.extents[-1] != self.axes[-1].block

    @property
    def on_stack(self) -> bool:
        """Whether it is small enough for the stack."""
        return self.elements <= _ON_STACK

    def strides(self) -> dict[Axis, int]:
        """Elements between neighbours along each axis."""
        found: dict[Axis, int] = {}
        step = 1
        for axis, count in zip(reversed(self.axes), reversed(self.extents), strict=True):
            found[axis] = step
            step *= count
        return found


@dataclass(frozen=True)
class Transposition:
    """A copy in which the axis that is read in order is not the one that is written in order.

    Attributes:
        read, written: those axes.
        read_stride: elements between neighbours along `written` where it is read.
        written_stride: elements between neighbours along `read` where it is written.
        lanes: the copy goes by squares of so many rows and columns, held in registers.
    """

    read: Axis
    written: Axis
    read_stride: int
    written_stride: int
    lanes: int


@dataclass(frozen=True)
class FarAngles:
    """The arguments of a nest's sines, cosines and tangents, which are asked whether one lies so
    far out that the usual functions do not reach it.

    Attributes:
        angles: those arguments.
        scan: what computes them, for loops that ask before the nest's own; None where the nest
            itself asks, since it may be run again.
        restored: accumulators that a second run starts from as the first did.
        lanes: how many answers there are, one a place of a short innermost loop, which takes less
            time than joining them at its end; 1 where they are joined.
    """

    angles: tuple[Tile, ...]
    scan: tuple[Map, ...] | None
    restored: tuple[Tile, ...] = ()
    lanes: int = 1


@dataclass(frozen=True)
class PartialSum:
    """The terms of a statement's sum over the loops from `depth` on, added up by themselves: into
    one variable, or into as many as the sum has elements where those loops walk over them. After
    every `span` turns of the outermost of them it joins what is outside."""

    of: Reduce | Contract
    depth: int
    elements: int | None = None
    span: int | None = None


@dataclass(frozen=True)
class Sums:
    """How the sums (and products, and extrema) of a nest are taken.

    Attributes:
        running: those in a variable along the innermost loop.
        vectors: those whose terms along the innermost loop are laid out in memory, and then added
            by whole vectors, in a fixed order.
        afresh: of these two, those along the innermost loop alone, which set their result. The
            others join it.
        apart: the running ones whose variable begins at the identity. The others go on from what
            there is.
        aside: those that are added up for the nest alone, and then join their accumulator.
        partial: sums of inner loops, which join what is outside.
    """

    running: tuple[Reduce | Contract, ...] = ()
    vectors: tuple[Reduce | Contract, ...] = ()
    afresh: frozenset[Reduce | Contract] = frozenset()
    apart: frozenset[Reduce | Contract] = frozenset()
    aside: tuple[Reduce | Contract, ...] = ()
    partial: tuple[PartialSum, ...] = ()


@dataclass(eq=False)
class Nest:
    """Loops from the outermost to the innermost, and the statements in the innermost one.

    Attributes:
        whole: positions that the innermost loop runs over where it goes on into padding, which
            stays 0.
    """

    axes: tuple[Axis, ...]
    statements: list[Statement]
    closed: bool = False  # a contraction has its nest to itself
    product: Product | None = None  # how that contraction is blocked
    sums: Sums = Sums()
    transposition: Transposition | None = None
    far: FarAngles | None = None
    whole: int | None = None


@dataclass(eq=False)
class Part:
    """A section of a kernel as loop nests."""

    nests: list[Nest]
    arrays: dict[Tile, Array] = field(default_factory=dict)
    inline: dict[Tile, Statement] = field(default_factory=dict)


@dataclass(eq=False)
class LoopKernel:
    """A kernel for the C target.

    Attributes:
        kept: the accumulators' arrays.
        zeroed: arrays whose padding must hold zeros.
        fresh: accumulators that a thread's first block sets, so that they need no clearing.
        wanted: for each buffer that a product reads by vectors the orders of its dimensions,
            slowest first, in which it would be read without a copy.
    """

    kernel: TileKernel
    preamble: Part
    body: Part
    epilogue: Part
    kept: dict[Tile, Array]
    vector_bytes: int
    wanted: dict[str, set[tuple[int, ...]]] = field(default_factory=dict)
    zeroed: frozenset[Tile] = frozenset()
    fresh: frozenset[Tile] = frozenset()

    def arrays(self) -> dict[Tile, Array]:
        """All arrays by tile."""
        parts = (self.preamble, self.body, self.epilogue)
        return {t: a for p in parts for t, a in p.arrays.items()} | self.kept


def padded_array(tile: Tile, axes: tuple[Axis, ...], vector_bytes: int) -> Array:
    """An array whose fastest extent is whole vectors."""
    return Array(tile, axes, vector_bytes // tile.dtype.itemsize)


def accesses(statement: Statement, inline: Mapping[Tile, Statement]) -> list[Tile | Load]:
    """The tiles in arrays and the loads that a statement reads, through what is inline."""
    found: list[Tile | Load] = []
    stack = list(operands(statement))
    while stack:
        tile = stack.pop()
        source = inline.get(tile)
        if source is None:
            found.append(tile)
            continue
        if isinstance(source, Load):
            found.append(source)
        stack += operands(source)
    return found
