"""Which backend runs what, and making an executable for it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from graphir.codegen.machine import Precision, check_precision
from graphir.codegen.program import BatchLoop, Decision, Program, choices_of
from graphir.errors import BackendError
from graphir.frontend.torch_arrays import check_dense
from graphir.frontend.torch_names import is_tensor
from graphir.graph import Graph, Node

from .debug import KERNELS, log_program, timed
from .executable import Backend, Executable
from .toolchain import find_compiler

if TYPE_CHECKING:
    from .ways import Ways

BACKENDS = ("triton", "c", "interpret", "reference")


def check_options(backend: object, threads: object, precision: object = "highest") -> None:
    """Raise BackendError for a name that is no backend's or no precision's, or a number of
    threads below 1."""
    check_precision(precision)
    if threads is not None and (
        isinstance(threads, bool) or not isinstance(threads, int) or threads < 1
    ):
        raise BackendError(
            f"threads must be a whole number of at least 1, got {threads!r}",
            hint="leave it out to have it chosen",
        )
    if not isinstance(backend, str) or (backend != "auto" and backend not in BACKENDS):
        raise BackendError(
            f"there is no backend {backend!r}", hint=f"use one of auto, {', '.join(BACKENDS)}"
        )


def device_of(arrays: Iterable[Any]) -> Any:
    """The device of the first tensor that is not on the CPU; None where all are. A number on the
    CPU (0-d) may stand beside tensors on a GPU, as in torch."""
    found = (x.device for x in arrays if is_tensor(x) and x.device.type != "cpu")
    return next(found, None)


def choose(backend: str, arrays: Iterable[Any]) -> str:
    """The backend that `backend` means for these arrays.

    "auto" is "triton" for tensors on a GPU, "c" for everything else, and "reference" with a
    warning where there is no C compiler.

    Raises:
        BackendError: for a name that is none, or arrays on different devices.
        DTypeError: for a sparse or nested tensor.
    """
    check_options(backend, None)
    given = list(arrays)
    for x in filter(is_tensor, given):
        check_dense(x)
    devices = sorted({str(x.device) for x in given if not isinstance(x, np.ndarray) and x.ndim})
    gpu = device_of(given)
    if gpu is not None and any(isinstance(x, np.ndarray) for x in given):
        devices.append("the host (NumPy arrays)")
    if len(devices) > 1:
        raise BackendError(
            f"arrays lie on different devices: {', '.join(devices)}",
            hint="move them to one, e.g. x.to(w.device), or torch.as_tensor(x, device=w.device)",
        )
    if gpu is not None and gpu.type != "cuda":
        raise BackendError(
            f"the arrays lie on {gpu}; graphir runs on the CPU, and on GPUs that torch calls cuda",
            hint="move them, e.g. x.cpu()",
        )
    if gpu is not None and backend not in ("auto", "triton"):
        raise BackendError(
            f"backend={backend!r} runs on the CPU, and the arrays lie on {gpu}",
            hint="move them with x.cpu(), or use backend='triton'",
        )
    if backend != "auto":
        return backend
    if gpu is not None:
        return "triton"
    try:
        find_compiler()
    except BackendError as failure:
        warnings.warn(
            f"{failure.message}: the slow NumPy evaluator runs instead (try: {failure.hint})",
            RuntimeWarning, stacklevel=3,
        )  # fmt: skip
        return "reference"
    return "c"


@dataclass(frozen=True)
class Kernel:
    """One generated kernel and the text that it is part of.

    Attributes:
        name: as in the text.
        source: the text that the backend runs.
        c, triton: the text for either target.
    """

    name: str
    source: str
    c: str = field(repr=False)
    triton: str = field(repr=False)


@dataclass(eq=False)
class Build:
    """A graph scheduled, printed and built for one backend; other texts are made when asked for.

    Attributes:
        graph: what is computed.
        loop: the loop over mini-batches, if any.
        name: of the user's function.
        backend: one of BACKENDS.
        threads: of the C backend, programs of Triton's; None for the default.
        device: of the tensors, for triton.
        traced: the graph as it was traced and differentiated, for `explain()`.
        precision: of products of float32 on a GPU's matrix unit.
        choices: for Triton's kernels by name, which of their choices of blocks to take; None for
            the first that the chip's compiler agrees with.
    """

    graph: Graph
    name: str
    backend: str
    loop: BatchLoop | None = None
    threads: int | None = None
    device: Any = None
    traced: Graph | None = None
    precision: Precision = "highest"
    choices: Mapping[str, int] | None = None

    @cached_property
    def executable(self) -> Executable:
        """Ready to run.

        Raises:
            BackendError: where it cannot be built here.
        """
        with timed(f"build for {self.backend}", self.name):
            made = self._build()
        text = getattr(made.backend, "text", None)
        if text is not None:
            KERNELS.debug("%s, for %s:\n%s", self.name, self.backend, text)
        return made

    def _build(self) -> Executable:
        # Each backend, and what it needs, is imported only where it runs.
        if self.backend == "reference":
            from .backend_reference import ReferenceBackend, reference_program

            program = reference_program(self.graph, name=self.name, loop=self.loop)
            return Executable(program, ReferenceBackend(self.graph, program))
        backend: Backend
        if self.backend == "c":
            from .backend_c import CBackend

            backend = CBackend(self.program, threads=self.threads)
        elif self.backend == "interpret":
            from .backend_interpret import InterpretBackend

            backend = InterpretBackend(self.program, programs=self.threads)
        else:
            from .backend_triton import TritonBackend

            backend = TritonBackend(self.program, self.device, programs=self.threads)
        return Executable(self.program, backend)

    @cached_property
    def program(self) -> Program:
        """The kernels that the backend runs; for the evaluator, those that C would run."""
        return self._c_program if self.backend in ("c", "reference") else self._triton_program

    @cached_property
    def _c_program(self) -> Program:
        from graphir.codegen.schedule import plan

        from .processor import processor

        with timed("schedule for c", self.name):
            program = plan(
                self.graph, name=self.name, machine=processor(), loop=self.loop,
                precision=self.precision,
            )  # fmt: skip
        log_program(program)
        return program

    @cached_property
    def _triton_program(self) -> Program:
        from graphir.codegen.schedule import plan

        from .devices import machine_of

        with timed("schedule for triton", self.name):
            machine = machine_of(self.device)

            def planned(choices: Mapping[str, int]) -> Program:
                return plan(
                    self.graph, name=self.name, machine=machine, loop=self.loop,
                    precision=self.precision, choices=choices,
                )  # fmt: skip

            if self.choices is not None:
                program = planned(self.choices)
            elif self.backend == "triton" and machine.chip is not None:
                from .fitting import fitted_program

                program = fitted_program(planned, machine.chip)
            else:
                program = planned({})
        log_program(program)
        return program

    @property
    def alternatives(self) -> Mapping[str, int]:
        """How many choices of blocks there are for each kernel; none for C's."""
        if self.backend != "triton":
            return {}
        return {k.name: 1 if k.library else k.choices for k in self.program.kernels}

    @property
    def taken(self) -> Mapping[str, int]:
        """The numbers of the choices that were taken, but for 0."""
        return choices_of(self.program) if self.backend == "triton" else {}

    @cached_property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of `program`, each with the whole text that holds it."""
        from graphir.codegen.c_text import print_c
        from graphir.codegen.triton_text import print_triton

        c = print_c(self._c_program)
        triton = print_triton(self._triton_program).source
        source = c if self.backend in ("c", "reference") else triton
        return tuple(Kernel(k.name, source, c, triton) for k in self.program.kernels)

    def kernels_at(self, sizes: Mapping[str, int]) -> tuple[Kernel, ...]:
        """`kernels`, with the text that runs at these sizes: an epoch in one launch has its own."""
        ways = self._ways
        if ways is None or not set(self.program.sizes) <= set(sizes):
            return self.kernels
        text = ways.module(self._step_sizes(sizes)).source
        return tuple(replace(k, source=text, triton=text) for k in self.kernels)

    def decisions_at(self, sizes: Mapping[str, int]) -> tuple[Decision, ...]:
        """The scheduler's decisions, and at these sizes how the steps of an epoch run."""
        ways = self._ways
        if ways is None or not set(self.program.sizes) <= set(sizes):
            return self.program.decisions
        return self.program.decisions + ways.decisions(self._step_sizes(sizes))

    @property
    def _ways(self) -> Ways | None:
        return getattr(self.executable.backend, "ways", None)

    def _step_sizes(self, sizes: Mapping[str, int]) -> dict[str, int]:
        return self.executable.known_sizes(sizes)

    def line_maps(self) -> dict[str, tuple[str, tuple[Node | None, ...], Graph | None]]:
        """By target, its text, the node of each line, and the graph that those nodes are of."""
        from graphir.codegen.c_text import print_c
        from graphir.codegen.lines import c_lines
        from graphir.codegen.triton_text import print_triton

        module, c = print_triton(self._triton_program), print_c(self._c_program)
        found = {
            "triton": (module.source, module.lines, self._triton_program.graph),
            "c": (c, c_lines(c, self._c_program), self._c_program.graph),
        }
        # What runs stands first.
        first = "c" if self.backend in ("c", "reference") else "triton"
        return dict(sorted(found.items(), key=lambda item: item[0] != first))
