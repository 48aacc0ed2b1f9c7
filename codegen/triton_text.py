"""Triton text from the tile IR. Every decision was made before: this file only spells."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphir.dtypes import DType, int64
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
    Loop,
    Map,
    Mask,
    Position,
    Reduce,
    SizeOf,
    Statement,
    Store,
    Term,
    Tile,
    TileKernel,
    operands,
)

DONE = "done"
"""The buffer of one int64 that holds, on the device, the steps done before a launch: a CUDA graph
of one step can be put on the stream again and again."""
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
# The programs of a cooperative grid wait for one another: `arrived` counts all that ever came.
_MEET = """
@triton.jit
def meet(arrived_ptr, expected):
    tl.debug_barrier()
    arrived = tl.atomic_add(arrived_ptr, 1, sem="acq_rel") + 1
    while arrived < expected:
        arrived = tl.atomic_add(arrived_ptr, 0, sem="acq_rel")
    tl.debug_barrier()
"""
_REDUCERS = {"add": "tl.sum", "maximum": "tl.max", "minimum": "tl.min", "mul": "reduce_mul"}


def print_triton(program: Program) -> TritonModule:
    """The module that holds every kernel of `program`, and its launches in order."""
    return join_texts([KernelPrinter(program, kernel) for kernel in program.kernels])


def join_texts(printers: Sequence[KernelPrinter]) -> TritonModule:
    """The module of these kernels, with the functions that they call."""
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
    if any("meet(" in body for body in bodies):
        helpers += _MEET
    source = _HEADER + helpers + "".join("\n\n" + body for body in bodies)
    marks: list[Node | None] = [None] * (_HEADER + helpers).count("\n")
    for p in printers:
        marks += [None, None, *p.marks]
    scratch = tuple(dict.fromkeys(b for p in printers for b in p.scratch))
    return TritonModule(source, tuple(p.launch() for p in printers), scratch, tuple(marks))


class KernelPrinter:
    """The text of one kernel, and how it is launched."""

    def __init__(self, program: Program, kernel: TileKernel) -> None:
        self.program, self.kernel = program, kernel
        self.lines: list[str] = []
        self.marks: list[Node | None] = []
        self.depth = 0
        self.split = kernel.stream is not None and not kernel.grid
        self.scratch: list[Buffer] = []
        self.ticket = ""
        if self.split and kernel.accumulators:
            programs = Dim.symbol(PROGRAMS)
            for acc in kernel.accumulators:
                elements = _held(acc.tile.axes)
                self.scratch.append(
                    Buffer(
                        f"{kernel.name}_{acc.tile.name}_parts",
                        acc.tile.dtype,
                        (programs, elements),
                        Role.SCRATCH,
                    )
                )
            # One for all programs and, where they are joined in groups, one a group.
            tickets: tuple[Size, ...] = (programs + 1,) if kernel.tuning.fan else (1,)
            self.scratch.append(Buffer(f"{kernel.name}_ticket", _INT32, tickets, Role.ZEROED))
            self.ticket = f"{self.scratch[-1].name}_ptr"
        if program.loop is not None:
            self.scratch.append(Buffer(DONE, int64, (1,), Role.ZEROED))
        self.size_names = list(program.sizes)
        self.piece: int | None = None  # of an unrolled loop over chunks

    def launch(self) -> Launch:
        """How the kernel is called."""
        buffers = [self.program.buffer(name) for name in self.kernel.buffers] + self.scratch
        signature = {f"{b.name}_ptr": f"*{TRITON_ABBREVIATIONS[b.dtype.name]}" for b in buffers}
        scalars = self._scalars()
        signature.update(dict.fromkeys(scalars, "i64"))
        grid: tuple[tuple[Size, int], ...] = tuple((a.size, a.block) for a in self.kernel.grid)
        if not grid:
            grid = ((Dim.symbol(PROGRAMS) if self.split else 1, 1),)
        return Launch(
            self.kernel.name,
            (*(b.name for b in buffers), *scalars),
            grid,
            num_warps=self.kernel.tuning.warps,
            num_stages=self.kernel.tuning.stages,
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
        kernel = self.kernel
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
        self._steps()
        return "\n".join(self.lines) + "\n"

    def _steps(self) -> None:
        """The kernel's own lines: a step, or the loop over steps."""
        kernel, loop = self.kernel, self.program.loop
        self._shared_axes()
        if self.split:
            self._line("pid = tl.program_id(0)")
            self._line("programs = tl.num_programs(0)")
        for axis in kernel.axes:
            if axis.role is AxisRole.TILE:
                self._line(f"{axis.name} = tl.arange(0, {axis.block})")
        if loop is None:
            self._step()
            return
        self._line(f"{DONE} = tl.load({DONE}_ptr)")
        bounds = f"{DONE} + first, {DONE} + last"
        self._line(f"for step in {range_text(bounds, hoists=kernel.tuning.hoists)}:")
        self.depth += 1
        self._line(f"start = step * {BATCH}")
        self._line(f"{loop.dim} = tl.minimum({BATCH}, {ROWS} - start)")
        self._step()
        # The next step reads what this one wrote.
        self._line("tl.debug_barrier()")
        self.depth -= 1

    def _shared_axes(self) -> None:
        """The places along the axes that programs share out."""
        grid = self.kernel.grid
        programs = [f"tl.program_id({dim})" for dim in range(len(grid))]
        group = self.kernel.tuning.group
        if group:
            first, second = (f"{axis.name}_block" for axis in grid)
            counts = "tl.num_programs(1), tl.num_programs(0)"
            self._line(
                f"{second}, {first} = tl.swizzle2d({programs[1]}, {programs[0]}, {counts}, {group})"
            )
            programs = [first, second]
        for axis, program in zip(grid, programs, strict=True):
            if isinstance(axis.size, Dim):
                program += ".to(tl.int64)"
            self._line(f"{axis.name} = {program} * {axis.block} + tl.arange(0, {axis.block})")

    def _step(self) -> None:
        kernel = self.kernel
        self._part("preamble", kernel.preamble)
        self._start_sums()
        stream = kernel.stream
        if stream is not None:
            size = size_text(stream.size)
            # Only innermost loops are pipelined.
            stages = 1 if any(x.part == "body" for x in kernel.loops) else kernel.tuning.stages
            bounds = f"0, {size}, {stream.block}"
            if self.split:
                bounds = f"pid * {stream.block}, {size}, programs * {stream.block}"
            self._block_loop(stream, range_text(bounds, stages, kernel.tuning.hoists))
        if not kernel.epilogue:
            return
        nested = 0
        if self.split and kernel.accumulators:
            nested = self._combine(kernel.accumulators)
        elif self.split:
            self._line("if pid == 0:")
            self.depth += 1
            nested = 1
        self._part("epilogue", kernel.epilogue)
        self.depth -= nested

    def _start_sums(self) -> None:
        for acc in self.kernel.accumulators:
            for tile in acc.pieces or (acc.tile,):
                self._line(f"{tile.name} = {full(tile, acc.identity)}", tile.node)

    def _block_loop(self, stream: Axis, blocks: str) -> None:
        self._line(f"for block in {blocks}:")
        self.depth += 1
        # A number in the interpreter has no type.
        start = "tl.cast(block, tl.int64)" if isinstance(stream.size, Dim) else "block"
        self._line(f"{stream.name} = {start} + tl.arange(0, {stream.block})")
        self._part("body", self.kernel.body)
        self.depth -= 1

    def _part(self, part: str, statements: Sequence[Statement]) -> None:
        done = 0
        for loop in self.kernel.loops:
            if loop.part == part:
                self._statements(statements[done : loop.start])
                self._loop(loop, statements[loop.start : loop.stop])
                done = loop.stop
        self._statements(statements[done:])

    def _loop(self, loop: Loop, statements: Sequence[Statement]) -> None:
        axis = loop.axis
        for acc in loop.accumulators:
            self._line(f"{acc.tile.name} = {full(acc.tile, acc.identity)}", acc.tile.node)
        if loop.unrolled:
            for piece in range(axis.blocks):
                self.piece = piece
                start = f"{piece * axis.block} + " if piece else ""
                self._line(f"{axis.name} = {start}tl.arange(0, {axis.block})")
                self._statements(statements)
            self.piece = None
            return
        stages = self.kernel.tuning.stages if loop.part == "body" else 1
        self._line(f"for chunk in {range_text(f'0, {axis.size}, {axis.block}', stages)}:")
        self.depth += 1
        self._line(f"{axis.name} = chunk + tl.arange(0, {axis.block})")
        if loop.part == "epilogue":
            read = {t for s in statements for t in operands(s)}
            parts = [a for a in self.kernel.accumulators if a.pieces and a.tile in read]
            if parts:
                self._join_parts(parts, "0", "programs", self.kernel.tuning.fan or 1)
        self._statements(statements)
        self.depth -= 1

    def _combine(self, accumulators: Sequence[Accumulator]) -> int:
        """Partial results are joined in the programs' order by the last program to arrive; where
        they are many, first those of a group by the last of the group. Returns how deep the rest
        is nested."""
        for acc in accumulators:
            for piece, tile in enumerate(acc.pieces or (acc.tile,)):
                place = part_place("pid", tile.axes, tile.axes, piece)
                self._line(f"tl.store({self._parts_of(acc)} + {place}, {tile.name})")
        ticket, fan = self.ticket, self.kernel.tuning.fan
        whole = [acc for acc in accumulators if not acc.pieces]
        if fan:
            self._line(f"group = pid // {fan}")
            self._line(f"members = tl.minimum({fan}, programs - group * {fan})")
            self._arrive(f"{ticket} + 1 + group", "members - 1")
            self._join_group(whole, fan)
            for acc in accumulators:
                if acc.pieces:
                    (axis,) = (a for a in acc.tile.axes if a.role is AxisRole.CHUNK)
                    self._line(f"for chunk in {range_text(f'0, {axis.size}, {axis.block}')}:")
                    self.depth += 1
                    self._line(f"{axis.name} = chunk + tl.arange(0, {axis.block})")
                    self._join_group([acc], fan)
                    self.depth -= 1
        self._arrive(ticket, f"(programs - 1) // {fan}" if fan else "programs - 1")
        self._join_parts(whole, "0", "programs", fan or 1)
        return 2 if fan else 1

    def _join_group(self, accumulators: Sequence[Accumulator], fan: int) -> None:
        """The partial results of a group become one, in the place of its first."""
        for acc in accumulators:
            self._join_parts([acc], f"group * {fan}", f"group * {fan} + members", 1)
            # All threads have read what is now written.
            self._line("tl.debug_barrier()")
            place = part_place(f"group * {fan}", acc.tile.axes, acc.tile.axes)
            self._line(f"tl.store({self._parts_of(acc)} + {place}, {acc.tile.name})")

    def _arrive(self, ticket: str, last: str) -> None:
        """Only the last to draw a ticket goes on; all that the others stored is then there."""
        self._line("tl.debug_barrier()")
        self._line(f'ticket = tl.atomic_add({ticket}, 1, sem="acq_rel")')
        self._line(f"if ticket == {last}:")
        self.depth += 1
        self._line(f"tl.store({ticket}, 0)")

    def _join_parts(
        self, accumulators: Sequence[Accumulator], start: str, end: str, step: int
    ) -> None:
        """Join every `step`-th partial result, several at a time."""
        at_once: dict[int, list[Accumulator]] = {}
        for acc in accumulators:
            self._line(f"{acc.tile.name} = {full(acc.tile, acc.identity)}", acc.tile.node)
            at_once.setdefault(acc.at_once, []).append(acc)
        for count, some in at_once.items():
            # Names of their own: a variable keeps its type through the loop over steps.
            name = "part" if count == 1 else f"parts_{count}"
            loop = "part" if count == 1 else "base"
            bounds = f"{start}, {end}, {count * step}"
            self._line(f"for {loop} in {range_text(bounds, 3 if count == 1 else 1)}:")
            self.depth += 1
            if count > 1:
                every = f" * {step}" if step > 1 else ""
                self._line(f"{name} = base + tl.arange(0, {count}){every}")
            for acc in some:
                self._line(f"{acc.tile.name} = {self._join_some(acc, name, count, end)}")
            self.depth -= 1

    def _join_some(self, acc: Accumulator, name: str, count: int, end: str) -> str:
        parts, tile = self._parts_of(acc), acc.tile
        if count == 1:
            place = f"{parts} + {part_place(name, tile.axes, tile.axes)}"
            return _join(acc, tile.name, f"tl.load({place})")
        number = Axis(-1, name, 0, AxisRole.TILE, count)
        axes = (number, *tile.axes)
        numbers = spread(name, (number,), axes)
        place = f"{parts} + {part_place(numbers, tile.axes, axes)}"
        read = f"tl.load({place}, mask={numbers} < {end}, other={literal(acc.identity)})"
        return _join(acc, tile.name, reduced(acc.op, tile.dtype, read, 0))

    def _parts_of(self, acc: Accumulator) -> str:
        return f"{self.scratch[self.kernel.accumulators.index(acc)].name}_ptr"

    # -- statements -------------------------------------------------------------------------

    def _statements(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            self._line(self._statement(statement), node_of(statement))

    def _statement(self, s: Statement) -> str:
        match s:
            case Load(out=out, address=address):
                mask = self._mask(address, out.axes)
                guard = f", mask={mask}, other=0" if mask else ""
                return f"{out.name} = tl.load({self._pointer(address, out.axes)}{guard})"
            case Store(value=value, address=address, axes=axes):
                mask = self._mask(address, axes)
                guard = f", mask={mask}" if mask else ""
                return f"tl.store({self._pointer(address, axes)}, {value.name}{guard})"
            case Fill(out=out, value=value):
                return f"{out.name} = {full(out, value)}"
            case SizeOf(out=out, size=size):
                return f"{out.name} = tl.cast({size_text(size)}, tl.int64)"
            case Position(out=out):
                return f"{out.name} = tl.cast({out.axes[0].name}, tl.int64)"
            case Map(out=out, op="copy", args=(x,)):
                return f"{out.name} = {_broadcast(x, out.axes)}"
            case Map(out=out, op=op, args=args):
                along = [spread(a.name, a.axes, out.axes) for a in args]
                text = bare(spell_triton(op, out.dtype, args[-1].dtype, *along))
                return f"{out.name} = {text}"
            case Mask(out=out, source=source, axes=axes, value=value):
                inside = " & ".join(_inside(a, out.axes) for a in axes if self._ragged(a))
                if not inside:
                    return f"{out.name} = {source.name}"
                return f"{out.name} = tl.where({bare(inside)}, {source.name}, {literal(value)})"
            case Reduce(out=out, source=source, axes=axes, op=op, into=into):
                text = source.name
                for axis in sorted(axes, key=source.axes.index, reverse=True):
                    text = reduced(op, source.dtype, text, source.axes.index(axis))
                return self._define(out, text, into)
            case Contract():
                return self._contract(s)

    def _define(self, out: Tile, text: str, into: Accumulator | None) -> str:
        if into is None:
            return f"{out.name} = {text}"
        name = self._joined(into)
        return f"{name} = {_join(into, name, text)}"

    def _joined(self, acc: Accumulator) -> str:
        return acc.pieces[self.piece or 0].name if acc.pieces else acc.tile.name

    def _ragged(self, axis: Axis) -> bool:
        """Whether a block may hold positions beyond the axis' end."""
        if self.piece is not None and axis.role is AxisRole.CHUNK:
            return axis.ragged and self.piece == axis.blocks - 1
        return axis.ragged

    def _mask(self, address: Address, axes: tuple[Axis, ...]) -> str:
        conditions = [_inside(a, axes) for a in axes if self._ragged(a)]
        conditions += _landing(address, axes)
        return bare(conditions[0]) if len(conditions) == 1 else " & ".join(conditions)

    def _contract(self, s: Contract) -> str:
        if not s.dot:
            both = tuple(a for a in self.kernel.axes if a in s.a.axes or a in s.b.axes)
            text = f"{spread(s.a.name, s.a.axes, both)} * {spread(s.b.name, s.b.axes, both)}"
            for axis in sorted(s.axes, key=both.index, reverse=True):
                text = reduced("add", s.out.dtype, text, both.index(axis))
            return self._define(s.out, text, s.into)
        left, right = (s.a, s.b) if s.out.axes[0] in s.a.axes else (s.b, s.a)
        (summed,) = s.axes
        x = left.name if left.axes[1] is summed else f"tl.trans({left.name})"
        y = right.name if right.axes[0] is summed else f"tl.trans({right.name})"
        chip = self.program.machine.chip
        assert chip is not None, "a matrix unit belongs to a chip"
        # A product adds to its accumulator by itself.
        acc = self._joined(s.into) if s.into is not None else None
        product = spell_dot(x, y, s.a.dtype, s.precision, chip, acc)
        return f"{acc or s.out.name} = {product}"

    def _pointer(self, address: Address, axes: tuple[Axis, ...]) -> str:
        parts = [f"{address.buffer}_ptr"]
        long = _known_elements(self.program.buffer(address.buffer)) >= 1 << 31
        if address.offset != 0:
            parts.append(size_text(address.offset))
        for term in address.terms:
            text = _position(term, axes)
            fixed = term.axis is not None and isinstance(term.axis.size, int)
            if long and fixed and isinstance(term.stride, int):
                text = f"{text}.to(tl.int64)"
            if term.shift:
                text = f"({text} - {term.shift})"
            if term.step != 1:
                text = f"({text} // {term.step})"
            parts.append(text if term.stride == 1 else f"{text} * {size_text(term.stride)}")
        return " + ".join(parts)


_INT32 = DType("int32", "i32", "i", 4)


def _known_elements(buffer: Buffer) -> int:
    """How far apart elements are at most along all axes of known size."""
    return prod(size for size in buffer.shape if isinstance(size, int))


def size_text(size: Size) -> str:
    """A size as an operand."""
    plain = size >= 0 if isinstance(size, int) else size.is_symbol
    return str(size) if plain else f"({str(size).replace('*', ' * ')})"


def literal(value: float | int | bool) -> str:
    """A number of Python's as Triton's text."""
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return f'float("{value}")'
    return repr(value)


def full(tile: Tile, value: float | int | bool) -> str:
    """A tile that holds one value everywhere."""
    shape = ", ".join(str(a.block) for a in tile.axes)
    shape = f"({shape},)" if len(tile.axes) == 1 else f"({shape})"
    return f"tl.full({shape}, {literal(value)}, {TRITON_TYPES[tile.dtype.name]})"


def spread(name: str, have: tuple[Axis, ...], want: tuple[Axis, ...]) -> str:
    """A tile along the axes of another, repeating where it lacks one."""
    if not have or have == want:
        return name
    return f"{name}[{', '.join(':' if a in have else 'None' for a in want)}]"


def _broadcast(x: Tile, axes: tuple[Axis, ...]) -> str:
    shape = ", ".join(str(a.block) for a in axes) + ("," if len(axes) == 1 else "")
    if not x.axes:
        return f"tl.full(({shape}), {x.name}, {TRITON_TYPES[x.dtype.name]})" if axes else x.name
    return f"tl.broadcast_to({spread(x.name, x.axes, axes)}, ({shape}))"


def _inside(axis: Axis, axes: tuple[Axis, ...]) -> str:
    return f"({spread(axis.name, (axis,), axes)} < {size_text(axis.size)})"


def _position(term: Term, axes: tuple[Axis, ...]) -> str:
    """The place along an axis, or the one that an integer tile holds."""
    if term.at is not None:
        return spread(term.at.name, term.at.axes, axes)
    assert term.axis is not None
    return spread(term.axis.name, (term.axis,), axes)


def _landing(address: Address, axes: tuple[Axis, ...]) -> list[str]:
    """Where the positions of an address land on an element."""
    conditions = []
    for term in address.terms:
        if term.length is not None:
            place = f"({_position(term, axes)} - {term.shift})"
            if abs(term.step) != 1:
                conditions.append(f"({place} % {abs(term.step)} == 0)")
            conditions.append(f"({place} // {term.step} >= 0)")
            conditions.append(f"({place} // {term.step} < {size_text(term.length)})")
    return conditions


def reduced(op: str, dtype: DType, text: str, axis: int) -> str:
    """A tile joined along one of its dimensions."""
    if op in ("maximum", "minimum") and dtype.is_float:
        return f"reduce_{op}({text}, {axis})"
    return f"{_REDUCERS[op]}({text}, {axis})"


def _join(acc: Accumulator, name: str, text: str) -> str:
    dtype = acc.tile.dtype
    return bare(spell_triton(acc.op, dtype, dtype, name, text))


def _held(axes: Sequence[Axis]) -> int:
    """Elements of a partial result, with all chunks."""
    total = 1
    for axis in axes:
        total *= axis.block * (axis.blocks if axis.role is AxisRole.CHUNK else 1)
    return total


def part_place(
    number: str, axes: tuple[Axis, ...], among: tuple[Axis, ...], piece: int | None = None
) -> str:
    """The places of a tile, along `among`, in the partial result of that number."""
    held = _held(axes)
    return (number if held == 1 else f"{number} * {held}") + flat(axes, among, piece)


def flat(axes: tuple[Axis, ...], among: tuple[Axis, ...], piece: int | None = None) -> str:
    """The places of a tile, along `among`, from the first element on, as summands."""
    text = ""
    stride = 1
    for axis in reversed(axes):
        place = axis.name
        if axis.role is AxisRole.CHUNK and piece is not None:
            start = f"{piece * axis.block} + " if piece else ""
            place = f"{start}tl.arange(0, {axis.block})"
            place = f"({place})" if piece else place
        place = spread(place, (axis,), among)
        text = f" + {place}" + (f" * {stride}" if stride != 1 else "") + text
        stride *= _held((axis,))
    return text


def range_text(bounds: str, stages: int = 1, hoists: bool = True) -> str:
    """A loop's range, and how the compiler treats the loop."""
    options = f", num_stages={stages}" if stages > 1 else ""
    options += "" if hoists else ", disable_licm=True"
    return f"tl.range({bounds}{options})" if options else f"range({bounds})"
