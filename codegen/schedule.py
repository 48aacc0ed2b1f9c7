"""The scheduler: which nodes run in which kernel, and why not in fewer.

Kernels are made one after another. Each takes every node that one pass can compute (`fusion.py`
says which): values that vary along the streamed axis in its body, what is summed over that axis as
accumulators, and what depends on those in its epilogue. A node is refused, with a reason, where
it would need an accumulator before the pass has ended, where an operand must first be in memory,
or where its tile does not fit; the next kernel takes it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphir.errors import BackendError
from graphir.graph import Graph, Node
from graphir.opdef import Kind
from graphir.sizes import Dim

from .axes import ALIASES, AxisMap, name_axes
from .bindings import Bindings, Slot, identifier
from .fusion import Attempt, Fuser
from .hoist import hoist
from .library import leave_to_library, library_product
from .lower import Lowering
from .machine import Machine, Precision, Target, halved
from .prepare import prepare, split_sums
from .program import (
    BATCH,
    HALVED,
    ROWS,
    BatchLoop,
    Binding,
    Buffer,
    Decision,
    Program,
    Role,
)
from .stream import choose_stream
from .tile import TileKernel
from .uses import Walk
from .verify import unsafe_updates, verify_program


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

    The order of the passes: sums are split after every simplification, which would join them
    again; axes are named on a graph that no longer changes; the stream is one of them. Hoisting
    needs both, and changes the graph, so that all three are done once more.

    Args:
        precision: of products of float32 on a matrix unit.
        choices: for kernels by name, which of their choices of blocks to take; by default the
            first. Under HALVED, how many times the machine's limits are halved.

    Raises:
        BackendError: where a node fits no kernel of this machine.
    """
    choices = choices or {}
    halvings = choices.get(HALVED, 0)
    machine = halved(machine, halvings)
    graph = split_sums(prepare(graph), machine)
    axes = name_axes(graph)
    stream = choose_stream(graph, axes)
    if stream is not None:
        hoisted = hoist(graph, axes, stream)
        if hoisted is not graph:
            graph = split_sums(hoisted, machine)
            axes = name_axes(graph)
            stream = choose_stream(graph, axes)
    target = Target(machine, precision, halvings, choices)
    return _Scheduler(graph, axes, stream, name, loop, target).run()


