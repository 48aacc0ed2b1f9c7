"""What was compiled, and why so: the tables behind `explain()`."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from graphir.codegen.c_decisions import c_decisions, thread_decision
from graphir.codegen.program import Decision, Program
from graphir.codegen.tile import TileKernel
from graphir.errors import BackendError
from graphir.graph import Graph

from .costs import KernelCost, duration, fused, kernel_costs, quantity, scratch_summary
from .roofline import Roofline, measure_cpu
from .tuning import Tuned, named

if TYPE_CHECKING:
    from .backends import Build
    from .history import History


_MEASURE_SECONDS = 0.1


def shortest(run: Callable[[], object]) -> float:
    """The shortest of the calls that fit into a tenth of a second, of 3 at least."""
    times: list[float] = []
    while len(times) < 3 or (sum(times) < _MEASURE_SECONDS and len(times) < 1000):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


@dataclass(frozen=True)
class Explanation:
    """The kernels of a compiled function and the scheduler's decisions; `str()` is a table.

    Attributes:
        build: the simplified graph and what was made of it.
        sizes: the number behind each Dim, for bytes and operations; with a loop also `rows` and
            `batch`.
        threads: how many share the work.
        measure: runs one step and gives its seconds; None where nothing can be run.
        history: of a training.
        tuning: what was chosen by measuring.
    """

    build: Build
    sizes: Mapping[str, int] = field(default_factory=dict)
    threads: int = 1
    measure: Callable[[], float] | None = field(default=None, repr=False)
    history: History | None = field(default=None, repr=False)
    tuning: Tuned | None = field(default=None, repr=False)

    @property
    def backend(self) -> str:
        """What runs it."""
        return self.build.backend

    @property
    def graph(self) -> Graph:
        """The simplified graph."""
        return self.build.graph

    @property
    def program(self) -> Program:
        """The kernels that were made of it."""
        return self.build.program

    @property
    def kernels(self) -> tuple[TileKernel, ...]:
        """In the order of a step."""
        return self.program.kernels

    @cached_property
    def decisions(self) -> tuple[Decision, ...]:
        """What the scheduler chose and refused, and why; and what was chosen by measuring."""
        return self._scheduled + tuple(Decision("tuned", *told) for told in named(self.tuning))

    @property
    def _scheduled(self) -> tuple[Decision, ...]:
        if self.backend != "c":
            return self.build.decisions_at(self.sizes)
        chosen = (*self.program.decisions, *c_decisions(self.program))
        if not self._sized:
            return chosen
        return (*chosen, thread_decision(self.program, self.sizes, self.threads))

    @cached_property
    def roofline(self) -> Roofline | None:
        """What this machine can reach; None for a GPU, or where there is no compiler."""
        if self.backend == "triton":
            return None
        try:
            return measure_cpu(self.threads)
        except (BackendError, OSError):
            return None

    @cached_property
    def costs(self) -> list[KernelCost]:
        """What each kernel moves and computes in a step; empty where sizes are not known."""
        return kernel_costs(self.program, self.sizes, self.roofline) if self._sized else []

    @cached_property
    def seconds(self) -> float | None:
        """The measured time of a step: all kernels, their launch and the threads' meeting."""
        return self.measure() if self.measure is not None else None

    @property
    def _sized(self) -> bool:
        return set(self.program.sizes) <= set(self.sizes)

    def to_html(self, path: str | Path) -> Path:
        """Write one page that opens offline: source, graph, kernels, and what became of what.

        Raises:
            GraphirError: where the file cannot be written.
        """
        from .page.document import write_page

        return write_page(self, path)

    def tables(self) -> list[Table]:
        """The tables that `print` shows, for a rich console of your own."""
        found = [self._kernel_table(), self._cost_table(), self._decision_table()]
        return [table for table in found if table.row_count]

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(*self.tables(), *(Text(line) for line in self._text()))

    def __str__(self) -> str:
        out = io.StringIO()
        console = Console(file=out, width=100, color_system=None, highlight=False)
        for table in self.tables():
            console.print(table)
        for line in self._text():
            console.print(line, markup=False, soft_wrap=True)
        return out.getvalue().rstrip() + "\n"

    def _kernel_table(self) -> Table:
        count = len(self.kernels)
        title = f"{self.program.name}: {count} kernel{'s' * (count != 1)}, run by {self.backend}"
        table = Table(title=title, title_justify="left")
        for heading in ("kernel", "streams", "grid", "ops", "fuses"):
            table.add_column(heading, justify="right" if heading == "ops" else "left")
        for kernel in self.kernels:
            stream, ops = kernel.stream, fused(kernel)
            table.add_row(
                kernel.name,
                f"{stream.name} by {stream.block}" if stream else "-",
                ", ".join(f"{a.name} by {a.block}" for a in kernel.grid) or "-",
                str(sum(n for _, n in ops)),
                ", ".join(op if n == 1 else f"{op} ×{n}" for op, n in ops)
                + (" (torch.mm)" if kernel.library and self.backend == "triton" else ""),
            )
        return table

    def _cost_table(self) -> Table:
        table = Table(title="Cost of a step" if self.program.loop else "Cost of a call",
                      title_justify="left")  # fmt: skip
        for heading in ("kernel", "read", "written", "arithmetic", "FLOP/byte", "roofline", "time",
                        "reached"):  # fmt: skip
            table.add_column(heading, justify="left" if heading == "kernel" else "right")
        alone = len(self.costs) == 1
        for cost in self.costs:
            least = f"{duration(cost.least)} ({cost.bound})" if cost.least is not None else "-"
            table.add_row(
                cost.kernel.name, quantity(cost.read, "B"), quantity(cost.written, "B"),
                quantity(cost.flops, "FLOP"), f"{cost.intensity:.3g}", least,
                *(self._time() if alone else ("", "")),
            )  # fmt: skip
        if len(self.costs) > 1:
            least_all = self.least
            table.add_section()
            table.add_row(
                "all", quantity(sum(c.read for c in self.costs), "B"),
                quantity(sum(c.written for c in self.costs), "B"),
                quantity(sum(c.flops for c in self.costs), "FLOP"), "",
                duration(least_all) if least_all is not None else "-", *self._time(),
            )  # fmt: skip
        if self.roofline is not None and self.costs:
            roof = self.roofline
            table.caption = (
                f"roofline of {roof.threads} thread{'s' * (roof.threads != 1)} here, measured: "
                f"{quantity(roof.memory, 'B/s')} memory, {quantity(roof.cache, 'B/s')} cache, "
                f"{quantity(roof.flops, 'FLOP/s')}"
            )
        return table

    @property
    def least(self) -> float | None:
        """The least time of a step by the roofline."""
        times = [c.least for c in self.costs if c.least is not None]
        return sum(times) if times and len(times) == len(self.costs) else None

    def _time(self) -> tuple[str, str]:
        """The measured time, and how much of the roofline that is."""
        if self.seconds is None:
            return "-", "-"
        return duration(self.seconds), f"{self.least / self.seconds:.0%}" if self.least else "-"

    def _decision_table(self) -> Table:
        table = Table(title="Decisions", title_justify="left")
        for heading in ("what", "about", "why"):
            table.add_column(heading)
        for decision in self.decisions:
            table.add_row(decision.kind, decision.subject, decision.reason)
        return table

    def _text(self) -> list[str]:
        lines = []
        scratch = scratch_summary(self.program, self.sizes) if self._sized else None
        for title, entries in (
            ("Memory", [scratch] if scratch else []),
            ("Pruned from the gradient", [str(p) for p in self.graph.pruned]),
            ("Notes", self.graph.notes),
        ):
            if entries:
                lines += [f"{title}:", *(f"  {entry}" for entry in entries)]
        return lines
