"""Lines of C with their indentation, and the loops over an axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .c_expr import extent, local
from .tile import Axis, AxisRole


class Writer:
    """Collects lines with their indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0

    def line(self, text: str) -> None:
        """One line at the present depth."""
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """`head {`, what is written inside, `}`."""
        self.line(head + " {" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")

    @contextmanager
    def loop(self, axis: Axis, end: int | None = None) -> Iterator[None]:
        """A loop over every position of an axis in the block, or up to another `end`."""
        n = local(axis)
        with self.block(f"for (int64_t {n} = 0; {n} < {end or extent(axis)}; {n}++)"):
            self.absolute(axis)
            yield

    def absolute(self, axis: Axis) -> None:
        """The position from the axis' start, where the loop counts within a block."""
        if axis.role is not AxisRole.TILE:
            self.line(f"const int64_t {axis.name} = {axis.name}0 + {local(axis)};")

    def position(self, axis: Axis, text: str) -> None:
        """Fix an axis at a position within the block."""
        self.line(f"const int64_t {local(axis)} = {text};")
        self.absolute(axis)
