"""C text from the loop IR: one translation unit, whose entry runs the steps of a call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from graphir.dtypes import DType
from graphir.sizes import Size

from .c_runtime import ENTRY, RUNTIME
from .loops import LoopKernel, Nest, Part, joined_innermost, lower_loops
from .program import BATCH, C_ENTRY, ROWS, Program
from .spelling import C_TYPES, bare, spell_c
from .tile import (
    Accumulator,
    Address,
    Axis,
    AxisRole,
    Contract,
    Fill,
    Load,
    Map,
    Position,
    Reduce,
    SizeOf,
    Statement,
    Store,
    Tile,
)

_HEADER = """#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define PARAMETERS void *const *buffers, const int64_t *sizes, int64_t step, \\
    const int64_t *block, int64_t begin, int64_t end, char *kept, char *scratch
"""


def print_c(program: Program) -> str:
    """The C text of a program; its entry is `program.C_ENTRY`."""
    printers = [_KernelPrinter(program, lower_loops(k)) for k in program.kernels]
    kept = max((p.kept_bytes for p in printers), default=0)
    scratch = max((p.scratch_bytes for p in printers), default=0)
    text = _HEADER + f"#define KEPT {kept}\n#define SCRATCH {scratch}\n"
    for p in printers:
        text += "\n" + p.text()
    return text + RUNTIME + _work(program, printers) + ENTRY.format(entry=C_ENTRY)


def _work(program: Program, printers: Sequence[_KernelPrinter]) -> str:
    """What each thread does: the steps, each kernel of a step, barriers between."""
    lines = ["", "static void work(call_t *call, int32_t thread) {"]
    lines.append("    const int64_t *sizes = call->sizes;")
    lines.append("    int32_t threads = call->threads;")
    lines.append("    char *kept = call->memory + (size_t)thread * KEPT;")
    lines.append(
        "    char *scratch = call->memory + (size_t)threads * KEPT + (size_t)thread * SCRATCH;"
    )
    lines.append("    for (int64_t step = call->first; step < call->last; step++) {")
    lines += [f"        {line}" for line in _sizes(program)]
    for p in printers:
        lines += [f"        {line}" for line in p.call_lines()]
    lines += ["    }", "}"]
    return "\n".join(lines) + "\n"


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


class _KernelPrinter:
    def __init__(self, program: Program, loops: LoopKernel) -> None:
        self.program, self.loops, self.kernel = program, loops, loops.kernel
        self.arrays = loops.arrays()
        self.accumulators = {acc.tile: acc for acc in self.kernel.accumulators}
        self.kept: dict[Tile, int] = {}
        self.kept_bytes = 0
        for acc in self.kernel.accumulators:
            self.kept[acc.tile] = self.kept_bytes
            self.kept_bytes += _aligned(_elements(acc.tile.axes) * acc.tile.dtype.itemsize)
        self.heap: dict[Tile, int] = {}
        self.scratch_bytes = 0
        for tile, array in self.arrays.items():
            if not array.on_stack:
                self.heap[tile] = self.scratch_bytes
                self.scratch_bytes += _aligned(array.elements * tile.dtype.itemsize)
        self.lines: list[str] = []
        self.depth = 0
        self.inline: dict[Tile, Statement] = {}
        self.local: set[Tile] = set()

    # -- the functions of a kernel ----------------------------------------------------------

    def text(self) -> str:
        """The kernel's functions: clear, pass, join and finish, as far as they are needed."""
        name, kernel = self.kernel.name, self.kernel
        if kernel.accumulators:
            self._clear_function()
            self._join_function()
        if kernel.stream is not None:
            self._open(f"static void {name}_pass(PARAMETERS) {{", kernel.body + kernel.preamble)
            self._declare_accumulators(scalars=True)
            self._part(self.loops.preamble)
            stream = kernel.stream
            i = stream.name
            self._line(f"for (int64_t {i}0 = begin; {i}0 < end; {i}0 += {stream.block}) {{")
            self.depth += 1
            self._line(
                f"const int64_t m_{i} = end - {i}0 < {stream.block} ? end - {i}0 : {stream.block};"
            )
            self._part(self.loops.body)
            self._close()
            for acc in kernel.accumulators:
                if not acc.tile.axes:
                    self._line(
                        f"*({self._kept_type(acc)} *)(kept + {self.kept[acc.tile]}) = "
                        f"{acc.tile.name};"
                    )
            self._close()
        if kernel.epilogue:
            self._open(f"static void {name}_finish(PARAMETERS) {{", kernel.epilogue)
            self._declare_accumulators(scalars=False)
            self._part(self.loops.epilogue)
            self._close()
        return "\n".join(self.lines) + "\n"

    def call_lines(self) -> list[str]:
        """The lines that run this kernel within a step."""
        name, kernel = self.kernel.name, self.kernel
        arguments = "call->buffers, sizes, step"
        if kernel.grid:
            return self._grid_lines(arguments)
        lines = ["{"]
        if kernel.stream is not None:
            size = _size(kernel.stream.size)
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
        counts = [f"(({_size(a.size)} + {a.block - 1}) / {a.block})" for a in kernel.grid]
        lines = [f"for (int64_t g = thread; g < {' * '.join(counts)}; g += threads) {{"]
        lines.append("    int64_t rest = g;")
        lines.append(f"    int64_t block[{len(counts)}];")
        for k in reversed(range(len(counts))):
            lines.append(f"    block[{k}] = rest % {counts[k]} * {kernel.grid[k].block};")
            lines.append(f"    rest /= {counts[k]};")
        if kernel.accumulators:
            lines.append(f"    {name}_clear(kept);")
        if kernel.stream is not None:
            size = _size(kernel.stream.size)
            lines.append(f"    {name}_pass({arguments}, block, 0, {size}, kept, scratch);")
        if kernel.epilogue:
            lines.append(f"    {name}_finish({arguments}, block, 0, 0, kept, scratch);")
        return [*lines, "}", "barrier(call);"]

    def _open(self, head: str, statements: Iterable[Statement]) -> None:
        self._line(head)
        self.depth += 1
        written = {s.address.buffer for s in statements if isinstance(s, Store)}
        read = {s.address.buffer for s in statements if isinstance(s, Load)}
        for k, buffer in enumerate(self.program.buffers):
            if buffer.name in written | read:
                constant = "" if buffer.name in written else "const "
                kind = f"{constant}{C_TYPES[buffer.dtype.name]}"
                self._line(f"{kind} *restrict const {buffer.name}_ptr = buffers[{k}];")
        for line in _sizes(self.program):
            self._line(line)
        for k, axis in enumerate(self.kernel.grid):
            n = axis.name
            self._line(f"const int64_t {n}0 = block[{k}];")
            self._line(
                f"const int64_t m_{n} = {_size(axis.size)} - {n}0 < {axis.block} ? "
                f"{_size(axis.size)} - {n}0 : {axis.block};"
            )

    def _close(self) -> None:
        self.depth -= 1
        self._line("}")

    def _kept_type(self, acc: Accumulator) -> str:
        return C_TYPES[acc.tile.dtype.name]

    def _declare_accumulators(self, *, scalars: bool) -> None:
        for acc in self.kernel.accumulators:
            kind, at = self._kept_type(acc), self.kept[acc.tile]
            if acc.tile.axes:
                self._line(f"{kind} *restrict const {acc.tile.name} = ({kind} *)(kept + {at});")
            else:
                self._line(
                    f"{'' if scalars else 'const '}{kind} {acc.tile.name} = "
                    f"*({kind} *)(kept + {at});"
                )

    def _clear_function(self) -> None:
        self._line(f"static void {self.kernel.name}_clear(char *kept) {{")
        self.depth += 1
        for acc in self.kernel.accumulators:
            kind = self._kept_type(acc)
            self._line(f"for (int64_t e = 0; e < {_elements(acc.tile.axes)}; e++)")
            self._line(
                f"    (({kind} *)(kept + {self.kept[acc.tile]}))[e] = "
                f"{_literal(acc.identity, acc.tile.dtype)};"
            )
        self._close()

    def _join_function(self) -> None:
        self._line(f"static void {self.kernel.name}_join(char *kept, const char *other) {{")
        self.depth += 1
        for acc in self.kernel.accumulators:
            kind, at = self._kept_type(acc), self.kept[acc.tile]
            self._line(f"for (int64_t e = 0; e < {_elements(acc.tile.axes)}; e++) {{")
            self._line(f"    {kind} *mine = ({kind} *)(kept + {at}) + e;")
            self._line(f"    const {kind} theirs = ((const {kind} *)(other + {at}))[e];")
            joined = spell_c(acc.op, acc.tile.dtype, acc.tile.dtype, "*mine", "theirs")
            self._line(f"    *mine = {bare(joined)};")
            self._line("}")
        self._close()

    def _line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    # -- nests ------------------------------------------------------------------------------

    def _part(self, part: Part) -> None:
        self.inline.update(part.inline)
        for tile, array in part.arrays.items():
            kind = C_TYPES[tile.dtype.name]
            if not array.axes:
                self._line(f"{kind} {tile.name};")
            elif array.on_stack:
                self._line(f"_Alignas(64) {kind} {tile.name}[{array.elements}];")
            else:
                self._line(
                    f"{kind} *restrict const {tile.name} = ({kind} *)(scratch + {self.heap[tile]});"
                )
        for nest in part.nests:
            self._nest(nest)

    def _extent(self, axis: Axis) -> str:
        return f"m_{axis.name}" if axis.role is not AxisRole.TILE else str(axis.block)

    def _loop(self, axis: Axis) -> None:
        n = axis.name
        if axis.role is AxisRole.TILE:
            self._line(f"for (int64_t {n} = 0; {n} < {axis.block}; {n}++) {{")
            self.depth += 1
        else:
            self._line(f"for (int64_t {n}_ = 0; {n}_ < m_{n}; {n}_++) {{")
            self.depth += 1
            self._line(f"const int64_t {n} = {n}0 + {n}_;")

    def _nest(self, nest: Nest) -> None:
        joins = [s for s in nest.statements if isinstance(s, (Reduce, Contract))]
        running = [s for s in joins if joined_innermost(nest, s) and s.out.axes]
        whole = [s for s in running if len(s.axes) == 1 and s.into is None]
        for join in joins:
            if join.into is None and join not in whole:
                self._start(join)
        for axis in nest.axes[:-1]:
            self._loop(axis)
        for join in running:
            start = _identity(join) if join in whole else self._place(join.out)
            self._line(f"{C_TYPES[join.out.dtype.name]} sum_{join.out.name} = {start};")
        if nest.axes:
            self._loop(nest.axes[-1])
        self.local = set()
        for s in nest.statements:
            self._statement(s, s in running)
        self.local = set()
        if nest.axes:
            self._close()
        for join in running:
            self._line(f"{self._place(join.out)} = sum_{join.out.name};")
        for _ in nest.axes[:-1]:
            self._close()

    def _start(self, s: Reduce | Contract) -> None:
        """Set what a sum is joined into to the identity."""
        value = _identity(s)
        if not s.out.axes:
            self._line(f"{s.out.name} = {value};")
            return
        array = self.arrays[s.out]
        for axis in array.axes:
            self._loop(axis)
        self._line(f"{self._place(s.out)} = {value};")
        for _ in array.axes:
            self._close()

    def _statement(self, s: Statement, running: bool) -> None:
        match s:
            case Map(out=out, op=op, args=args):
                text = spell_c(op, out.dtype, args[-1].dtype, *(self._value(a) for a in args))
                self._assign(out, bare(text))
            case Load(out=out, address=address):
                self._assign(out, self._read(address, out.dtype))
            case Store(value=value, address=address):
                self._line(f"{self._element(address)} = {self._value(value)};")
            case Reduce(out=out, source=source, op=op):
                self._join(out, op, self._value(source), running)
            case Contract(out=out, a=a, b=b):
                self._join(out, "add", f"{self._value(a)} * {self._value(b)}", running)

    def _assign(self, out: Tile, text: str) -> None:
        if out in self.arrays:
            self._line(f"{self._place(out)} = {text};")
            if out.axes:
                return
        else:
            self._line(f"const {C_TYPES[out.dtype.name]} {out.name} = {text};")
            self.local.add(out)

    def _join(self, out: Tile, op: str, text: str, running: bool) -> None:
        target = f"sum_{out.name}" if running else self._place(out)
        if op == "add":
            self._line(f"{target} += {text};")
        else:
            self._line(f"{target} = {bare(spell_c(op, out.dtype, out.dtype, target, text))};")

    # -- expressions ------------------------------------------------------------------------

    def _value(self, tile: Tile) -> str:
        """The value of `tile` at the present position of the loops."""
        source = self.inline.get(tile)
        match source:
            case None:
                return tile.name if tile in self.local else self._place(tile)
            case Fill(value=value):
                return _literal(value, tile.dtype)
            case SizeOf(size=size):
                return f"((int64_t){_size(size)})"
            case Position():
                return tile.axes[0].name
            case Map(args=(x,)):
                return self._value(x)
            case Load(address=address):
                return self._read(address, tile.dtype)
            case _:
                raise AssertionError(f"{source!r} is never inline")

    def _place(self, tile: Tile) -> str:
        """The element of an array or an accumulator."""
        if not tile.axes:
            return tile.name
        array = self.arrays.get(tile)
        axes = array.axes if array is not None else tile.axes
        text, stride = [], 1
        for axis in reversed(axes):
            local = axis.name if axis.role is AxisRole.TILE else f"{axis.name}_"
            text.append(local if stride == 1 else f"{local} * {stride}")
            stride *= axis.block
        return f"{tile.name}[{' + '.join(reversed(text))}]"

    def _read(self, address: Address, dtype: DType) -> str:
        conditions = []
        for term in address.terms:
            if term.length is not None:
                assert term.axis is not None
                place = f"({term.axis.name} - {term.shift})"
                if abs(term.step) != 1:
                    conditions.append(f"{place} % {abs(term.step)} == 0")
                conditions.append(f"{place} / {term.step} >= 0")
                conditions.append(f"{place} / {term.step} < {_size(term.length)}")
        element = self._element(address)
        if not conditions:
            return element
        return f"({' && '.join(conditions)} ? {element} : {_literal(0, dtype)})"

    def _element(self, address: Address) -> str:
        parts = [] if address.offset == 0 else [_size(address.offset)]
        for term in address.terms:
            if term.at is not None:
                text = self._value(term.at)
            else:
                assert term.axis is not None
                text = term.axis.name
            if term.shift:
                text = f"({text} - {term.shift})"
            if term.step != 1:
                text = f"({text} / {term.step})"
            parts.append(text if term.stride == 1 else f"{text} * {_size(term.stride)}")
        return f"{address.buffer}_ptr[{' + '.join(parts) or '0'}]"


def _identity(s: Reduce | Contract) -> str:
    return _literal(s.identity if isinstance(s, Reduce) else 0, s.out.dtype)


def _elements(axes: Sequence[Axis]) -> int:
    total = 1
    for axis in axes:
        total *= axis.block
    return total


def _size(size: Size) -> str:
    plain = size >= 0 if isinstance(size, int) else size.is_symbol
    return str(size) if plain else f"({size})"


def _literal(value: float | int | bool, dtype: DType) -> str:
    if not dtype.is_float:
        return f"INT64_C({int(value)})" if dtype.itemsize == 8 else str(int(value))
    number = float(np.asarray(value, dtype.numpy))
    if number != number:
        return "NAN"
    if number in (float("inf"), float("-inf")):
        return "INFINITY" if number > 0 else "(-INFINITY)"
    text = repr(number if dtype.name == "float64" else float(np.float32(number)))
    if dtype.name == "float32":
        # The shortest decimal that reads back as the same float.
        text = str(np.float32(number))
        text = text if any(c in text for c in ".en") else text + ".0"
    suffix = "" if dtype.name == "float64" else "f"
    literal = text + suffix
    return f"({literal})" if number < 0 or literal.startswith("-") else literal
