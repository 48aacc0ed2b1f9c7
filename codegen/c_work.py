"""What each thread of a C call does: the steps, the kernels of a step, barriers between."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from graphir.sizes import Size

from .c_expr import size_text
from .c_kernel import KernelPrinter, aligned, size_lines
from .c_writer import Writer
from .partial_sums import span_rows
from .program import Buffer, Program
from .resident import Resident
from .sharing import buffer_bytes
from .spelling import C_TYPES
from .tile import TileKernel
from .views import row_major


class WorkPrinter(Writer):
    """Prints `work`, and knows how much memory it needs.

    The call's memory holds, for each thread, its partial sums, its scratch arrays and its copies
    of buffers; then, for all, the buffers that lie in another layout.

    Args:
        residents: buffers that lie in the call's memory in another layout.
        own: buffers of which each thread has a copy; None where the first thread finishes steps.

    Attributes:
        kept_bytes: the most that a kernel's partial sums take.
        zero_bytes: scratch arrays with zeros in their padding, of all kernels.
        thread_bytes, shared_bytes: the call's memory for each thread, and for all together.
    """

    def __init__(
        self,
        program: Program,
        printers: Sequence[KernelPrinter],
        residents: Sequence[Resident],
        own: Sequence[Buffer] | None,
    ) -> None:
        super().__init__()
        self.program, self.printers, self.own = program, printers, own
        self.residents = {r.buffer.name: r for r in residents}
        self.kept_bytes = max((p.kept_bytes for p in printers), default=0)
        self.zero_bytes = max((p.zero_bytes for p in printers), default=0)
        scratch_bytes = self.zero_bytes + max((p.scratch_bytes for p in printers), default=0)
        moved = [r.buffer for r in residents] if own is None else list(own)
        self.places: dict[Buffer, int] = {}
        end = 0
        for buffer in moved:
            self.places[buffer] = end
            end += self._bytes(buffer)
        # Two sets of partial sums, written by turns: one may still be read while the next is made.
        # Then one for what the threads' sums join up to, and one for a span's.
        self.sets = 1 if own is None else 3
        self.spanned = any(span_rows(p.kernel) is not None for p in printers)
        places = self.sets + self.spanned
        self.before_copies = places * self.kept_bytes + scratch_bytes
        self.thread_bytes = self.before_copies + (0 if own is None else end)
        self.shared_bytes = end if own is None else 0

    def _bytes(self, buffer: Buffer) -> int:
        resident = self.residents.get(buffer.name)
        if resident is not None:
            return aligned(resident.elements * buffer.dtype.itemsize)
        return aligned(buffer_bytes(buffer))

    def text(self) -> str:
        """The function."""
        buffers = "places" if self.places else "call->buffers"
        self.line("")
        with self.block("static void work(call_t *call, int32_t thread)"):
            self.line("const int64_t *sizes = call->sizes;")
            self.line("const int32_t threads = call->threads;")
            self.line("char *memory = call->memory + (size_t)thread * OF_A_THREAD;")
            if self.spanned:
                self.line(f"char *of_span = memory + {_times(self.sets)}KEPT;")
            self.line(f"char *scratch = memory + {_times(self.sets + self.spanned)}KEPT;")
            if self.zero_bytes:
                self.line("__builtin_memset(scratch, 0, ZEROED);")
            if self.places:
                self._move_in()
            with self.block("for (int64_t step = call->first; step < call->last; step++)"):
                for text in size_lines(self.program):
                    self.line(text)
                for printer in self.printers:
                    arguments = f"{buffers}, sizes, step, thread"
                    if self.own is not None:
                        self._each_finishes(printer.kernel, arguments)
                    elif printer.kernel.grid:
                        self._grid(printer.kernel, arguments)
                    else:
                        self._one_finishes(printer.kernel, arguments)
            if self.places:
                # After a step every thread has read what the first one now writes.
                with self.block("if (thread == 0 && call->first < call->last)"):
                    for buffer in self.places:
                        self._copy(buffer, back=True)
        return "\n".join(self.lines) + "\n"

    # -- buffers in the call's memory -------------------------------------------------------

    def _move_in(self) -> None:
        """Parameters that lie in the call's memory until it ends."""
        self.line(f"void *places[{len(self.program.buffers)}];")
        self.line("__builtin_memcpy(places, call->buffers, sizeof places);")
        base = (
            "call->memory + (size_t)threads * OF_A_THREAD"
            if self.own is None
            else f"memory + {self.before_copies}"
        )
        for buffer, offset in self.places.items():
            self.line(f"places[{self.program.buffers.index(buffer)}] = {base} + {offset};")
        if self.own is not None:
            for buffer in self.places:
                self._copy(buffer, back=False)
            return
        with self.block("if (thread == 0)"):
            for buffer in self.places:
                self._copy(buffer, back=False)
        self.line("barrier(call);")

    def _copy(self, buffer: Buffer, *, back: bool) -> None:
        """Copy a buffer into the call's memory, or back."""
        k = self.program.buffers.index(buffer)
        resident = self.residents.get(buffer.name)
        places = (f"places[{k}]", f"call->buffers[{k}]")
        if resident is not None and not back:
            self.line(f"__builtin_memset({places[0]}, 0, {self._bytes(buffer)});")
        if resident is None or tuple(resident.strides) == tuple(row_major(resident.shape)):
            to, source = reversed(places) if back else places
            self.line(f"__builtin_memcpy({to}, {source}, {buffer_bytes(buffer)});")
            return
        kind = C_TYPES[buffer.dtype.name]
        with self.block(""):
            self.line(f"{kind} *inside = {places[0]}, *outside = {places[1]};")
            names = [f"d{d}" for d in range(len(resident.shape))]
            with ExitStack() as loops:
                for name, count in zip(names, resident.shape, strict=True):
                    head = f"for (int64_t {name} = 0; {name} < {count}; {name}++)"
                    loops.enter_context(self.block(head))
                inside = f"inside[{_position(names, resident.strides)}]"
                outside = f"outside[{_position(names, row_major(resident.shape))}]"
                self.line(f"{outside} = {inside};" if back else f"{inside} = {outside};")

    # -- the kernels of a step --------------------------------------------------------------

    def _rows(self, kernel: TileKernel) -> None:
        """This thread's share of the stream."""
        assert kernel.stream is not None
        size = size_text(kernel.stream.size)
        self.line(f"const int64_t begin = share_begin({size}, thread, threads);")
        self.line(f"const int64_t end = share_end({size}, thread, threads);")

    def _pass(self, kernel: TileKernel, arguments: str, begin: str, end: str) -> None:
        """The rows from `begin` to `end`, a span after the other, into `kept`."""
        name, rows = kernel.name, span_rows(kernel)
        if rows is None:
            if kernel.accumulators:
                self.line(f"{name}_clear(kept);")
            self.line(f"{name}_pass({arguments}, {begin}, {end}, kept, scratch);")
            return
        self.line(f"int64_t from = {begin}, to;")
        self.line("char *into = kept;")
        # The first span joins nothing, also where there are no rows: it makes `kept`.
        with self.block("for (;; into = of_span, from = to)"):
            self.line(f"to = {end} - from > {rows} ? from + {rows} : {end};")
            self.line(f"{name}_clear(into);")
            self.line(f"{name}_pass({arguments}, from, to, into, scratch);")
            self.line(f"if (into != kept) {name}_join(kept, kept, into);")
            self.line(f"if (to == {end}) break;")

    def _each_finishes(self, kernel: TileKernel, arguments: str) -> None:
        name = kernel.name
        with self.block(""):
            self._rows(kernel)
            self.line("const size_t turn = (size_t)(step & 1) * KEPT;")
            self.line("char *kept = memory + turn;")
            self._pass(kernel, f"{arguments}, 0", "begin", "end")
            with self.block("if (threads > 1)"):
                self.line("barrier(call);")
                # Every thread joins in the order of the threads: all get the same bits.
                self.line("const char *before = call->memory + turn;")
                self.line("kept = memory + 2 * KEPT;")
                with self.block("for (int32_t other = 1; other < threads; other++)"):
                    self.line(
                        f"{name}_join(kept, before, "
                        "call->memory + (size_t)other * OF_A_THREAD + turn);"
                    )
                    self.line("before = kept;")
            self.line(f"{name}_finish({arguments}, 0, 0, 0, kept, scratch);")

    def _one_finishes(self, kernel: TileKernel, arguments: str) -> None:
        name = kernel.name
        with self.block(""):
            self.line("char *kept = memory;")
            if kernel.stream is not None:
                self._rows(kernel)
                self._pass(kernel, f"{arguments}, 0", "begin", "end")
                self.line("barrier(call);")
            if kernel.epilogue:
                with self.block("if (thread == 0)"):
                    if kernel.accumulators:
                        with self.block("for (int32_t other = 1; other < threads; other++)"):
                            self.line(
                                f"{name}_join(kept, kept, kept + (size_t)other * OF_A_THREAD);"
                            )
                    self.line(f"{name}_finish({arguments}, 0, 0, 0, kept, scratch);")
                self.line("barrier(call);")

    def _grid(self, kernel: TileKernel, arguments: str) -> None:
        name = kernel.name
        counts = [f"(({size_text(a.size)} + {a.block - 1}) / {a.block})" for a in kernel.grid]
        with self.block(f"for (int64_t g = thread; g < {' * '.join(counts)}; g += threads)"):
            self.line("char *kept = memory;")
            self.line("int64_t rest = g;")
            self.line(f"int64_t block[{len(counts)}];")
            for k in reversed(range(len(counts))):
                self.line(f"block[{k}] = rest % {counts[k]} * {kernel.grid[k].block};")
                self.line(f"rest /= {counts[k]};")
            if kernel.stream is not None:
                self._pass(kernel, f"{arguments}, block", "0", size_text(kernel.stream.size))
            elif kernel.accumulators:
                self.line(f"{name}_clear(kept);")
            if kernel.epilogue:
                self.line(f"{name}_finish({arguments}, block, 0, 0, kept, scratch);")
        self.line("barrier(call);")


def _times(count: int) -> str:
    return "" if count == 1 else f"{count} * "


def _position(names: Sequence[str], strides: Sequence[Size]) -> str:
    return " + ".join(f"{n} * {s}" for n, s in zip(names, strides, strict=True))
