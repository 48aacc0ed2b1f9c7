"""Triton text of one statement of the tile IR."""

from __future__ import annotations

from math import prod

from .program import Buffer, Program
from .spelling import bare, spell_dot, spell_triton
from .tile import (
    Accumulator,
    Address,
    Axis,
    AxisRole,
    Contract,
    Fill,
    Load,
    Map,
    Mask,
    Position,
    Reduce,
    SizeOf,
    Statement,
    Store,
    Tile,
    TileKernel,
)
from .triton_expr import (
    broadcast,
    full,
    inside,
    join,
    landing,
    literal,
    position,
    reduced,
    size_text,
    spread,
)


class StatementPrinter:
    """Spells the statements of one kernel.

    Attributes:
        piece: of an unrolled loop over chunks, which chunk its statements are spelled for.
    """

    def __init__(self, program: Program, kernel: TileKernel) -> None:
        self.program, self.kernel = program, kernel
        self.piece: int | None = None

    def text(self, s: Statement) -> str:
        """The line of a statement."""
        match s:
            case Load(out=out, address=address):
                mask = self._mask(address, out.axes)
                guard = f", mask={mask}, other=0" if mask else ""
                return f"{out.name} = tl.load({self._pointer(address, out.axes)}{guard})"
            case Store(value=value, address=address, axes=axes):
                mask = self._mask(address, axes)
                guard = f", mask={mask}" if mask else ""
                return f"tl.store({self._pointer(address, axes)}, {value.name}{guard})"
            case Fill(out=out, value=value):
                return f"{out.name} = {full(out, value)}"
            case SizeOf(out=out, size=size):
                return f"{out.name} = tl.cast({size_text(size)}, tl.int64)"
            case Position(out=out):
                return f"{out.name} = tl.cast({out.axes[0].name}, tl.int64)"
            case Map(out=out, op="copy", args=(x,)):
                return f"{out.name} = {broadcast(x, out.axes)}"
            case Map(out=out, op=op, args=args):
                along = [spread(a.name, a.axes, out.axes) for a in args]
                text = bare(spell_triton(op, out.dtype, args[-1].dtype, *along))
                return f"{out.name} = {text}"
            case Mask(out=out, source=source, axes=axes, value=value):
                ends = " & ".join(inside(a, out.axes) for a in axes if self._ragged(a))
                if not ends:
                    return f"{out.name} = {source.name}"
                return f"{out.name} = tl.where({bare(ends)}, {source.name}, {literal(value)})"
            case Reduce(out=out, source=source, axes=axes, op=op, into=into):
                text = source.name
                for axis in sorted(axes, key=source.axes.index, reverse=True):
                    text = reduced(op, source.dtype, text, source.axes.index(axis))
                return self._define(out, text, into)
            case Contract():
                return self._contract(s)

    def _define(self, out: Tile, text: str, into: Accumulator | None) -> str:
        if into is None:
            return f"{out.name} = {text}"
        name = self._joined(into)
        return f"{name} = {join(into, name, text)}"

    def _joined(self, acc: Accumulator) -> str:
        return acc.pieces[self.piece or 0].name if acc.pieces else acc.tile.name

    def _ragged(self, axis: Axis) -> bool:
        """Whether a block may hold positions beyond the axis' end."""
        if self.piece is not None and axis.role is AxisRole.CHUNK:
            return axis.ragged and self.piece == axis.blocks - 1
        return axis.ragged

    def _mask(self, address: Address, axes: tuple[Axis, ...]) -> str:
        conditions = [inside(a, axes) for a in axes if self._ragged(a)]
        conditions += landing(address, axes)
        return bare(conditions[0]) if len(conditions) == 1 else " & ".join(conditions)

    def _contract(self, s: Contract) -> str:
        if not s.dot:
            both = tuple(a for a in self.kernel.axes if a in s.a.axes or a in s.b.axes)
            text = f"{spread(s.a.name, s.a.axes, both)} * {spread(s.b.name, s.b.axes, both)}"
            for axis in sorted(s.axes, key=both.index, reverse=True):
                text = reduced("add", s.out.dtype, text, both.index(axis))
            return self._define(s.out, text, s.into)
        left, right = (s.a, s.b) if s.out.axes[0] in s.a.axes else (s.b, s.a)
        (summed,) = s.axes
        x = left.name if left.axes[1] is summed else f"tl.trans({left.name})"
        y = right.name if right.axes[0] is summed else f"tl.trans({right.name})"
        chip = self.program.machine.chip
        assert chip is not None, "a matrix unit belongs to a chip"
        # A product adds to its accumulator by itself.
        acc = self._joined(s.into) if s.into is not None else None
        product = spell_dot(x, y, s.a.dtype, s.precision, chip, acc)
        return f"{acc or s.out.name} = {product}"

    def _pointer(self, address: Address, axes: tuple[Axis, ...]) -> str:
        parts = [f"{address.buffer}_ptr"]
        long = _known_elements(self.program.buffer(address.buffer)) >= 1 << 31
        if address.offset != 0:
            parts.append(size_text(address.offset))
        for term in address.terms:
            text = position(term, axes)
            fixed = term.axis is not None and isinstance(term.axis.size, int)
            if long and fixed and isinstance(term.stride, int):
                text = f"{text}.to(tl.int64)"
            if term.shift:
                text = f"({text} - {term.shift})"
            if term.step != 1:
                text = f"({text} // {term.step})"
            parts.append(text if term.stride == 1 else f"{text} * {size_text(term.stride)}")
        return " + ".join(parts)


def _known_elements(buffer: Buffer) -> int:
    """How far apart elements are at most along all axes of known size."""
    return prod(size for size in buffer.shape if isinstance(size, int))
