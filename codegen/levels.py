"""Between which loops over chunks a value is ready."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from graphir.graph import Node

from .axes import AxisMap


class Section(Enum):
    """The three parts of a kernel."""

    PREAMBLE = 0
    BODY = 1
    EPILOGUE = 2


class Place(NamedTuple):
    """Where a tile is defined: after the first `level` loops over chunks of a part of the kernel,
    or within the loop of that number."""

    section: Section
    level: int = 0
    looped: bool = False


class Levels:
    """The numbers of the loops over chunks, by part.

    A value that varies along the chunk axis is computed in a loop, again in each where it is
    used: loading a chunk again comes from cache. What is joined over the axis is complete after
    the loop, so that what depends on it and varies again needs a later one.

    Attributes:
        operands: by part and node, the first loop in which all operands are there.
        ready: by part and node, the loops that have to end before it is there.
        unrolled: the body's loops in which each chunk has accumulators of its own.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        chunk: int | None,
        stream: int | None,
        axes: AxisMap,
        is_read: Callable[[Node], bool],
    ) -> None:
        self.operands: dict[tuple[Section, Node], int] = {}
        self.ready: dict[tuple[Section, Node], int] = {}
        self.unrolled: set[int] = set()
        for section in Section:
            for node in nodes:
                level = 0
                if not is_read(node):
                    level = max(
                        (
                            self.ready.get((section, x), 0)
                            for position, x in enumerate(node.inputs)
                            if (node, position) not in axes.cuts
                        ),
                        default=0,
                    )
                reduced = axes.reduced(node)
                self.operands[section, node] = level
                own = axes.of[node]
                early = section is Section.BODY and stream not in own and chunk not in own
                if stream in reduced or early:
                    # A part later or earlier, where the body asks for nothing more.
                    self.ready[section, node] = 0
                else:
                    self.ready[section, node] = level + (chunk in reduced and not is_read(node))
            if section is Section.BODY and chunk is not None:
                self.unrolled = {
                    self.operands[section, n]
                    for n in nodes
                    if stream in axes.reduced(n) and chunk in axes.of[n]
                }
