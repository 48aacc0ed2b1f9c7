"""Triton text from the tile IR. Every decision was made before: this file only spells."""

from __future__ import annotations

from collections.abc import Sequence

from graphir.dtypes import DType
from graphir.graph import Node
from graphir.sizes import Dim, Size

from .lines import node_of
from .program import (
    BATCH,
    PROGRAMS,
    ROWS,
    Buffer,
    Launch,
    Program,
    Role,
    TritonModule,
)
from .random_text import TRITON_RANDOM
from .spelling import TRITON_ABBREVIATIONS, TRITON_TYPES, bare, spell_dot, spell_triton
from .tile import (
    Accumulator,
    Address,
    Axis,
    AxisRole,
    Contract,
    Fill,
    Load,
    Map,
    Mask,
    Position,
    Reduce,
    SizeOf,
    Statement,
    Store,
    Tile,
    TileKernel,
)

_HEADER = """import triton
import triton.language as tl
from triton.language.extra import libdevice
"""
# Triton's own maximum and minimum of a tile drop NaN.
_EXTREMUM = """
@triton.jit
def reduce_{name}(x, axis: tl.constexpr):
    nan = tl.max((x != x).to(tl.int32), axis)
    return tl.where(nan != 0, float("nan"), tl.{short}(x, axis))
"""
# Triton has no product of a tile.
_PRODUCT = """
@triton.jit
def multiply(x, y):
    return x * y


@triton.jit
def reduce_mul(x, axis: tl.constexpr):
    return tl.reduce(x, axis, multiply)
"""
_REDUCERS = {"add": "tl.sum", "maximum": "tl.max", "minimum": "tl.min", "mul": "reduce_mul"}


def print_triton(program: Program) -> TritonModule:
    """The module that holds every kernel of `program`, and its launches in order."""
    printers = [_KernelPrinter(program, kernel) for kernel in program.kernels]
    bodies = [p.text() for p in printers]
    helpers = "".join(
        _EXTREMUM.format(name=name, short=short)
        for name, short in (("maximum", "max"), ("minimum", "min"))
        if any(f"reduce_{name}(" in body for body in bodies)
    )
    if any("reduce_mul(" in body for body in bodies):
        helpers += _PRODUCT
    if any("random_bits(" in body for body in bodies):
        helpers += TRITON_RANDOM
    source = _HEADER + helpers + "".join("\n\n" + body for body in bodies)
    marks: list[Node | None] = [None] * (_HEADER + helpers).count("\n")
    for p in printers:
        marks += [None, None, *p.marks]
    scratch = tuple(b for p in printers for b in p.scratch)
    return TritonModule(source, tuple(p.launch() for p in printers), scratch, tuple(marks))


