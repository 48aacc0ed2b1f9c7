"""What the C target chose for a program, and why: for `explain()`."""

from __future__ import annotations

from collections.abc import Mapping

from graphir.sizes import evaluate

from .blocking import lower_loops
from .cost import WORTH_BYTES, WORTH_FLOPS, WORTH_ROWS, step_sizes, traffic, useful_threads
from .loops import LoopKernel
from .partial_sums import span_rows
from .program import Decision, Program
from .resident import choose_residents
from .sharing import buffer_bytes, own_buffers


def c_decisions(program: Program) -> tuple[Decision, ...]:
    """Layouts of parameters, copies of threads, the form of each product, the order of sums."""
    plain = [lower_loops(k, program.machine, {}) for k in program.kernels]
    residents = choose_residents(program, [k.wanted for k in plain])
    loops = [lower_loops(k, program.machine, residents) for k in program.kernels]
    found = [
        Decision(
            "layout",
            name,
            f"dimensions in the order {resident.order} during a call, "
            "as the product that reads it by vectors wants them",
        )
        for name, resident in residents.items()
    ]
    own = own_buffers(program)
    if own is not None:
        found.append(
            Decision(
                "copies",
                ", ".join(b.name for b in own),
                f"{sum(map(buffer_bytes, own))} bytes: each thread joins the sums and updates "
                "its own, so that a step needs one barrier",
            )
        )
    for kernel in loops:
        found += _products(kernel)
        found += _long_sums(kernel)
    return tuple(found)


def _long_sums(kernel: LoopKernel) -> list[Decision]:
    rows, stream = span_rows(kernel.kernel), kernel.kernel.stream
    if rows is None or stream is None:
        return []
    return [
        Decision(
            "sums",
            kernel.kernel.name,
            f"rows are added up within blocks of {stream.block}, blocks within spans of {rows} "
            "rows, spans within a thread's share: no sum is long, so little is lost to rounding",
        )
    ]


def _products(kernel: LoopKernel) -> list[Decision]:
    found = []
    for part in (kernel.preamble, kernel.body, kernel.epilogue):
        for nest in part.nests:
            p = nest.product
            if p is None:
                continue
            columns = p.column_block if p.inner else p.column_block * p.lanes
            along = "summed along the lanes" if p.inner else "a result a lane"
            node = p.statement.out.node
            subject = p.statement.out.name if node is None else f"%{node.id} = {node.op}"
            found.append(
                Decision(
                    "product",
                    f"{kernel.kernel.name}: {subject}",
                    f"vectors of {p.lanes} along {p.vector.name}, {along}; "
                    f"{p.row_block} × {columns} results in registers"
                    + (f"; row by row, in {p.chains} partial sums" if p.by_rows else ""),
                )
            )
    return found


def thread_decision(program: Program, sizes: Mapping[str, int], threads: int) -> Decision:
    """Why so many threads share a step.

    Args:
        threads: how many do.
    """
    feeds = useful_threads(program, sizes, 1 << 30)
    rows = min((_rows(program, sizes, k) for k in range(len(program.kernels))), default=0)
    moved = max((traffic(k, program, sizes).bytes for k in program.kernels), default=0)
    flops = max((traffic(k, program, sizes).flops for k in program.kernels), default=0)
    why = f"{moved} bytes, {flops} FLOPs"
    why += f" and {rows} rows a step" if rows else " a step"
    why += (
        f" feed {feeds}: a thread is worth {WORTH_BYTES} bytes or {WORTH_FLOPS} FLOPs"
        f", and {WORTH_ROWS} rows where sums are joined"
    )
    return Decision("threads", str(threads), why)


def _rows(program: Program, sizes: Mapping[str, int], kernel: int) -> int:
    stream = program.kernels[kernel].stream
    return 0 if stream is None else evaluate(stream.size, step_sizes(program, sizes))
