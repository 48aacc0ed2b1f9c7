"""The functions of a kernel in C from its loop IR: clear, pass, join and finish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from .c_expr import Expressions, literal, size_text
from .c_inner import InnerPrinter
from .c_nest import NestPrinter
from .c_outer import OuterPrinter
from .c_writer import Writer
from .loops import LoopKernel, Part
from .products import Product
from .program import BATCH, ROWS, Program
from .spelling import C_TYPES, bare, spell_c
from .tile import Accumulator, Axis, Load, Statement, Store, Tile


def size_lines(program: Program) -> list[str]:
    """Declarations of every size that expressions may name."""
    lines = [f"const int64_t {name} = sizes[{i}];" for i, name in enumerate(program.sizes)]
    if program.loop is not None:
        dim = program.loop.dim
        lines.append(f"const int64_t start = step * {BATCH};")
        lines.append(f"const int64_t {dim} = {ROWS} - start < {BATCH} ? {ROWS} - start : {BATCH};")
    return lines


def aligned(size: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-size // 64) * 64


class KernelPrinter(Writer):
    """Prints one kernel.

    Args:
        zeros_before: bytes of zeroed arrays of the kernels before this one.
        own: buffers of which each thread has a copy, which its `finish` brings up to date; what
            else `finish` writes is written by the first thread alone. None where only the first
            thread runs `finish`.
    """

    def __init__(
        self,
        program: Program,
        loops: LoopKernel,
        zeros_before: int,
        own: frozenset[str] | None = None,
    ) -> None:
        super().__init__()
        self.own, self.finishing = own, False
        self.program, self.loops, self.kernel = program, loops, loops.kernel
        self.arrays = loops.arrays()
        self.expr = Expressions(self.arrays)
        self.kept: dict[Tile, int] = {}
        self.kept_bytes = 0
        for tile, array in loops.kept.items():
            self.kept[tile] = self.kept_bytes
            self.kept_bytes += aligned(array.elements * tile.dtype.itemsize)
        self.heap: dict[Tile, str] = {}
        self.scratch_bytes, self.zero_bytes = 0, zeros_before
        for tile, array in self.arrays.items():
            size = aligned(array.elements * tile.dtype.itemsize)
            if tile in self.kept:
                continue
            if tile in loops.zeroed:
                self.heap[tile] = f"scratch + {self.zero_bytes}"
                self.zero_bytes += size
            elif not array.on_stack:
                self.heap[tile] = f"scratch + ZEROED + {self.scratch_bytes}"
                self.scratch_bytes += size

    # -- the functions of a kernel ----------------------------------------------------------

    def text(self) -> str:
        """The kernel's functions: clear, pass, join and finish, as far as they are needed."""
        name, kernel = self.kernel.name, self.kernel
        if kernel.accumulators:
            self._clear_function()
            self._join_function()
        if kernel.stream is not None:
            with self.block(f"static void {name}_pass(PARAMETERS)"):
                self._pass(kernel.stream)
        if kernel.epilogue:
            self.finishing = True
            with self.block(f"static void {name}_finish(PARAMETERS)"):
                self._declare(kernel.epilogue)
                self._declare_accumulators(scalars=False)
                self._declare_arrays(self.loops.epilogue)
                self._part(self.loops.epilogue)
        return "\n".join(self.lines) + "\n"

    def _pass(self, stream: Axis) -> None:
        kernel = self.kernel
        self._declare(kernel.body + kernel.preamble)
        self._declare_accumulators(scalars=True)
        self._declare_arrays(self.loops.preamble)
        self._part(self.loops.preamble)
        self._declare_arrays(self.loops.body)
        fresh = [acc for acc in kernel.accumulators if acc.tile in self.loops.fresh]
        if fresh:
            with self.block("if (begin >= end)"):
                for acc in fresh:
                    self._clear(acc)
        i = stream.name
        with self.block(f"for (int64_t {i}0 = begin; {i}0 < end; {i}0 += {stream.block})"):
            self.line(
                f"const int64_t m_{i} = end - {i}0 < {stream.block} ? end - {i}0 : {stream.block};"
            )
            if any(n.product is not None and n.product.prefetched for n in self.loops.body.nests):
                self._rows_ahead(stream)
            self._part(self.loops.body)
        for acc in kernel.accumulators:
            if not acc.tile.axes:
                self.line(f"*{self._kept_pointer(acc)} = {acc.tile.name};")

    def _rows_ahead(self, stream: Axis) -> None:
        """How far away this thread's next block is, and where rows end: for prefetches."""
        i, loop = stream.name, self.program.loop
        in_loop = loop is not None and not self.kernel.grid
        following = f"{BATCH} + begin - {i}0" if in_loop else str(stream.block)
        self.line(
            f"const int64_t ahead = {i}0 + {stream.block} < end ? {stream.block} : {following};"
        )
        self.line(f"const int64_t beyond = {f'{ROWS} - start' if in_loop else 'end'};")

    # -- declarations -----------------------------------------------------------------------

    def _declare(self, statements: Iterable[Statement]) -> None:
        """Pointers to the buffers that the statements touch, sizes, and the grid's block."""
        statements = list(statements)
        written = {s.address.buffer for s in statements if isinstance(s, Store)}
        read = {s.address.buffer for s in statements if isinstance(s, Load)}
        for k, buffer in enumerate(self.program.buffers):
            if buffer.name in written | read:
                constant = "" if buffer.name in written else "const "
                kind = f"{constant}{C_TYPES[buffer.dtype.name]}"
                self.line(f"{kind} *restrict const {buffer.name}_ptr = buffers[{k}];")
        for text in size_lines(self.program):
            self.line(text)
        for k, axis in enumerate(self.kernel.grid):
            n, size = axis.name, size_text(axis.size)
            self.line(f"const int64_t {n}0 = block[{k}];")
            self.line(
                f"const int64_t m_{n} = {size} - {n}0 < {axis.block} ? {size} - {n}0 : "
                f"{axis.block};"
            )

    def _kept_pointer(self, acc: Accumulator) -> str:
        return f"({C_TYPES[acc.tile.dtype.name]} *)(kept + {self.kept[acc.tile]})"

    def _declare_accumulators(self, *, scalars: bool) -> None:
        for acc in self.kernel.accumulators:
            kind, place = C_TYPES[acc.tile.dtype.name], self._kept_pointer(acc)
            if acc.tile.axes:
                self.line(f"{kind} *restrict const {acc.tile.name} = {place};")
            else:
                constant = "" if scalars else "const "
                self.line(f"{constant}{kind} {acc.tile.name} = *{place};")

    def _declare_arrays(self, part: Part) -> None:
        for tile, array in part.arrays.items():
            if tile in self.kept:
                continue
            kind = C_TYPES[tile.dtype.name]
            if not array.axes:
                self.line(f"{kind} {tile.name};")
            elif tile in self.heap:
                self.line(f"{kind} *restrict const {tile.name} = ({kind} *)({self.heap[tile]});")
            else:
                self.line(f"_Alignas(64) {kind} {tile.name}[{array.elements}];")

    def _clear_function(self) -> None:
        with self.block(f"static void {self.kernel.name}_clear(char *kept)"):
            for acc in self.kernel.accumulators:
                if acc.tile not in self.loops.fresh:
                    self._clear(acc)

    def _clear(self, acc: Accumulator) -> None:
        value = literal(acc.identity, acc.tile.dtype)
        with self._each_element(acc) as e:
            self.line(f"({self._kept_pointer(acc)})[{e}] = {value};")

    def _join_function(self) -> None:
        """`kept = a op b`; `kept` may be `a`."""
        head = f"static void {self.kernel.name}_join(char *kept, const char *a, const char *b)"
        with self.block(head):
            for acc in self.kernel.accumulators:
                kind, offset = C_TYPES[acc.tile.dtype.name], self.kept[acc.tile]
                with self._each_element(acc, simd=True) as e:
                    for side in "ab":
                        place = f"((const {kind} *)({side} + {offset}))[{e}]"
                        self.line(f"const {kind} {side}_e = {place};")
                    joined = spell_c(acc.op, acc.tile.dtype, acc.tile.dtype, "a_e", "b_e")
                    self.line(f"({self._kept_pointer(acc)})[{e}] = {bare(joined)};")

    @contextmanager
    def _each_element(self, acc: Accumulator, *, simd: bool = False) -> Iterator[str]:
        """The index in a loop over an accumulator's elements; without a loop, which takes the
        compiler time, where it is a number."""
        count = self.arrays[acc.tile].elements
        if count > 1 and simd:
            self.line("#pragma omp simd")
        with self.block(f"for (int64_t e = 0; e < {count}; e++)" if count > 1 else ""):
            yield "e" if count > 1 else "0"

    # -- nests ------------------------------------------------------------------------------

    def _part(self, part: Part) -> None:
        self.expr.inline.update(part.inline)
        for nest in part.nests:
            if nest.product is not None:
                form = InnerPrinter if nest.product.inner else OuterPrinter
                form(nest.product, self.expr, self, self._again(nest.product)).run()
            else:
                NestPrinter(nest, self.expr, self, self.loops.vector_bytes, self._shared()).run()

    def _shared(self) -> frozenset[str]:
        """The buffers that only the first thread may write here."""
        if self.own is None or not self.finishing:
            return frozenset()
        return frozenset(b.name for b in self.program.buffers) - self.own

    def _again(self, product: Product) -> str:
        """When a product adds to its accumulator: always, or in all blocks but the first."""
        stream = self.kernel.stream
        if stream is None or product.statement.out not in self.loops.fresh:
            return ""
        return f"{stream.name}0 != begin"
