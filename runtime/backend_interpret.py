"""The `interpret` backend: generated Triton text, interpreted on the CPU. For tests."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from graphir.codegen.program import Launch, Program
from graphir.codegen.triton_text import print_triton
from graphir.sizes import evaluate_shape

from .backend_triton import launch_steps
from .executable import HostMemory, Memory, Steps
from .interpret import Interpreter


@functools.cache
def shared_interpreter() -> Interpreter:
    """The process's one interpreter: its worker takes a second to start."""
    return Interpreter()


class InterpretBackend(HostMemory):
    """A program as interpreted Triton.

    Args:
        program: what to run.
        programs: how many programs share a streamed axis.
    """

    name = "interpret"

    def __init__(self, program: Program, *, programs: int | None = None) -> None:
        self._programs = programs or 1
        self.program = program
        self.module = print_triton(program)
        self.text = self.module.source

    def share(self, sizes: Mapping[str, int]) -> int:
        """As asked for; one program interprets fastest."""
        return self._programs

    def bind(self, memory: Sequence[Memory], sizes: Mapping[str, int]) -> Steps:
        """Allocate the module's own scratch, and launch through the interpreter."""
        named = {b.name: m for b, m in zip(self.program.buffers, memory, strict=True)}
        for buffer in self.module.scratch:
            shape = evaluate_shape(buffer.shape, sizes)
            named[buffer.name] = self.empty(shape, buffer.dtype, zero=True)
        source, interpreter = self.module.source, shared_interpreter()

        def start(one: Launch, arguments: list[Any], grid: tuple[int, ...]) -> None:
            interpreter.launch(source, one.kernel, arguments, grid)

        return launch_steps(self.program, self.module, named, sizes, start)