class _Scheduler:
    def __init__(
        self,
        graph: Graph,
        axes: AxisMap,
        stream: int | None,
        name: str,
        loop: BatchLoop | None,
        target: Target,
    ) -> None:
        self.graph, self.axes, self.stream = graph, axes, stream
        self.name, self.loop, self.target = name, loop, target
        self.decisions: list[Decision] = []
        self.kernels: list[TileKernel] = []
        self.live = graph.live()
        self.memory = Bindings(graph, loop)
        self.stored = self.memory.stored
        self.fuser = Fuser(axes, stream, target.machine, self.memory)
        self.slots = self.memory.slots

    # -- the kernels ------------------------------------------------------------------------

    def run(self) -> Program:
        while self.slots:
            needed = self._needed()
            attempt = self._best_attempt(needed)
            self._emit(attempt, needed)
        named = (s for node in self.live for s in (*node.shape, *node.attrs.values()))
        sizes = sorted({n for s in named if isinstance(s, Dim) for n in s.names})
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
            self.target.machine,
            self.target.halvings,
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

    def _best_attempt(self, needed: list[Node]) -> Attempt:
        """The main axis first; where it gets nowhere, the walk of a node that waits and then runs,
        if need be one that has the main axis whole: the one that leaves the fewest to later
        kernels."""
        asked = frozenset(slot.node for slot in self.slots)
        attempt = self.fuser.collect(Walk(self.stream), needed, asked)
        if self._progress(attempt, needed):
            return attempt
        waiting = [n for n in needed if n in attempt.refused]
        # The walk of what a product reads would hold the product's other axis whole.
        waiting.sort(key=lambda n: n.kind is not Kind.CONTRACTION)
        for main in (True, False):
            walks: dict[Walk, list[Node]] = {}
            for n in waiting:
                walk = self.fuser.walk_for(n, main=main)
                if walk is not None:
                    walks.setdefault(walk, []).append(n)
            others = []
            for walk, nodes in walks.items():
                other = self.fuser.collect(walk, needed, asked)
                if self._progress(other, needed):
                    # A walk whose own nodes wait on is one of a later kernel.
                    waits = all(n in other.refused for n in nodes)
                    others.append((waits, len(other.refused), other))
            if others:
                return self._alone(min(others, key=lambda ranked: ranked[:2])[2], needed)
        first = next(n for n in needed if n in attempt.refused)
        machine, why = self.target.machine, attempt.refused[first]
        raise BackendError(f"no kernel of {machine.name} can compute {first!r}: {why}")

    def _alone(self, attempt: Attempt, needed: list[Node]) -> Attempt:
        """The attempt, or of it the large product that torch does faster."""
        alone, told = leave_to_library(
            attempt, needed, self.graph, self.axes, self.stored, self.target
        )
        if told is not None:
            self.decisions.append(replace(told, subject=f"{self._next_name}: {told.subject}"))
        return alone

    @property
    def _next_name(self) -> str:
        """Of the kernel that is made next."""
        return f"{identifier(self.name)}_{len(self.kernels)}"

    def _progress(self, attempt: Attempt, needed: list[Node]) -> bool:
        held = self._held_back(attempt, needed, set())
        return bool(self._to_write(attempt, needed, held)[0])

    # -- what a kernel writes ---------------------------------------------------------------

    def _held_back(self, attempt: Attempt, needed: list[Node], clashing: set[Slot]) -> set[Slot]:
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

    def _read_later(self, attempt: Attempt, needed: list[Node]) -> set[Node]:
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

    def _to_write(
        self, attempt: Attempt, needed: list[Node], held: set[Slot]
    ) -> tuple[dict[Node, list[Buffer]], set[Node]]:
        """Nodes that the attempt writes, with the outputs for each, and those read again later."""
        later = self.fuser.left_over_reads(attempt, needed)
        later |= {slot.node for slot in held}
        later = {n for n in later if n not in self.stored or self._scattered(n)}
        writes = {}
        for node in needed:
            taken = node in attempt.stage and node not in attempt.refused
            if taken and not self.fuser.lacks(node, attempt.walk):
                buffers = [s.buffer for s in self.slots if s.node is node and s not in held]
                if buffers or node in later:
                    writes[node] = buffers
        return writes, later

    def _scattered(self, node: Node) -> bool:
        """Whether a stored node has no layout of its own: rows of a batch, which are copied where
        a later kernel needs them side by side."""
        return self.stored[node].binding is Binding.ROWS

    def _emit(self, attempt: Attempt, needed: list[Node]) -> None:
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
        if attempt.product is not None:
            library = library_product(attempt.product, kernel, self.target.precision)
            kernel = replace(kernel, library=library)
        self.memory.buffers += scratch
        self.slots = [slot for slot in self.slots if slot in held or slot.node not in writes]
        self.kernels.append(kernel)
        self._record(kernel, attempt, needed, held)
        self.stored.update(made)

    def _lowered(
        self, attempt: Attempt, writes: Mapping[Node, list[Buffer]], later: set[Node]
    ) -> tuple[Lowering, dict[Node, Buffer]]:
        """The kernel that writes these, and where later kernels find what they read."""
        lowering = Lowering(
            self._next_name,
            attempt.walk,
            self._reachable(list(writes)),
            list(writes),
            self.axes,
            self.memory,
            self.target,
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

    def _reachable(self, writes: list[Node]) -> list[Node]:
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
        self, kernel: TileKernel, attempt: Attempt, needed: list[Node], held: set[Slot]
    ) -> None:
        stream = kernel.stream
        how = f"one pass over {stream.size} in blocks of {stream.block}" if stream else "no loop"
        computed = sum(1 for n in kernel.nodes if n.op not in ALIASES and n not in self.stored)
        self.decisions.append(Decision("kernel", kernel.name, f"{computed} nodes, {how}"))
        for node in needed:
            reason = attempt.refused.get(node)
            if reason is not None and node not in attempt.waiting:
                self.decisions.append(
                    Decision("refused", f"{kernel.name}: %{node.id} = {node.op}", reason)
                )
        for slot in self.slots:
            if slot in held:
                why = "it is still read, by a later kernel or elsewhere than where it is written"
                self.decisions.append(Decision("kept", f"{kernel.name}: {slot.buffer.name}", why))
