"""The `reference` backend: the NumPy evaluator, one node after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from graphir.codegen.program import BATCH, ROWS, BatchLoop, Binding, Buffer, Program, Role
from graphir.dtypes import int64
from graphir.evaluate import evaluate
from graphir.graph import Graph
from graphir.sizes import Dim

from .executable import HostMemory, Memory, Steps


class ReferenceBackend(HostMemory):
    """Evaluates a graph; it needs neither kernels nor a compiler."""

    name = "reference"

    def __init__(self, graph: Graph, program: Program) -> None:
        self.graph, self.program = graph, program

    def share(self, sizes: Mapping[str, int]) -> int:
        """One: NumPy sees to its own threads."""
        return 1

    def bind(self, memory: Sequence[Memory], sizes: Mapping[str, int]) -> Steps:
        """A loop in Python over the steps."""
        graph, loop = self.graph, self.program.loop
        inputs = list(memory[: len(graph.inputs)])
        place = {b.name: i for i, b in enumerate(self.program.buffers)}
        outputs = [memory[place[name]] for name in self.program.outputs]
        # Captured arrays may have been copied to be contiguous; the evaluator takes its own.
        given = [i for i, node in enumerate(graph.inputs) if node not in graph.captured]

        def run(first: int, last: int) -> None:
            for step in range(first, last):
                arguments = inputs
                if loop is not None:
                    order = memory[place[_ORDER]] if loop.shuffled else None
                    arguments = _fetch(loop, inputs, order, step, sizes)
                results = evaluate(graph, [arguments[i] for i in given])
                for position, result in enumerate(results):
                    if self.program.buffer(self.program.outputs[position]).binding is Binding.STEP:
                        outputs[position][step] = result
                    else:
                        outputs[position][...] = result

        return run


def _fetch(
    loop: BatchLoop,
    inputs: Sequence[Memory],
    order: Memory | None,
    step: int,
    sizes: Mapping[str, int],
) -> list[Memory]:
    """The inputs of one step."""
    start, stop = step * sizes[BATCH], min((step + 1) * sizes[BATCH], sizes[ROWS])
    rows = slice(start, stop) if order is None else order[start:stop]
    arguments = list(inputs)
    for i in loop.batched:
        arguments[i] = inputs[i][rows]
    for i in loop.stepped:
        arguments[i] = np.asarray(inputs[i][step])
    return arguments


_ORDER = "order of the rows"  # no argument of a Python function is called so


def reference_program(graph: Graph, *, name: str, loop: BatchLoop | None = None) -> Program:
    """The buffers of `graph` as a scheduler would lay them out, without kernels."""
    names = {node: f"{i} {graph.names[node]}" for i, node in enumerate(graph.inputs)}
    buffers = []
    for i, node in enumerate(graph.inputs):
        binding, shape = Binding.WHOLE, node.shape
        if loop is not None and i in loop.batched:
            binding, shape = Binding.ROWS, (Dim.symbol(ROWS), *node.shape[1:])
        elif loop is not None and i in loop.stepped:
            binding, shape = Binding.STEP, (Dim.symbol("steps"),)
        buffers.append(Buffer(names[node], node.dtype, shape, Role.INPUT, binding, node))
    carried = dict(loop.carry) if loop is not None else {}
    outputs = []
    for i, node in enumerate(graph.outputs):
        if i in carried:
            outputs.append(names[graph.inputs[carried[i]]])
            continue
        outputs.append(f"output {i}")
        binding = Binding.WHOLE if loop is None else Binding.STEP
        shape = node.shape if loop is None else (Dim.symbol("steps"),)
        buffers.append(Buffer(outputs[-1], node.dtype, shape, Role.OUTPUT, binding, node))
    if loop is not None and loop.shuffled:
        buffers.append(Buffer(_ORDER, int64, (Dim.symbol(ROWS),), Role.INPUT))
    sizes = {n for x in graph.inputs for s in x.shape if isinstance(s, Dim) for n in s.names}
    if loop is not None:
        sizes |= {ROWS, BATCH}
    return Program(name, tuple(buffers), tuple(sorted(sizes)), (), loop, tuple(outputs))
