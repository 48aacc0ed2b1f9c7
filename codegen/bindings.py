"""The buffers of a program, and what has to be written to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from graphir import dtypes
from graphir.graph import Graph, Node
from graphir.sizes import Dim

from .program import BATCH, PROGRAMS, ROWS, BatchLoop, Binding, Buffer, Role


@dataclass(frozen=True, eq=False)
class Slot:
    """An output that has to be written, and the buffer for it."""

    node: Node
    buffer: Buffer
    carried_from: Node | None = None


class Bindings:
    """Memory for a graph's inputs and outputs, and scratch as kernels ask for it.

    Attributes:
        buffers: in the order of the call.
        stored: the buffer of each node that is in memory.
        slots: the outputs to be written.
        outputs: for each output of the graph its buffer's name.
        order: the permutation of a shuffled loop.
        names: an identifier for each input.
    """

    def __init__(self, graph: Graph, loop: BatchLoop | None) -> None:
        self.graph, self.loop = graph, loop
        self.names = readable_names(graph)
        self.buffers: list[Buffer] = []
        self.stored: dict[Node, Buffer] = {}
        for i, node in enumerate(graph.inputs):
            shape, binding = node.shape, Binding.WHOLE
            if loop is not None and i in loop.batched:
                shape, binding = (Dim.symbol(ROWS), *node.shape[1:]), Binding.ROWS
            elif loop is not None and i in loop.stepped:
                shape, binding = (Dim.symbol("steps"),), Binding.STEP
            buffer = Buffer(self.names[node], node.dtype, shape, Role.INPUT, binding, node)
            self.buffers.append(buffer)
            self.stored[node] = buffer
        carried = dict(loop.carry) if loop is not None else {}
        self.slots: list[Slot] = []
        self.outputs: list[str] = []
        for i, node in enumerate(graph.outputs):
            if i in carried:
                source = graph.inputs[carried[i]]
                buffer = self.stored[source]
                if node is not source:
                    self.slots.append(Slot(node, buffer, source))
            else:
                step = loop is not None
                buffer = Buffer(
                    f"out{i}",
                    node.dtype,
                    (Dim.symbol("steps"),) if step else node.shape,
                    Role.OUTPUT,
                    Binding.STEP if step else Binding.WHOLE,
                    node,
                )
                self.buffers.append(buffer)
                self.slots.append(Slot(node, buffer))
            self.outputs.append(buffer.name)
        self.order: Buffer | None = None
        if loop is not None and loop.shuffled:
            self.order = Buffer("order", dtypes.int64, (Dim.symbol(ROWS),), Role.INPUT)
            self.buffers.append(self.order)

    def scratch(self, node: Node) -> Buffer:
        """A new buffer for a value between two kernels."""
        return Buffer(f"tmp{node.id}", node.dtype, node.shape, Role.SCRATCH, Binding.WHOLE, node)


def identifier(text: str) -> str:
    """`text` as a C identifier."""
    return re.sub(r"\W+", "_", text).strip("_") or "kernel"


def readable_names(graph: Graph) -> Mapping[Node, str]:
    """A C identifier for each input, from the user's names, all different."""
    names: dict[Node, str] = {}
    # Buffers and sizes share one name space.
    taken = {"order", "done", "first", "last", "start", "step", "steps", ROWS, BATCH, PROGRAMS}
    taken |= {n for node in graph.live() for s in node.shape if isinstance(s, Dim) for n in s.names}
    for i, node in enumerate(graph.inputs):
        stem = identifier(graph.names.get(node, f"in{i}"))
        if stem[0].isdigit() or re.fullmatch(r"(out|tmp)\d+", stem):
            stem = f"in_{stem}"
        name, count = stem, 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        names[node] = name
    return names
