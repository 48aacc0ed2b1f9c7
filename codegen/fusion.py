"""Fusion: the nodes that one kernel can take, and why it refuses the others.

A kernel walks its axes once. It takes, in topological order, each node whose operands it has by
then, whose tile fits, and whose axes it walks. A node is asked in this order: is it in memory; are
its operands there, in time; does it lie along the kernel's axes; does what it takes fit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from graphir.graph import Node
from graphir.opdef import Kind
from graphir.sizes import Dim

from .axes import AxisMap
from .bindings import Bindings
from .levels import Section
from .machine import Machine
from .narrow import widens
from .uses import Walk, held, is_long, makes_products, unheld
from .views import view

if TYPE_CHECKING:
    from .library import Candidate

_CHEAP = (Kind.ELEMENTWISE, Kind.MOVEMENT, Kind.SOURCE)


@dataclass
class Attempt:
    """What one kernel can take.

    Attributes:
        walk: how it walks the axes.
        asked: what still has to be written to the graph's outputs.
        stage: the part of the kernel after which each node that it can read or compute is there.
        refused: why not, for the others.
        waiting: those of them that are refused for an operand's sake alone.
        kept: elements of its accumulators.
        product: all that it takes, where that is a product that a library does faster.
    """

    walk: Walk
    asked: frozenset[Node]
    stage: dict[Node, Section] = field(default_factory=dict)
    refused: dict[Node, str] = field(default_factory=dict)
    waiting: set[Node] = field(default_factory=set)
    kept: int = 0
    product: Candidate | None = None


class Fuser:
    """Says what a kernel with a given walk can take of a graph.

    Args:
        axes: of the graph.
        stream: the main axis, along which most of the data lies.
        memory: the nodes that are in memory by now.
    """

    def __init__(
        self, axes: AxisMap, stream: int | None, machine: Machine, memory: Bindings
    ) -> None:
        self.axes, self.stream, self.machine = axes, stream, machine
        self.memory, self.stored = memory, memory.stored

    # -- walks ------------------------------------------------------------------------------

    def walk_for(self, node: Node, *, main: bool = True) -> Walk | None:
        """The walk of a kernel that is made for `node`; None for a sum over several wide axes.

        Args:
            main: whether the main axis is one of those that it walks, where others are wide.
        """
        wide = self._wide(node, {self.stream} if main else set())
        if main and wide and self.stream in self.axes.space(node):
            # They are what no tile holds even where the main axis is walked.
            wide = tuple(a for a in self.axes.space(node) if a in wide or a == self.stream)
        own = [a for a in wide if a in self.axes.of[node]]
        summed = [a for a in wide if a not in own]
        if len(wide) <= 1:
            return Walk(wide[0] if wide else self.stream)
        if len(summed) > 1:
            return None
        return Walk(summed[0], tuple(own)) if summed else Walk(own[0], tuple(own[1:]))

    def _wide(self, node: Node, walked: set[int | None]) -> tuple[int, ...]:
        """The axes of `node` that no tile can hold whole where those are `walked`, its own first,
        then the summed ones."""
        space = self.axes.space(node)
        wide = {a for a in space if isinstance(self.axes.size[a], Dim)}
        for tile in self._tiles(node):
            wide |= self._unheld(node, tile, wide | walked)
        return tuple(a for a in space if a in wide)

    def _tiles(self, node: Node) -> list[tuple[int, ...]]:
        """The axes of each tile that computing `node` takes."""
        tiles = [self.axes.of[node]]
        tiles += [self.axes.ports[node, p] for p in range(len(node.inputs))]
        if node.kind is Kind.CONTRACTION and makes_products(node, self.machine):
            tiles.append(self.axes.space(node))
        return tiles

    def _unheld(
        self, node: Node, tile: Iterable[int], walked: Collection[int | None]
    ) -> set[int]:  # fmt: skip
        """Which axes of a tile of `node` it cannot hold whole, where others are walked."""
        whole = {a: self.axes.size[a] for a in tile if a >= 0 and a not in walked}
        return unheld(whole, self.machine, self.axes.reduced(node))

    def _elements(self, tile: Iterable[int], without: Sequence[int | None]) -> int:
        total = 1
        for a in set(tile):
            size = self.axes.size.get(a, 1)
            if a >= 0 and a not in without and isinstance(size, int):
                total *= held(size, self.machine)
        return total

    # -- what a kernel takes ------------------------------------------------------------------

    def collect(self, walk: Walk, needed: list[Node], asked: frozenset[Node]) -> Attempt:
        """What a kernel with this walk takes of the `needed` nodes, which are in topological
        order, where those `asked` for have to be written."""
        attempt = Attempt(walk, asked)
        for node in needed:
            reason = self._refusal(node, attempt)
            if reason is not None:
                attempt.refused[node] = reason
        # What costs nothing where it is read must still fit the kernel that writes it.
        walked = {walk.stream, *walk.grid}
        for node in self.left_over_reads(attempt, needed):
            if node in attempt.stage and (node in self.stored or self.axes.is_repeat(node)):
                reason = self._foreign(node, walked)
                if reason is not None:
                    attempt.refused[node] = reason
        return attempt

    def _refusal(self, node: Node, attempt: Attempt) -> str | None:
        """Take `node` into the kernel, or say why not."""
        walk, axes = attempt.walk, self.axes
        stream = walk.stream
        space = axes.space(node)
        walked = {stream, *walk.grid}
        if node in self.stored:
            # Read only if asked for: a stored node is free, but it fits only walks of its axes.
            attempt.stage[node] = Section.BODY if stream in axes.of[node] else Section.PREAMBLE
            if node not in attempt.asked:
                return None
            return self._foreign(node, walked) or self._in_columns(node, walk)
        stage = Section.PREAMBLE
        for position, x in enumerate(node.inputs):
            if (node, position) in axes.cuts:
                if view(x, self.stored) is None:
                    return f"{axes.cuts[node, position]}, so %{x.id} must be in memory first"
                continue
            if x not in attempt.stage:
                attempt.waiting.add(node)
                return f"it needs %{x.id}, which a later kernel computes"
            stage = max(stage, attempt.stage[x], key=lambda s: s.value)
        if axes.is_repeat(node) and node not in attempt.asked:
            # What only repeats a value runs along whatever axis its reader has.
            attempt.stage[node] = stage
            return None
        if self._lacks_view(node):
            return f"{axes.cuts[node, 0]}, which its memory's layout does not allow"
        foreign = self._foreign(node, walked) or self._in_columns(node, walk)
        if foreign is not None:
            return foreign
        summed = axes.reduced(node)
        if any(a in walk.grid for a in summed):
            return "it sums over an axis that this kernel's programs share out"
        alias = axes.is_alias(node)
        once = stage is Section.PREAMBLE or self._recomputed(node)
        if self.lacks(node, walk) and not alias and not once:
            return "it lacks an axis that this kernel's programs share out"
        if (
            stream in space
            and stage is Section.EPILOGUE
            and not (alias and stream not in axes.of[node])
        ):
            late = next(x for x in node.inputs if attempt.stage.get(x) is Section.EPILOGUE)
            return (
                f"it varies along the streamed axis but needs %{late.id}, "
                "which is complete only after the pass"
            )
        return self._take_in(node, attempt, stage)

    def _foreign(self, node: Node, walked: set[int | None]) -> str | None:
        """Why a kernel that walks these axes cannot walk those of `node`."""
        foreign = [
            a for tile in self._tiles(node) for a in sorted(self._unheld(node, tile, walked))
        ]
        if foreign:
            return f"its axis of {self.axes.size[foreign[0]]} is walked by a kernel of its own"
        return None

    def _in_columns(self, node: Node, walk: Walk) -> str | None:
        """Why programs that share out one axis of `node` must not each walk along another."""
        space = self.axes.space(node)
        if not walk.grid or walk.stream in space or self.axes.is_alias(node):
            return None
        whole = [a for a in space if a not in walk.grid and is_long(self.axes.size[a])]
        if not whole:
            return None
        return f"its axis of {self.axes.size[whole[0]]} is walked by a kernel of its own"

    def lacks(self, node: Node, walk: Walk) -> bool:
        """Whether every program of a grid would compute, or write, the same."""
        return any(a not in self.axes.of[node] for a in walk.grid)

    def _lacks_view(self, node: Node) -> bool:
        """Whether a node only moves what is in memory, but to where no address reaches."""
        moves = node.op in ("reshape", "slice", "embed") and (node, 0) in self.axes.cuts
        return moves and view(node, self.stored) is None

    def _take_in(self, node: Node, attempt: Attempt, stage: Section) -> str | None:
        stream = attempt.walk.stream
        if self.axes.is_alias(node):
            attempt.stage[node] = stage
            return None
        own = self.axes.of[node]
        elements = self._elements(own, (stream, *attempt.walk.grid))
        if elements > self.machine.tile_limit:
            return (
                f"its tile of {elements} elements exceeds {self.machine.name}'s "
                f"{self.machine.tile_limit}"
            )
        if stream is not None and stream in self.axes.reduced(node):
            if attempt.kept + elements > self.machine.kept_limit:
                return (
                    f"accumulators of {attempt.kept + elements} elements exceed "
                    f"{self.machine.name}'s {self.machine.kept_limit}"
                )
            attempt.kept += elements
            stage = Section.EPILOGUE
        elif stream in own:
            stage = Section.BODY
        attempt.stage[node] = stage
        return None

    # -- what it leaves to others -------------------------------------------------------------

    def left_over_reads(self, attempt: Attempt, needed: list[Node]) -> set[Node]:
        """What the refused nodes need in memory."""
        wanted: set[Node] = set()
        for node in needed:
            if node not in attempt.refused or node in self.stored:
                continue
            for position, x in enumerate(node.inputs):
                if (node, position) in self.axes.cuts:
                    if view(x, self.stored) is None:
                        wanted.add(self._base(x))
                    elif self._lacks_view(node):
                        wanted.add(x)
                    continue
                while self.axes.is_repeat(x):
                    x = x.inputs[0]
                if widens(x) and (x, 0) not in self.axes.cuts:
                    x = x.inputs[0]
                if not self._recomputed(x):
                    wanted.add(x)
        return wanted

    def _base(self, node: Node) -> Node:
        """What has to be in memory for `node` to be: what it is a view of, or itself."""
        base = node
        while base.kind is Kind.MOVEMENT and base not in self.stored:
            base = base.inputs[0]
        stored = {**self.stored, base: self.memory.scratch(base)}
        return base if view(node, stored) is not None else node

    def _recomputed(self, node: Node) -> bool:
        """Whether every kernel and program computes `node` again: ops on what is in memory."""
        stack = [node]
        seen: set[Node] = set()
        while stack:
            x = stack.pop()
            if x in seen or x in self.stored:
                continue
            seen.add(x)
            if x.kind not in _CHEAP or len(seen) > 32:
                return False
            stack += x.inputs
        return True
