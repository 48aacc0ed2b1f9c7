"""The scheduler: which nodes run in which kernel, and why not in fewer.

Kernels are made one after another. Each takes, in topological order, every node that one pass can
compute: values that vary along the streamed axis in its body, what is summed over that axis as
accumulators, and what depends on those in its epilogue. A node is refused, with a reason, where
it would need an accumulator before the pass has ended, where an operand must first be in memory,
or where its tile does not fit; the next kernel takes it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphir.errors import BackendError
from graphir.graph import Graph, Node
from graphir.opdef import Kind
from graphir.sizes import Dim, evaluate, numel

from .axes import AxisMap, name_axes, varies
from .bindings import Bindings, Slot, identifier
from .hoist import hoist
from .levels import Section
from .lower import ALIASES, Lowering
from .machine import Machine, Precision
from .prepare import prepare, split_sums
from .program import (
    BATCH,
    ROWS,
    BatchLoop,
    Binding,
    Buffer,
    Decision,
    Program,
    Role,
)
from .tile import TileKernel
from .uses import Walk, held, makes_products, unheld
from .verify import unsafe_updates, verify_program
from .views import view

_WORTH_STREAMING = 1 << 14  # bytes
_LOPSIDED = 64  # how many times longer an axis is that is streamed in place of another

_CHEAP = (Kind.ELEMENTWISE, Kind.MOVEMENT, Kind.SOURCE)


def plan(
    graph: Graph,
    *,
    name: str,
    machine: Machine,
    loop: BatchLoop | None = None,
    precision: Precision = "highest",
    choices: Mapping[str, int] | None = None,
) -> Program:
    """Schedule `graph` (simplified) for `machine`, inside the batch loop if there is one.

    Args:
        precision: of products of float32 on a matrix unit.
        choices: for kernels by name, which of their choices of blocks to take; by default the
            first.

    Raises:
        BackendError: where a node fits no kernel of this machine.
    """
    graph = split_sums(prepare(graph), machine)
    axes = name_axes(graph)
    stream = choose_stream(graph, axes)
    if stream is not None:
        hoisted = hoist(graph, axes, stream)
        if hoisted is not graph:
            graph = split_sums(hoisted, machine)
            axes = name_axes(graph)
            stream = choose_stream(graph, axes)
    return _Scheduler(graph, axes, stream, name, machine, loop, precision, choices or {}).run()


def choose_stream(graph: Graph, axes: AxisMap) -> int | None:
    """The axis along which most of the data lies; None where everything is small.

    Of axes with as much data the one that runs slowest in memory, so that blocks of it lie
    together; where that is far shorter than another, there is too little to share out, and the
    longest is taken.
    """
    weight: Counter[int] = Counter()
    slowest: Counter[int] = Counter()
    for node in graph.live():
        elements = evaluate(numel(node.shape), graph.hints)
        varied = [
            a for dim, a in enumerate(axes.of[node]) if varies(node, dim) and axes.size[a] != 1
        ]
        for a in varied:
            # A size known only at run time can be anything: it is streamed whatever it was first.
            bonus = 1 << 40 if isinstance(axes.size[a], Dim) else 0
            weight[a] += elements * node.dtype.itemsize + bonus
        slowest.update(dict.fromkeys(varied[:1], elements))
    best = max(sorted(weight), key=lambda a: (weight[a], slowest[a]), default=None)
    if best is None:
        return None
    size = axes.size[best]
    if not isinstance(size, int):
        return best
    if weight[best] < _WORTH_STREAMING:
        return None
    longer = [
        a
        for a in sorted(weight)
        if weight[a] > 0.9 * weight[best] and evaluate(axes.size[a], graph.hints) > _LOPSIDED * size
    ]
    return max(longer, key=lambda a: evaluate(axes.size[a], graph.hints), default=best)


@dataclass
class _Attempt:
    """What one kernel can take."""

    walk: Walk
    stage: dict[Node, Section] = field(default_factory=dict)
    refused: dict[Node, str] = field(default_factory=dict)
    kept: int = 0


class _Scheduler:
    def __init__(
        self,
        graph: Graph,
        axes: AxisMap,
        stream: int | None,
        name: str,
        machine: Machine,
        loop: BatchLoop | None,
        precision: Precision,
        choices: Mapping[str, int],
    ) -> None:
        self.precision, self.choices = precision, choices
        self.graph, self.axes, self.stream = graph, axes, stream
        self.name, self.machine, self.loop = name, machine, loop
        self.decisions: list[Decision] = []
        self.kernels: list[TileKernel] = []
        self.live = graph.live()
        self.memory = Bindings(graph, loop)
        self.stored = self.memory.stored
        self.slots = self.memory.slots

    # -- the kernels ------------------------------------------------------------------------

    def run(self) -> Program:
        while self.slots:
            needed = self._needed()
            attempt = self._best_attempt(needed)
            self._emit(attempt, needed)
        sizes = sorted(
            {n for node in self.live for s in node.shape if isinstance(s, Dim) for n in s.names}
        )
        if self.loop is not None:
            sizes = [s for s in sizes if s != self.loop.dim] + [ROWS, BATCH]
        program = Program(
            self.name,
            tuple(self.memory.buffers),
            tuple(sizes),
            tuple(self.kernels),
            self.loop,
            tuple(self.memory.outputs),
            tuple(self.decisions),
            self.machine,
            self.graph,
        )
        verify_program(program)
        return program

    def _needed(self) -> list[Node]:
        """The nodes between memory and what still has to be written, in topological order."""
        seen: set[Node] = set()
        stack = [slot.node for slot in self.slots]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                if node not in self.stored:
                    stack += node.inputs
        return sorted(seen, key=lambda n: n.id)

    def _wide(self, node: Node) -> tuple[int, ...]:
        """The axes of `node` that no tile can hold whole, its own first, then the summed ones."""
        space = self.axes.space(node)
        wide = {a for a in space if isinstance(self.axes.size[a], Dim)}
        for tile in self._tiles(node):
            wide |= self._unheld(tile, wide | {self.stream})
        return tuple(a for a in space if a in wide)

    def _tiles(self, node: Node) -> list[tuple[int, ...]]:
        """The axes of each tile that computing `node` takes."""
        tiles = [self.axes.of[node]]
        tiles += [self.axes.ports[node, p] for p in range(len(node.inputs))]
        if node.kind is Kind.CONTRACTION and makes_products(node, self.machine):
            tiles.append(self.axes.space(node))
        return tiles

    def _unheld(self, tile: Iterable[int], walked: Collection[int | None]) -> set[int]:
        """Which axes of a tile it cannot hold whole, where blocks of others are walked."""
        whole = {a: self.axes.size[a] for a in tile if a >= 0 and a not in walked}
        return unheld(whole, self.machine)

    def _elements(self, tile: Iterable[int], without: Sequence[int | None]) -> int:
        total = 1
        for a in set(tile):
            size = self.axes.size.get(a, 1)
            if a >= 0 and a not in without and isinstance(size, int):
                total *= held(size, self.machine)
        return total

    def _walk_for(self, node: Node) -> Walk | None:
        """The walk of a kernel that is made for `node`; None for a sum over several wide axes."""
        wide = self._wide(node)
        if wide and self.stream in self.axes.space(node):
            # They are what no tile holds even where the main axis is walked.
            wide = tuple(a for a in self.axes.space(node) if a in wide or a == self.stream)
        own = [a for a in wide if a in self.axes.of[node]]
        summed = [a for a in wide if a not in own]
        if len(wide) <= 1:
            return Walk(wide[0] if wide else self.stream)
        if len(summed) > 1:
            return None
        return Walk(summed[0], tuple(own)) if summed else Walk(own[0], tuple(own[1:]))

    def _best_attempt(self, needed: list[Node]) -> _Attempt:
        """The main axis first; where it gets nowhere, the walk of a node that waits: the one that
        leaves the fewest to later kernels."""
        attempt = self._collect(Walk(self.stream), needed)
        if self._progress(attempt, needed):
            return attempt
        walks = dict.fromkeys(self._walk_for(n) for n in needed if n in attempt.refused)
        others = [self._collect(walk, needed) for walk in walks if walk is not None]
        others = [other for other in others if self._progress(other, needed)]
        if others:
            return min(others, key=lambda other: len(other.refused))
        first = next(n for n in needed if n in attempt.refused)
        raise BackendError(
            f"no kernel of {self.machine.name} can compute {first!r}: {attempt.refused[first]}"
        )

    def _progress(self, attempt: _Attempt, needed: list[Node]) -> bool:
        held = self._held_back(attempt, needed, set())
        return bool(self._to_write(attempt, needed, held)[0])

    def _collect(self, walk: Walk, needed: list[Node]) -> _Attempt:
        attempt = _Attempt(walk)
        for node in needed:
            reason = self._refusal(node, attempt)
            if reason is not None:
                attempt.refused[node] = reason
        # What costs nothing where it is read must still fit the kernel that writes it.
        walked = {walk.stream, *walk.grid}
        for node in self._left_over_reads(attempt, needed):
            if node in attempt.stage and (node in self.stored or _repeats(node, self.axes)):
                reason = self._foreign(node, walked)
                if reason is not None:
                    attempt.refused[node] = reason
        return attempt

    def _refusal(self, node: Node, attempt: _Attempt) -> str | None:
        """Take `node` into the kernel, or say why not."""
        walk, axes = attempt.walk, self.axes
        stream = walk.stream
        space = axes.space(node)
        walked = {stream, *walk.grid}
        if node in self.stored:
            # Read only if asked for: a stored node is free, but it fits only walks of its axes.
            attempt.stage[node] = Section.BODY if stream in axes.of[node] else Section.PREAMBLE
            asked = any(slot.node is node for slot in self.slots)
            return self._foreign(node, walked) if asked else None
        stage = Section.PREAMBLE
        for position, x in enumerate(node.inputs):
            if (node, position) in axes.cuts:
                if view(x, self.stored) is None:
                    return f"{axes.cuts[node, position]}, so %{x.id} must be in memory first"
                continue
            if x not in attempt.stage:
                return f"it needs %{x.id}, which a later kernel computes"
            stage = max(stage, attempt.stage[x], key=lambda s: s.value)
        if _repeats(node, axes) and all(slot.node is not node for slot in self.slots):
            # What only repeats a value runs along whatever axis its reader has.
            attempt.stage[node] = stage
            return None
        if self._lacks_view(node):
            return f"{axes.cuts[node, 0]}, which its memory's layout does not allow"
        foreign = self._foreign(node, walked)
        if foreign is not None:
            return foreign
        summed = axes.reduced(node)
        if any(a in walk.grid for a in summed):
            return "it sums over an axis that this kernel's programs share out"
        alias = node.op in ALIASES and (node, 0) not in axes.cuts
        once = stage is Section.PREAMBLE or self._recomputed(node)
        if self._lacks(node, walk) and not alias and not once:
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
        foreign = [a for tile in self._tiles(node) for a in sorted(self._unheld(tile, walked))]
        if foreign:
            return f"its axis of {self.axes.size[foreign[0]]} is walked by a kernel of its own"
        return None

    def _lacks(self, node: Node, walk: Walk) -> bool:
        """Whether every program of a grid would compute, or write, the same."""
        return any(a not in self.axes.of[node] for a in walk.grid)

    def _lacks_view(self, node: Node) -> bool:
        """Whether a node only moves what is in memory, but to where no address reaches."""
        moves = node.op in ("reshape", "slice", "embed") and (node, 0) in self.axes.cuts
        return moves and view(node, self.stored) is None

    def _take_in(self, node: Node, attempt: _Attempt, stage: Section) -> str | None:
        stream = attempt.walk.stream
        if node.op in ALIASES and (node, 0) not in self.axes.cuts:
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

    # -- what a kernel writes ---------------------------------------------------------------

    def _held_back(self, attempt: _Attempt, needed: list[Node], clashing: set[Slot]) -> set[Slot]:
        """The updates in place that this kernel must not make: those of inputs that are read
        later, and `clashing` ones. They are made from scratch memory, by a later kernel."""
        later = self._read_later(attempt, needed)
        later.update(slot.node for slot in self.slots if slot.node not in attempt.stage)
        held = set(clashing)
        while True:
            later.update(slot.node for slot in held if slot.node in self.stored)
            more = {slot for slot in self.slots if slot.carried_from in later} - held
            if not more:
                return held
            held |= more

    def _read_later(self, attempt: _Attempt, needed: list[Node]) -> set[Node]:
        """What the nodes left over depend on, through what is not yet in memory."""
        stack = [n for n in needed if n in attempt.refused and n not in self.stored]
        seen = {n for n in attempt.refused if n in self.stored}
        while stack:
            for x in stack.pop().inputs:
                if x not in seen:
                    seen.add(x)
                    if x not in self.stored:
                        stack.append(x)
        return seen

    def _left_over_reads(self, attempt: _Attempt, needed: list[Node]) -> set[Node]:
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
                while _repeats(x, self.axes):
                    x = x.inputs[0]
                if not self._recomputed(x):
                    wanted.add(x)
        return wanted

    def _to_write(
        self, attempt: _Attempt, needed: list[Node], held: set[Slot]
    ) -> tuple[dict[Node, list[Buffer]], set[Node]]:
        """Nodes that the attempt writes, with the outputs for each, and those read again later."""
        later = self._left_over_reads(attempt, needed)
        later |= {slot.node for slot in held}
        later = {n for n in later if n not in self.stored or self._scattered(n)}
        writes = {}
        for node in needed:
            taken = node in attempt.stage and node not in attempt.refused
            if taken and not self._lacks(node, attempt.walk):
                buffers = [s.buffer for s in self.slots if s.node is node and s not in held]
                if buffers or node in later:
                    writes[node] = buffers
        return writes, later

    def _base(self, node: Node) -> Node:
        """What has to be in memory for `node` to be: what it is a view of, or itself."""
        base = node
        while base.kind is Kind.MOVEMENT and base not in self.stored:
            base = base.inputs[0]
        stored = {**self.stored, base: self.memory.scratch(base)}
        return base if view(node, stored) is not None else node

    def _scattered(self, node: Node) -> bool:
        """Whether a stored node has no layout of its own: rows of a batch, which are copied where
        a later kernel needs them side by side."""
        return self.stored[node].binding is Binding.ROWS

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

    def _emit(self, attempt: _Attempt, needed: list[Node]) -> None:
        clashing: set[Slot] = set()
        while True:
            held = self._held_back(attempt, needed, clashing)
            writes, later = self._to_write(attempt, needed, held)
            assert writes, "a kernel writes something"
            lowering, made = self._lowered(attempt, writes, later)
            scratch = [b for b in made.values() if b.role is Role.SCRATCH]
            kernel = lowering.finish([*self.memory.buffers, *scratch])
            unsafe = unsafe_updates(kernel)
            if not unsafe:
                break
            clashing.update(slot for slot in self.slots if slot.buffer.name in unsafe)
        self.memory.buffers += scratch
        self.slots = [slot for slot in self.slots if slot in held or slot.node not in writes]
        self.kernels.append(kernel)
        self._record(kernel, attempt, needed, held)
        self.stored.update(made)

    def _lowered(
        self, attempt: _Attempt, writes: Mapping[Node, list[Buffer]], later: set[Node]
    ) -> tuple[Lowering, dict[Node, Buffer]]:
        """The kernel that writes these, and where later kernels find what they read."""
        name = f"{identifier(self.name)}_{len(self.kernels)}"
        lowering = Lowering(
            name,
            attempt.walk,
            self._reachable(list(writes), attempt),
            list(writes),
            self.axes,
            self.stored,
            self.machine,
            self.memory.names,
            self.memory.order,
            self.precision,
            self.choices.get(name, 0),
        )
        made: dict[Node, Buffer] = {}
        for node, buffers in writes.items():
            for buffer in buffers:
                lowering.store(node, buffer)
                if buffer.role is Role.OUTPUT and buffer.binding is Binding.WHOLE:
                    made.setdefault(node, buffer)
            if node in later and node not in made:
                made[node] = self.memory.scratch(node)
                lowering.store(node, made[node])
        return lowering, {n: b for n, b in made.items() if n in later or n not in self.stored}

    def _reachable(self, writes: list[Node], attempt: _Attempt) -> list[Node]:
        """The taken nodes that what is written needs."""
        seen: set[Node] = set()
        stack = list(writes)
        while stack:
            node = stack.pop()
            if node in seen or (node in self.stored and node not in writes):
                continue
            seen.add(node)
            stack += [
                x
                for p, x in enumerate(node.inputs)
                if (node, p) not in self.axes.cuts and node not in self.stored
            ]
        return sorted(seen, key=lambda n: n.id)

    def _record(
        self, kernel: TileKernel, attempt: _Attempt, needed: list[Node], held: set[Slot]
    ) -> None:
        stream = kernel.stream
        how = f"one pass over {stream.size} in blocks of {stream.block}" if stream else "no loop"
        computed = sum(1 for n in kernel.nodes if n.op not in ALIASES and n not in self.stored)
        self.decisions.append(Decision("kernel", kernel.name, f"{computed} nodes, {how}"))
        for node in needed:
            reason = attempt.refused.get(node)
            if reason is not None and not reason.startswith("it needs"):
                self.decisions.append(
                    Decision("refused", f"{kernel.name}: %{node.id} = {node.op}", reason)
                )
        for slot in self.slots:
            if slot in held:
                why = "it is still read, by a later kernel or elsewhere than where it is written"
                self.decisions.append(Decision("kept", f"{kernel.name}: {slot.buffer.name}", why))


def _repeats(node: Node, axes: AxisMap) -> bool:
    """Whether a node is nothing but another one, repeated along more axes."""
    return node.op == "broadcast" and (node, 0) not in axes.cuts
