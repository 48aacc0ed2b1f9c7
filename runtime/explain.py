"""What was compiled, and why so: the table behind `explain()`."""

from __future__ import annotations

import io
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from graphir.codegen.program import Decision, Program
from graphir.codegen.tile import TileKernel
from graphir.graph import Graph


@dataclass(frozen=True)
class Explanation:
    """The kernels of a compiled function and the scheduler's decisions; `str()` is a table.

    Attributes:
        backend: what runs it.
        graph: the simplified graph.
        program: the kernels that were made of it.
    """

    backend: str
    graph: Graph
    program: Program

    @property
    def kernels(self) -> tuple[TileKernel, ...]:
        """In the order of a step."""
        return self.program.kernels

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """What the scheduler chose and refused, and why."""
        return self.program.decisions

    def __str__(self) -> str:
        out = io.StringIO()
        console = Console(file=out, width=100, color_system=None, highlight=False)
        for table in (self._kernel_table(), self._decision_table()):
            if table.row_count:
                console.print(table)
        for title, lines in self._lists().items():
            if lines:
                console.print(f"{title}:", markup=False)
                for line in lines:
                    console.print(f"  {line}", markup=False, soft_wrap=True)
        return out.getvalue().rstrip() + "\n"

    def _kernel_table(self) -> Table:
        count = len(self.kernels)
        title = f"{self.program.name}: {count} kernel{'s' * (count != 1)}, run by {self.backend}"
        table = Table(title=title, title_justify="left")
        for heading in ("kernel", "streams", "grid", "ops", "buffers"):
            table.add_column(heading, justify="right" if heading == "ops" else "left")
        for kernel in self.kernels:
            stream = kernel.stream
            table.add_row(
                kernel.name,
                f"{stream.name} by {stream.block}" if stream else "-",
                ", ".join(f"{a.name} by {a.block}" for a in kernel.grid) or "-",
                str(len(kernel.nodes)),
                ", ".join(kernel.buffers),
            )
        return table

    def _decision_table(self) -> Table:
        table = Table(title="Decisions", title_justify="left")
        for heading in ("what", "about", "why"):
            table.add_column(heading)
        for decision in self.decisions:
            table.add_row(decision.kind, decision.subject, decision.reason)
        return table

    def _lists(self) -> dict[str, list[str]]:
        return {
            "Pruned from the gradient": [
                f"{self.graph.names.get(p.node, repr(p.node))}: {p.reason}"
                for p in self.graph.pruned
            ],
            "Notes": self.graph.notes,
        }
