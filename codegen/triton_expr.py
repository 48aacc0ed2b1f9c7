"""Triton expressions: sizes, numbers, tiles of one shape along another's axes, places in memory."""

from __future__ import annotations

from collections.abc import Sequence

from graphir.dtypes import DType
from graphir.sizes import Size

from .spelling import TRITON_TYPES, bare, spell_triton
from .tile import Accumulator, Address, Axis, AxisRole, Term, Tile

_REDUCERS = {"add": "tl.sum", "maximum": "tl.max", "minimum": "tl.min", "mul": "reduce_mul"}


def size_text(size: Size) -> str:
    """A size as an operand."""
    plain = size >= 0 if isinstance(size, int) else size.is_symbol
    return str(size) if plain else f"({str(size).replace('*', ' * ')})"


def literal(value: float | int | bool) -> str:
    """A number of Python's as Triton's text."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    return repr(value)


def full(tile: Tile, value: float | int | bool) -> str:
    """A tile that holds one value everywhere."""
    shape = ", ".join(str(a.block) for a in tile.axes)
    shape = f"({shape},)" if len(tile.axes) == 1 else f"({shape})"
    return f"tl.full({shape}, {literal(value)}, {TRITON_TYPES[tile.dtype.name]})"


def spread(name: str, have: tuple[Axis, ...], want: tuple[Axis, ...]) -> str:
    """A tile along the axes of another, repeating where it lacks one."""
    if not have or have == want:
        return name
    return f"{name}[{', '.join(':' if a in have else 'None' for a in want)}]"


def broadcast(x: Tile, axes: tuple[Axis, ...]) -> str:
    """A tile repeated to its full shape along `axes`."""
    shape = ", ".join(str(a.block) for a in axes) + ("," if len(axes) == 1 else "")
    if not x.axes:
        return f"tl.full(({shape}), {x.name}, {TRITON_TYPES[x.dtype.name]})" if axes else x.name
    return f"tl.broadcast_to({spread(x.name, x.axes, axes)}, ({shape}))"


def inside(axis: Axis, axes: tuple[Axis, ...]) -> str:
    """Where a tile along `axes` lies within the end of one of them."""
    return f"({spread(axis.name, (axis,), axes)} < {size_text(axis.size)})"


def position(term: Term, axes: tuple[Axis, ...]) -> str:
    """The place along an axis, or the one that an integer tile holds."""
    if term.at is not None:
        return spread(term.at.name, term.at.axes, axes)
    assert term.axis is not None
    return spread(term.axis.name, (term.axis,), axes)


def landing(address: Address, axes: tuple[Axis, ...]) -> list[str]:
    """Where the positions of an address land on an element."""
    conditions = []
    for term in address.terms:
        if term.length is not None:
            place = f"({position(term, axes)} - {term.shift})"
            if abs(term.step) != 1:
                conditions.append(f"({place} % {abs(term.step)} == 0)")
            conditions.append(f"({place} // {term.step} >= 0)")
            conditions.append(f"({place} // {term.step} < {size_text(term.length)})")
    return conditions


def reduced(op: str, dtype: DType, text: str, axis: int) -> str:
    """A tile joined along one of its dimensions, in its own type: Triton joins what is narrower
    than 32 bits in 32."""
    special = op in ("maximum", "minimum") and dtype.is_float
    text = f"{f'reduce_{op}' if special else _REDUCERS[op]}({text}, {axis})"
    return f"{text}.to({TRITON_TYPES[dtype.name]})" if dtype.itemsize < 4 else text


def join(acc: Accumulator, name: str, text: str) -> str:
    """What the accumulator's combiner makes of a value and one more."""
    dtype = acc.tile.dtype
    return bare(spell_triton(acc.op, dtype, dtype, name, text))


def part_size(axes: Sequence[Axis]) -> int:
    """Elements of a partial result, with all chunks."""
    total = 1
    for axis in axes:
        total *= axis.block * (axis.blocks if axis.role is AxisRole.CHUNK else 1)
    return total


def part_place(
    number: str, axes: tuple[Axis, ...], among: tuple[Axis, ...], piece: int | None = None
) -> str:
    """The places of a tile, along `among`, in the partial result of that number."""
    held = part_size(axes)
    return (number if held == 1 else f"{number} * {held}") + flat(axes, among, piece)


def flat(axes: tuple[Axis, ...], among: tuple[Axis, ...], piece: int | None = None) -> str:
    """The places of a tile, along `among`, from the first element on, as summands."""
    text = ""
    stride = 1
    for axis in reversed(axes):
        place = axis.name
        if axis.role is AxisRole.CHUNK and piece is not None:
            start = f"{piece * axis.block} + " if piece else ""
            place = f"{start}tl.arange(0, {axis.block})"
            place = f"({place})" if piece else place
        place = spread(place, (axis,), among)
        text = f" + {place}" + (f" * {stride}" if stride != 1 else "") + text
        stride *= part_size((axis,))
    return text


def range_text(bounds: str, stages: int = 1, hoists: bool = True) -> str:
    """A loop's range, and how the compiler treats the loop."""
    options = f", num_stages={stages}" if stages > 1 else ""
    options += "" if hoists else ", disable_licm=True"
    return f"tl.range({bounds}{options})" if options else f"range({bounds})"
