"""Where in a kernel each of its values is defined: in which part, and at which loop over chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from graphir.graph import Node

from .axes import AxisMap
from .blocks import Blocks
from .levels import Levels, Place, Section
from .tile import Axis, AxisRole
from .uses import Walk


class Placement:
    """The places of one kernel's values, and the axes that tiles have there.

    Attributes:
        walk: how the kernel walks the axes.
        map: the axes of each use of a node.
        blocks: how many elements of each axis a tile holds.
        chunk: the axis that is walked in chunks, if any.
        levels: the numbers of the loops over chunks.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        written: Sequence[Node],
        walk: Walk,
        axes: AxisMap,
        blocks: Blocks,
        is_read: Callable[[Node], bool],
    ) -> None:
        self.walk, self.map, self.blocks = walk, axes, blocks
        chunked = [a for a, axis in blocks.axes.items() if axis.role is AxisRole.CHUNK]
        self.chunk = chunked[0] if chunked else None
        self.levels = Levels(nodes, self.chunk, walk.stream, axes, is_read)
        self._stored_in = self._last_loops(written)

    def _last_loops(self, written: Sequence[Node]) -> dict[Section, int]:
        """The loop of each part in which all that is written along the chunk axis is there."""
        return {
            section: max(
                (
                    self.levels.ready.get((section, n), 0)
                    for n in written
                    if self.chunk in self.map.of[n]
                ),
                default=0,
            )
            for section in Section
        }

    # -- axes -------------------------------------------------------------------------------

    def axis(self, a: int, at: Place) -> Axis:
        """The axis as tiles of that place have it."""
        if a != self.chunk or self.blocks.wide is None:
            return self.blocks.axes[a]
        if self.is_unrolled(at) or at.section is Section.EPILOGUE:
            return self.blocks.wide
        return self.blocks.axes[a]

    def axes(self, ids: Iterable[int], at: Place) -> tuple[Axis, ...]:
        """Those of the axes that tiles have, in the order in which they have them."""
        found = set(ids)
        return tuple(self.axis(a, at) for a in self.blocks.axes if a in found)

    def loop_axis(self, at: Place) -> Axis:
        """The axis whose chunks the loop at a place walks."""
        assert self.chunk is not None, "only a chunk axis is looped over"
        return self.axis(self.chunk, at)

    def is_unrolled(self, at: Place) -> bool:
        """Whether the loop at a place is unrolled."""
        return at.section is Section.BODY and at.level in self.levels.unrolled

    # -- places -----------------------------------------------------------------------------

    def of(self, node: Node, asked: Place) -> Place:
        """Where the tile of `node` is defined that is asked for at a place."""
        if self.chunk in self.map.of[node]:
            return asked
        section = asked.section
        if section is Section.BODY and self.walk.stream not in self.map.of[node]:
            section = Section.PREAMBLE
        return Place(section, self.levels.ready.get((section, node), 0))

    def of_operands(self, node: Node, at: Place) -> Place:
        """Where the operands of a reduction live: in the body if it joins the stream's blocks,
        in a loop if it joins chunks."""
        reduced = self.map.reduced(node)
        streamed = self.walk.stream in reduced
        section = Section.BODY if streamed else at.section
        level = self.levels.operands.get((section, node), 0)
        if self.chunk in reduced:
            return Place(section, level, looped=True)
        if streamed:
            return Place(section, level, looped=self.chunk in self.map.of[node])
        return at

    def of_load(self, walked: Sequence[int], at: Place) -> Place:
        """Where to read what lies along the axes `walked` and is asked for at a place."""
        if self.chunk in walked:
            return at
        early = at.section is Section.BODY and self.walk.stream not in walked
        return Place(Section.PREAMBLE if early else at.section)

    def of_store(self, node: Node) -> Place:
        """Where to write `node`: in the body where it has the streamed axis, else in the
        epilogue."""
        walked = self.map.of[node]
        in_body = self.walk.stream is not None and self.walk.stream in walked
        held = self.walk.stream in self.blocks.axes
        section = Section.BODY if in_body and held else Section.EPILOGUE
        if self.chunk in walked:
            return Place(section, self._stored_in[section], looped=True)
        return Place(section, self.levels.ready.get((section, node), 0))
