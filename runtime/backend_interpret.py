"""The `interpret` backend: generated Triton text, interpreted on the CPU. For tests."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from graphir.codegen.program import Launch, Program
from graphir.sizes import evaluate_shape

from .backend_triton import launch_steps
from .executable import HostMemory, Memory, Steps
from .interpret import Interpreter
from .ways import Ways


@functools.cache
def shared_interpreter() -> Interpreter:
    """The process's one interpreter: its worker takes a second to start."""
    return Interpreter()


class InterpretBackend(HostMemory):
    """A program as interpreted Triton.

    Args:
        program: what to run.
        programs: how many programs share a streamed axis; by default one, which is fastest.
    """

    name = "interpret"

    def __init__(self, program: Program, *, programs: int | None = None) -> None:
        self.program = program
        self.ways = Ways(program, programs or 1, programs=programs or 1, chip=None)
        self.text = self.ways.launches.source

    def share(self, sizes: Mapping[str, int]) -> int:
        """As asked for, where there are as many blocks of rows."""
        return self.ways.choice(sizes).programs

    def bind(self, memory: Sequence[Memory], sizes: Mapping[str, int]) -> Steps:
        """Allocate the module's own scratch, and launch through the interpreter."""
        named = {b.name: m for b, m in zip(self.program.buffers, memory, strict=True)}
        module = self.ways.module(sizes)
        for buffer in module.scratch:
            shape = evaluate_shape(buffer.shape, sizes)
            named[buffer.name] = self.empty(shape, buffer.dtype, zero=True)
        source, interpreter = module.source, shared_interpreter()

        def start(one: Launch, arguments: list[Any], grid: tuple[int, ...]) -> None:
            interpreter.launch(source, one.kernel, arguments, grid, cooperative=one.cooperative)

        return launch_steps(self.program, module, named, sizes, start)
