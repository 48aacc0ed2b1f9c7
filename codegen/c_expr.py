"""C expressions of tiles at the present position of the loops."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from graphir.dtypes import DType, bfloat16
from graphir.sizes import Size

from .loops import Array
from .spelling import spell_c
from .tile import Address, Axis, AxisRole, Fill, Load, Map, Position, SizeOf, Statement, Term, Tile


def local(axis: Axis) -> str:
    """The loop variable that counts within a block; `axis.name` counts from the axis' start."""
    return axis.name if axis.role is AxisRole.TILE else f"{axis.name}_"


def extent(axis: Axis) -> str:
    """How far the loop over an axis runs."""
    return f"m_{axis.name}" if axis.role is not AxisRole.TILE else str(axis.block)


def size_text(size: Size) -> str:
    """A size as an operand."""
    plain = size >= 0 if isinstance(size, int) else size.is_symbol
    return str(size) if plain else f"({size})"


def literal(value: float | int | bool, dtype: DType) -> str:
    """A constant of the type."""
    if not dtype.is_float:
        return f"INT64_C({int(value)})" if dtype.itemsize == 8 else str(int(value))
    if dtype is bfloat16:
        return f"UINT16_C({np.asarray(value, dtype.numpy).view(np.uint16)})"
    number = float(np.asarray(value, dtype.numpy))
    if number != number:
        return "NAN"
    if number in (float("inf"), float("-inf")):
        return "INFINITY" if number > 0 else "(-INFINITY)"
    # The shortest decimal that reads back as the same number.
    text = repr(number) if dtype.name == "float64" else str(np.float32(number))
    text = text if any(c in text for c in ".en") else text + ".0"
    text += "" if dtype.name == "float64" else "f"
    return f"({text})" if text.startswith("-") else text


class Expressions:
    """Spells values; knows which tiles are arrays, which are inline and which are variables."""

    def __init__(self, arrays: Mapping[Tile, Array]) -> None:
        self.arrays = arrays
        self.inline: dict[Tile, Statement] = {}
        self.local: set[Tile] = set()

    def value(self, tile: Tile) -> str:
        """The value of `tile` here."""
        source = self.inline.get(tile)
        match source:
            case None:
                return tile.name if tile in self.local else self.place(tile)
            case Fill(value=value):
                return literal(value, tile.dtype)
            case SizeOf(size=size):
                return f"((int64_t){size_text(size)})"
            case Position():
                return tile.axes[0].name
            case Map(op="copy", args=(x,)):
                return self.value(x)
            case Map(op=op, args=args):
                return spell_c(op, tile.dtype, args[-1].dtype, *map(self.value, args))
            case Load(address=address):
                return self.read(address, tile.dtype)
            case _:
                raise AssertionError(f"{source!r} is never inline")

    def in_memory(self, tile: Tile) -> bool:
        """Whether the value of `tile` here is read from an array or a buffer."""
        source = self.inline.get(tile)
        if source is None:
            return bool(tile.axes) and tile not in self.local
        return isinstance(source, Load) or (
            isinstance(source, Map) and any(map(self.in_memory, source.args))
        )

    def place(self, tile: Tile, name: str | None = None) -> str:
        """The element of an array or an accumulator; a variable where the tile has no axes.

        Args:
            name: of another array with the same layout.
        """
        name = tile.name if name is None else name
        if not tile.axes:
            return name
        array = self.arrays[tile]
        strides = array.strides()
        text = [
            local(axis) if strides[axis] == 1 else f"{local(axis)} * {strides[axis]}"
            for axis in array.axes
        ]
        return f"{name}[{' + '.join(text)}]"

    def read(self, address: Address, dtype: DType) -> str:
        """An element of memory, or 0 where the address does not land on one."""
        conditions = []
        for term in address.terms:
            if term.length is not None:
                place = f"({self._position(term)} - {term.shift})"
                if abs(term.step) != 1:
                    conditions.append(f"{place} % {abs(term.step)} == 0")
                conditions.append(f"{place} / {term.step} >= 0")
                conditions.append(f"{place} / {term.step} < {size_text(term.length)}")
        element = self.element(address)
        if not conditions:
            return element
        return f"({' && '.join(conditions)} ? {element} : {literal(0, dtype)})"

    def _position(self, term: Term) -> str:
        """The place along an axis, or the one that an integer tile holds."""
        if term.at is not None:
            return self.value(term.at)
        assert term.axis is not None
        return term.axis.name

    def element(self, address: Address) -> str:
        """An element of memory as an lvalue."""
        parts = [] if address.offset == 0 else [size_text(address.offset)]
        for term in address.terms:
            text = self._position(term)
            if term.shift:
                text = f"({text} - {term.shift})"
            if term.step != 1:
                text = f"({text} / {term.step})"
            parts.append(text if term.stride == 1 else f"{text} * {size_text(term.stride)}")
        return f"{address.buffer}_ptr[{' + '.join(parts) or '0'}]"