class _KernelPrinter:
    def __init__(self, program: Program, kernel: TileKernel) -> None:
        self.program, self.kernel = program, kernel
        self.lines: list[str] = []
        self.marks: list[Node | None] = []
        self.depth = 0
        self.split = kernel.stream is not None and not kernel.grid
        self.scratch: list[Buffer] = []
        if self.split and kernel.accumulators:
            programs = Dim.symbol(PROGRAMS)
            for acc in kernel.accumulators:
                elements = _elements(acc.tile.axes)
                self.scratch.append(
                    Buffer(
                        f"{kernel.name}_{acc.tile.name}_parts",
                        acc.tile.dtype,
                        (programs, elements),
                        Role.SCRATCH,
                    )
                )
            self.scratch.append(Buffer(f"{kernel.name}_ticket", _INT32, (1,), Role.ZEROED))
        self.size_names = list(program.sizes)

    def launch(self) -> Launch:
        """How the kernel is called."""
        buffers = [self.program.buffer(name) for name in self.kernel.buffers] + self.scratch
        signature = {f"{b.name}_ptr": f"*{TRITON_ABBREVIATIONS[b.dtype.name]}" for b in buffers}
        scalars = self._scalars()
        signature.update(dict.fromkeys(scalars, "i64"))
        grid: tuple[tuple[Size, int], ...] = tuple((a.size, a.block) for a in self.kernel.grid)
        if not grid:
            grid = ((Dim.symbol(PROGRAMS) if self.split else 1, 1),)
        widest = max((_elements(t.axes) for t in _tiles(self.kernel)), default=1)
        return Launch(
            self.kernel.name,
            (*(b.name for b in buffers), *scalars),
            grid,
            num_warps=8 if widest >= 4096 else 4,
            num_stages=2,
            signature=signature,
        )

    def _scalars(self) -> list[str]:
        return self.size_names + (["first", "last"] if self.program.loop else [])

    # -- lines ------------------------------------------------------------------------------

    def _line(self, text: str, node: Node | None = None) -> None:
        self.lines.append("    " * self.depth + text if text else "")
        self.marks.append(node)

    def text(self) -> str:
        """The kernel's source."""
        kernel, loop = self.kernel, self.program.loop
        scalars = self._scalars()
        pointers = [f"{name}_ptr" for name in kernel.buffers]
        pointers += [f"{b.name}_ptr" for b in self.scratch]
        listed = ", ".join(repr(s) for s in scalars)
        self._line(f"@triton.jit(do_not_specialize=[{listed}])" if scalars else "@triton.jit")
        self._line(f"def {kernel.name}(")
        self.depth = 1
        for name in pointers:
            self._line(f"{name},")
        for name in scalars:
            self._line(f"{name}: tl.int64,")
        self.depth = 0
        self._line("):")
        self.depth = 1
        for dim, axis in enumerate(kernel.grid):
            self._line(
                f"{axis.name} = tl.program_id({dim}).to(tl.int64) * {axis.block} + "
                f"tl.arange(0, {axis.block})"
            )
        if self.split:
            self._line("pid = tl.program_id(0)")
            self._line("programs = tl.num_programs(0)")
        for axis in kernel.axes:
            if axis.role is AxisRole.TILE:
                self._line(f"{axis.name} = tl.arange(0, {axis.block})")
        if loop is None:
            self._step()
        else:
            self._line("for step in range(first, last):")
            self.depth += 1
            self._line(f"start = step * {BATCH}")
            self._line(f"{loop.dim} = tl.minimum({BATCH}, {ROWS} - start)")
            self._step()
            # The next step reads what this one wrote.
            self._line("tl.debug_barrier()")
            self.depth -= 1
        return "\n".join(self.lines) + "\n"

    def _step(self) -> None:
        kernel = self.kernel
        self._statements(kernel.preamble)
        for acc in kernel.accumulators:
            self._line(f"{acc.tile.name} = {_full(acc.tile, acc.identity)}", acc.tile.node)
        stream = kernel.stream
        if stream is not None:
            size = _size(stream.size)
            if self.split:
                self._line(
                    f"for block in range(pid * {stream.block}, {size}, programs * {stream.block}):"
                )
            else:
                self._line(f"for block in range(0, {size}, {stream.block}):")
            self.depth += 1
            self._line(f"{stream.name} = tl.cast(block, tl.int64) + tl.arange(0, {stream.block})")
            self._statements(kernel.body)
            self.depth -= 1
        if not kernel.epilogue:
            return
        if self.split and kernel.accumulators:
            self._combine(kernel.accumulators)
        elif self.split:
            self._line("if pid == 0:")
        self.depth += self.split
        self._statements(kernel.epilogue)
        self.depth -= self.split

    def _combine(self, accumulators: Sequence[Accumulator]) -> None:
        """The last program to arrive joins the partial results in the programs' order."""
        parts = dict(zip(accumulators, self.scratch, strict=False))
        for acc, buffer in parts.items():
            place = f"pid * {_elements(acc.tile.axes)}{_flat(acc.tile.axes)}"
            self._line(f"tl.store({buffer.name}_ptr + {place}, {acc.tile.name})")
        ticket = f"{self.scratch[-1].name}_ptr"
        self._line("tl.debug_barrier()")
        self._line(f'ticket = tl.atomic_add({ticket}, 1, sem="acq_rel")')
        self._line("if ticket == programs - 1:")
        self.depth += 1
        self._line(f"tl.store({ticket}, 0)")
        for acc in accumulators:
            self._line(f"{acc.tile.name} = {_full(acc.tile, acc.identity)}", acc.tile.node)
        self._line("for part in range(0, programs):")
        self.depth += 1
        for acc, buffer in parts.items():
            place = f"part * {_elements(acc.tile.axes)}{_flat(acc.tile.axes)}"
            joined = _join(acc, f"tl.load({buffer.name}_ptr + {place})")
            self._line(f"{acc.tile.name} = {joined}")
        self.depth -= 2

    # -- statements -------------------------------------------------------------------------

    def _statements(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            self._line(self._statement(statement), node_of(statement))

    def _statement(self, s: Statement) -> str:
        match s:
            case Load(out=out, address=address):
                mask = _mask(out.axes, address, out.axes)
                guard = f", mask={mask}, other=0" if mask else ""
                return f"{out.name} = tl.load({self._pointer(address, out.axes)}{guard})"
            case Store(value=value, address=address, axes=axes):
                mask = _mask(axes, address, axes)
                guard = f", mask={mask}" if mask else ""
                return f"tl.store({self._pointer(address, axes)}, {value.name}{guard})"
            case Fill(out=out, value=value):
                return f"{out.name} = {_full(out, value)}"
            case SizeOf(out=out, size=size):
                return f"{out.name} = tl.cast({_size(size)}, tl.int64)"
            case Position(out=out):
                return f"{out.name} = tl.cast({out.axes[0].name}, tl.int64)"
            case Map(out=out, op="copy", args=(x,)):
                return f"{out.name} = {_broadcast(x, out.axes)}"
            case Map(out=out, op=op, args=args):
                spread = [_spread(a.name, a.axes, out.axes) for a in args]
                text = bare(spell_triton(op, out.dtype, args[-1].dtype, *spread))
                return f"{out.name} = {text}"
            case Mask(out=out, source=source, axes=axes, value=value):
                inside = " & ".join(_inside(a, out.axes) for a in axes)
                return f"{out.name} = tl.where({inside}, {source.name}, {_literal(value)})"
            case Reduce(out=out, source=source, axes=axes, op=op, into=into):
                text = source.name
                for axis in sorted(axes, key=source.axes.index, reverse=True):
                    text = _reduced(op, source.dtype, text, source.axes.index(axis))
                return self._define(out, text, into)
            case Contract():
                return self._contract(s)

    def _define(self, out: Tile, text: str, into: Accumulator | None) -> str:
        if into is None:
            return f"{out.name} = {text}"
        return f"{out.name} = {_join(into, text)}"

    def _contract(self, s: Contract) -> str:
        if not s.dot:
            both = tuple(a for a in self.kernel.axes if a in s.a.axes or a in s.b.axes)
            text = f"{_spread(s.a.name, s.a.axes, both)} * {_spread(s.b.name, s.b.axes, both)}"
            for axis in sorted(s.axes, key=both.index, reverse=True):
                text = _reduced("add", s.out.dtype, text, both.index(axis))
            return self._define(s.out, text, s.into)
        left, right = (s.a, s.b) if s.out.axes[0] in s.a.axes else (s.b, s.a)
        (summed,) = s.axes
        x = left.name if left.axes[1] is summed else f"tl.trans({left.name})"
        y = right.name if right.axes[0] is summed else f"tl.trans({right.name})"
        chip = self.program.machine.chip
        assert chip is not None, "a matrix unit belongs to a chip"
        # A product adds to its accumulator by itself.
        acc = s.into.tile.name if s.into is not None else None
        product = spell_dot(x, y, s.a.dtype, s.precision, chip, acc)
        return f"{acc or s.out.name} = {product}"

    def _pointer(self, address: Address, axes: tuple[Axis, ...]) -> str:
        parts = [f"{address.buffer}_ptr"]
        if address.offset != 0:
            parts.append(_size(address.offset))
        for term in address.terms:
            if term.at is not None:
                text = _spread(term.at.name, term.at.axes, axes)
            else:
                assert term.axis is not None
                text = _spread(term.axis.name, (term.axis,), axes)
            if term.shift:
                text = f"({text} - {term.shift})"
            if term.step != 1:
                text = f"({text} // {term.step})"
            parts.append(text if term.stride == 1 else f"{text} * {_size(term.stride)}")
        return " + ".join(parts)


_INT32 = DType("int32", "i32", "i", 4)


def _tiles(kernel: TileKernel) -> list[Tile]:
    return [s.out for s in kernel.statements() if not isinstance(s, Store)]


def _elements(axes: Sequence[Axis]) -> int:
    total = 1
    for axis in axes:
        total *= axis.block
    return total


def _size(size: Size) -> str:
    plain = size >= 0 if isinstance(size, int) else size.is_symbol
    return str(size) if plain else f"({size})"


def _literal(value: float | int | bool) -> str:
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    return repr(value)


def _full(tile: Tile, value: float | int | bool) -> str:
    shape = ", ".join(str(a.block) for a in tile.axes)
    shape = f"({shape},)" if len(tile.axes) == 1 else f"({shape})"
    return f"tl.full({shape}, {_literal(value)}, {TRITON_TYPES[tile.dtype.name]})"


def _spread(name: str, have: tuple[Axis, ...], want: tuple[Axis, ...]) -> str:
    if not have or have == want:
        return name
    return f"{name}[{', '.join(':' if a in have else 'None' for a in want)}]"


def _broadcast(x: Tile, axes: tuple[Axis, ...]) -> str:
    shape = ", ".join(str(a.block) for a in axes) + ("," if len(axes) == 1 else "")
    if not x.axes:
        return f"tl.full(({shape}), {x.name}, {TRITON_TYPES[x.dtype.name]})" if axes else x.name
    return f"tl.broadcast_to({_spread(x.name, x.axes, axes)}, ({shape}))"


def _inside(axis: Axis, axes: tuple[Axis, ...]) -> str:
    return f"({_spread(axis.name, (axis,), axes)} < {_size(axis.size)})"


def _mask(ragged: Sequence[Axis], address: Address, axes: tuple[Axis, ...]) -> str:
    conditions = [_inside(a, axes) for a in ragged if a.ragged]
    for term in address.terms:
        if term.length is not None:
            assert term.axis is not None
            place = f"({_spread(term.axis.name, (term.axis,), axes)} - {term.shift})"
            if abs(term.step) != 1:
                conditions.append(f"({place} % {abs(term.step)} == 0)")
            conditions.append(f"({place} // {term.step} >= 0)")
            conditions.append(f"({place} // {term.step} < {_size(term.length)})")
    return " & ".join(conditions)


def _reduced(op: str, dtype: DType, text: str, axis: int) -> str:
    if op in ("maximum", "minimum") and dtype.is_float:
        return f"reduce_{op}({text}, {axis})"
    return f"{_REDUCERS[op]}({text}, {axis})"


def _join(acc: Accumulator, text: str) -> str:
    dtype = acc.tile.dtype
    return bare(spell_triton(acc.op, dtype, dtype, acc.tile.name, text))


def _flat(axes: tuple[Axis, ...]) -> str:
    """The place of each element of a tile in its partial result, as summands."""
    text = ""
    stride = 1
    for axis in reversed(axes):
        place = _spread(f"tl.arange(0, {axis.block})", (axis,), axes)
        text = f" + {place}" + (f" * {stride}" if stride != 1 else "") + text
        stride *= axis.block
    return text
