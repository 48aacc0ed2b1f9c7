"""How a program's steps run at given sizes, and the Triton text of each way."""

from __future__ import annotations

from collections.abc import Mapping

from graphir.codegen.epoch_choice import EpochChoice, choose_epoch, launch_each
from graphir.codegen.machine import Chip
from graphir.codegen.program import PROGRAMS, Decision, Program, TritonModule
from graphir.codegen.triton_epoch import print_epoch
from graphir.codegen.triton_text import print_triton

from .fitting import fitted_epoch, module_objection


class Ways:
    """How a program's steps run, each way chosen and printed once.

    Args:
        program: with or without a loop over steps.
        processors: multiprocessors of the chip.
        programs: that share a step, where the user has said so.
        chip: whose compiler is asked about an epoch's kernel; None where it is interpreted.
    """

    def __init__(
        self, program: Program, processors: int, *, programs: int | None, chip: Chip | None
    ) -> None:
        self.program, self._processors = program, processors
        self._programs, self._chip = programs, chip
        self.launches = print_triton(program)
        self._choices: dict[tuple[tuple[str, int], ...], EpochChoice] = {}
        self._texts: dict[int, TritonModule] = {}

    def choice(self, sizes: Mapping[str, int]) -> EpochChoice:
        """The way for these sizes."""
        key = tuple(sorted((n, s) for n, s in sizes.items() if n != PROGRAMS))
        if key not in self._choices:
            self._choices[key] = self._chosen(dict(key))
        return self._choices[key]

    def module(self, sizes: Mapping[str, int]) -> TritonModule:
        """The text for these sizes."""
        choice = self.choice(sizes)
        if choice.epoch is None:
            return self.launches
        if id(choice) not in self._texts:
            self._texts[id(choice)] = print_epoch(choice)
        return self._texts[id(choice)]

    def decisions(self, sizes: Mapping[str, int]) -> tuple[Decision, ...]:
        """Why the steps run as they do; nothing where there is no loop over steps."""
        return (self.choice(sizes).decision,) if self.program.loop is not None else ()

    def _chosen(self, sizes: Mapping[str, int]) -> EpochChoice:
        def choose(most_rows: int | None) -> EpochChoice:
            return choose_epoch(
                self.program, sizes, self._processors, programs=self._programs, most_rows=most_rows
            )

        def refuse(reason: str) -> EpochChoice:
            return launch_each(self.program, sizes, self._processors, self._programs, reason)

        chip = self._chip
        if chip is None:
            return choose(None)
        return fitted_epoch(choose, refuse, lambda module: module_objection(module, chip))
