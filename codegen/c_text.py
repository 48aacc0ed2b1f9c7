"""C text from the loop IR: one translation unit, whose entry runs the steps of a call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from graphir.dtypes import float32, float64

from .blocking import lower_loops
from .c_expr import Expressions, literal, size_text
from .c_math import math_prelude, used_functions
from .c_product import ProductPrinter, Writer
from .c_runtime import ENTRY, RUNTIME
from .c_vector import vector_prelude
from .loops import LoopKernel, Nest, Part
from .program import BATCH, C_ENTRY, ROWS, Program
from .resident import Resident, choose_residents
from .spelling import C_TYPES, bare, spell_c
from .tile import Accumulator, Axis, Contract, Load, Map, Reduce, Statement, Store, Tile
from .views import row_major

_HEADER = """#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PARAMETERS void *const *buffers, const int64_t *sizes, int64_t step, \\
    const int64_t *block, int64_t begin, int64_t end, char *kept, char *scratch
"""


def print_c(program: Program) -> str:
    """The C text of a program; its entry is `program.C_ENTRY`."""
    width = program.machine.vector_bytes
    plain = [lower_loops(k, width, {}) for k in program.kernels]
    residents = choose_residents(program, [k.wanted for k in plain])
    loops = [lower_loops(k, width, residents) for k in program.kernels] if residents else plain
    printers = [_KernelPrinter(program, k) for k in loops]
    kept = max((p.kept_bytes for p in printers), default=0)
    scratch = max((p.scratch_bytes for p in printers), default=0)
    kernels = "".join("\n" + p.text() for p in printers)
    return (
        _HEADER
        + f"#define KEPT {kept}\n#define SCRATCH {scratch}\n"
        + f"#define RESIDENT {sum(_resident_bytes(r) for r in residents.values())}\n"
        + math_prelude(used_functions(kernels))
        + vector_prelude(kernels, (float32, float64))
        + kernels
        + RUNTIME
        + _work(program, printers, list(residents.values()))
        + ENTRY.format(entry=C_ENTRY)
    )


def _work(
    program: Program, printers: Sequence[_KernelPrinter], residents: Sequence[Resident]
) -> str:
    """What each thread does: the steps, each kernel of a step, barriers between."""
    out = Writer()
    out.line("")
    with out.block("static void work(call_t *call, int32_t thread)"):
        out.line("const int64_t *sizes = call->sizes;")
        out.line("int32_t threads = call->threads;")
        out.line("char *kept = call->memory + (size_t)thread * KEPT;")
        out.line(
            "char *scratch = call->memory + (size_t)threads * KEPT + (size_t)thread * SCRATCH;"
        )
        buffers = "call->buffers"
        if residents:
            buffers = "places"
            _move_in(out, program, residents)
        with out.block("for (int64_t step = call->first; step < call->last; step++)"):
            for text in _sizes(program):
                out.line(text)
            for printer in printers:
                for text in printer.call_lines(buffers):
                    out.line(text)
        if residents:
            with out.block("if (thread == 0)"):
                for resident in residents:
                    _copy(out, program, resident, back=True)
    return "\n".join(out.lines) + "\n"


def _move_in(out: Writer, program: Program, residents: Sequence[Resident]) -> None:
    """Parameters that keep a layout of their own until the call ends."""
    out.line(f"void *places[{len(program.buffers)}];")
    out.line("memcpy(places, call->buffers, sizeof places);")
    offset = 0
    for resident in residents:
        place = "call->memory + (size_t)threads * (KEPT + SCRATCH)"
        out.line(f"places[{_position(program, resident)}] = {place} + {offset};")
        offset += _resident_bytes(resident)
    with out.block("if (thread == 0)"):
        for resident in residents:
            _copy(out, program, resident, back=False)
    out.line("barrier(call);")


def _position(program: Program, resident: Resident) -> int:
    return program.buffers.index(resident.buffer)


def _copy(out: Writer, program: Program, resident: Resident, *, back: bool) -> None:
    """Copy a parameter to its layout, zeros in the padding, or back."""
    k, kind = _position(program, resident), C_TYPES[resident.buffer.dtype.name]
    with out.block(""):
        out.line(f"{kind} *inside = places[{k}], *outside = call->buffers[{k}];")
        if not back:
            out.line(f"memset(inside, 0, {_resident_bytes(resident)});")
        names = [f"d{d}" for d in range(len(resident.shape))]
        with ExitStack() as loops:
            for name, count in zip(names, resident.shape, strict=True):
                head = f"for (int64_t {name} = 0; {name} < {count}; {name}++)"
                loops.enter_context(out.block(head))
            own = row_major(resident.shape)
            there = " + ".join(f"{n} * {s}" for n, s in zip(names, resident.strides, strict=True))
            here = " + ".join(f"{n} * {s}" for n, s in zip(names, own, strict=True))
            pair = (f"outside[{here}]", f"inside[{there}]")
            out.line(f"{pair[0]} = {pair[1]};" if back else f"{pair[1]} = {pair[0]};")


def _resident_bytes(resident: Resident) -> int:
    return _aligned(resident.elements * resident.buffer.dtype.itemsize)


def _sizes(program: Program) -> list[str]:
    """Declarations of every size that expressions may name."""
    lines = [f"const int64_t {name} = sizes[{i}];" for i, name in enumerate(program.sizes)]
    if program.loop is not None:
        dim = program.loop.dim
        lines.append(f"const int64_t start = step * {BATCH};")
        lines.append(f"const int64_t {dim} = {ROWS} - start < {BATCH} ? {ROWS} - start : {BATCH};")
    return lines


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


class _KernelPrinter(Writer):
    def __init__(self, program: Program, loops: LoopKernel) -> None:
        super().__init__()
        self.program, self.loops, self.kernel = program, loops, loops.kernel
        self.arrays = loops.arrays()
        self.expr = Expressions(self.arrays)
        self.kept: dict[Tile, int] = {}
        self.kept_bytes = 0
        for tile, array in loops.kept.items():
            self.kept[tile] = self.kept_bytes
            self.kept_bytes += _aligned(array.elements * tile.dtype.itemsize)
        self.heap: dict[Tile, int] = {}
        self.scratch_bytes = 0
        for tile, array in self.arrays.items():
            if tile not in self.kept and not array.on_stack:
                self.heap[tile] = self.scratch_bytes
                self.scratch_bytes += _aligned(array.elements * tile.dtype.itemsize)

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
        i = stream.name
        with self.block(f"for (int64_t {i}0 = begin; {i}0 < end; {i}0 += {stream.block})"):
            self.line(
                f"const int64_t m_{i} = end - {i}0 < {stream.block} ? end - {i}0 : {stream.block};"
            )
            self._part(self.loops.body)
        for acc in kernel.accumulators:
            if not acc.tile.axes:
                self.line(f"*{self._kept_pointer(acc)} = {acc.tile.name};")

    def call_lines(self, buffers: str) -> list[str]:
        """The lines that run this kernel within a step."""
        name, kernel = self.kernel.name, self.kernel
        arguments = f"{buffers}, sizes, step"
        if kernel.grid:
            return self._grid_lines(arguments)
        lines = ["{"]
        if kernel.stream is not None:
            size = size_text(kernel.stream.size)
            lines.append(f"    const int64_t begin = {size} * thread / threads;")
            lines.append(f"    const int64_t end = {size} * (thread + 1) / threads;")
            if kernel.accumulators:
                lines.append(f"    {name}_clear(kept);")
            lines.append(f"    {name}_pass({arguments}, 0, begin, end, kept, scratch);")
            lines.append("    barrier(call);")
        if kernel.epilogue:
            lines.append("    if (thread == 0) {")
            if kernel.accumulators:
                lines.append("        for (int32_t other = 1; other < threads; other++)")
                lines.append(f"            {name}_join(kept, kept + (size_t)other * KEPT);")
            lines.append(f"        {name}_finish({arguments}, 0, 0, 0, kept, scratch);")
            lines.append("    }")
            lines.append("    barrier(call);")
        return [*lines, "}"]

    def _grid_lines(self, arguments: str) -> list[str]:
        name, kernel = self.kernel.name, self.kernel
        counts = [f"(({size_text(a.size)} + {a.block - 1}) / {a.block})" for a in kernel.grid]
        lines = [f"for (int64_t g = thread; g < {' * '.join(counts)}; g += threads) {{"]
        lines.append("    int64_t rest = g;")
        lines.append(f"    int64_t block[{len(counts)}];")
        for k in reversed(range(len(counts))):
            lines.append(f"    block[{k}] = rest % {counts[k]} * {kernel.grid[k].block};")
            lines.append(f"    rest /= {counts[k]};")
        if kernel.accumulators:
            lines.append(f"    {name}_clear(kept);")
        if kernel.stream is not None:
            size = size_text(kernel.stream.size)
            lines.append(f"    {name}_pass({arguments}, block, 0, {size}, kept, scratch);")
        if kernel.epilogue:
            lines.append(f"    {name}_finish({arguments}, block, 0, 0, kept, scratch);")
        return [*lines, "}", "barrier(call);"]

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
        for text in _sizes(self.program):
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
            zero = " = {0}" if array.padded else ""
            if not array.axes:
                self.line(f"{kind} {tile.name};")
            elif array.on_stack:
                self.line(f"_Alignas(64) {kind} {tile.name}[{array.elements}]{zero};")
            else:
                place = f"({kind} *)(scratch + {self.heap[tile]})"
                self.line(f"{kind} *restrict const {tile.name} = {place};")
                if zero:
                    self.line(f"memset({tile.name}, 0, sizeof({kind}) * {array.elements});")

    def _clear_function(self) -> None:
        with self.block(f"static void {self.kernel.name}_clear(char *kept)"):
            for acc in self.kernel.accumulators:
                count = self.arrays[acc.tile].elements
                with self.block(f"for (int64_t e = 0; e < {count}; e++)"):
                    value = literal(acc.identity, acc.tile.dtype)
                    self.line(f"({self._kept_pointer(acc)})[e] = {value};")

    def _join_function(self) -> None:
        with self.block(f"static void {self.kernel.name}_join(char *kept, const char *other)"):
            for acc in self.kernel.accumulators:
                kind = C_TYPES[acc.tile.dtype.name]
                count = self.arrays[acc.tile].elements
                with self.block(f"for (int64_t e = 0; e < {count}; e++)"):
                    self.line(f"{kind} *mine = {self._kept_pointer(acc)} + e;")
                    offset = self.kept[acc.tile]
                    self.line(f"const {kind} theirs = ((const {kind} *)(other + {offset}))[e];")
                    joined = spell_c(acc.op, acc.tile.dtype, acc.tile.dtype, "*mine", "theirs")
                    self.line(f"*mine = {bare(joined)};")

    # -- nests ------------------------------------------------------------------------------

    def _part(self, part: Part) -> None:
        self.expr.inline.update(part.inline)
        for nest in part.nests:
            if nest.product is not None:
                ProductPrinter(nest.product, self.expr, self).run()
            else:
                self._nest(nest)

    def _nest(self, nest: Nest) -> None:
        joins = [s for s in nest.statements if isinstance(s, (Reduce, Contract))]
        inner = nest.axes[-1] if nest.axes else None
        running = [s for s in joins if inner in s.axes and s.out.axes]
        whole = [s for s in running if len(s.axes) == 1 and s.into is None]
        for join in joins:
            if join.into is None and join not in whole:
                self._start(join)
        with ExitStack() as loops:
            for axis in nest.axes[:-1]:
                loops.enter_context(self.loop(axis))
            for join in running:
                start = _identity(join) if join in whole else self.expr.place(join.out)
                self.line(f"{C_TYPES[join.out.dtype.name]} sum_{join.out.name} = {start};")
            with ExitStack() as innermost:
                if inner is not None:
                    sums = [
                        self._target(s, running)
                        for s in joins
                        if inner in s.axes and _operator(s) == "add"
                    ]
                    self._vectorise(nest, inner, sums)
                    innermost.enter_context(self.loop(inner))
                self.expr.local = set()
                for s in nest.statements:
                    self._statement(s, running)
                self.expr.local = set()
            for join in running:
                self.line(f"{self.expr.place(join.out)} = sum_{join.out.name};")

    def _vectorise(self, nest: Nest, inner: Axis, sums: list[str]) -> None:
        """Ask for vectors, whose sums may be taken in any fixed order."""
        if any(
            isinstance(s, (Reduce, Contract)) and inner in s.axes and _operator(s) != "add"
            for s in nest.statements
        ):
            return
        reduction = f" reduction(+:{', '.join(sums)})" if sums else ""
        self.line(f"#pragma omp simd{reduction}")

    def _target(self, s: Reduce | Contract, running: Sequence[Reduce | Contract]) -> str:
        return f"sum_{s.out.name}" if s in running else self.expr.place(s.out)

    def _start(self, s: Reduce | Contract) -> None:
        """Set what a sum is joined into to the identity."""
        if not s.out.axes:
            self.line(f"{s.out.name} = {_identity(s)};")
            return
        with ExitStack() as loops:
            for axis in self.arrays[s.out].axes:
                loops.enter_context(self.loop(axis))
            self.line(f"{self.expr.place(s.out)} = {_identity(s)};")

    def _statement(self, s: Statement, running: Sequence[Reduce | Contract]) -> None:
        value = self.expr.value
        match s:
            case Map(out=out, op=op, args=args):
                text = spell_c(op, out.dtype, args[-1].dtype, *(value(a) for a in args))
                self._assign(out, bare(text))
            case Load(out=out, address=address):
                self._assign(out, self.expr.read(address, out.dtype))
            case Store(value=stored, address=address):
                self.line(f"{self.expr.element(address)} = {value(stored)};")
            case Reduce(out=out, source=source, op=op):
                self._join(self._target(s, running), out, op, value(source))
            case Contract(out=out, a=a, b=b):
                self._join(self._target(s, running), out, "add", f"{value(a)} * {value(b)}")

    def _assign(self, out: Tile, text: str) -> None:
        if out not in self.arrays:
            self.line(f"const {C_TYPES[out.dtype.name]} {out.name} = {text};")
            self.expr.local.add(out)
        else:
            self.line(f"{self.expr.place(out)} = {text};")

    def _join(self, target: str, out: Tile, op: str, text: str) -> None:
        if op == "add":
            self.line(f"{target} += {text};")
        else:
            self.line(f"{target} = {bare(spell_c(op, out.dtype, out.dtype, target, text))};")


def _operator(s: Reduce | Contract) -> str:
    return s.op if isinstance(s, Reduce) else "add"


def _identity(s: Reduce | Contract) -> str:
    return literal(s.identity if isinstance(s, Reduce) else 0, s.out.dtype)
