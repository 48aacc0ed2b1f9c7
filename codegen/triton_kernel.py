"""Triton text of one kernel: its loops over steps, blocks and chunks, and how the partial results
of several programs are joined."""

from __future__ import annotations

from collections.abc import Sequence

from graphir.dtypes import int32, int64
from graphir.graph import Node
from graphir.sizes import Dim, Size

from .lines import node_of
from .program import BATCH, DONE, PROGRAMS, ROWS, Buffer, Launch, Program, Role
from .spelling import TRITON_ABBREVIATIONS
from .tile import Accumulator, Axis, AxisRole, Loop, Statement, TileKernel, operands
from .triton_expr import (
    full,
    join,
    literal,
    part_place,
    part_size,
    range_text,
    reduced,
    size_text,
    spread,
)
from .triton_statements import StatementPrinter


class KernelPrinter:
    """The text of one kernel, and how it is launched."""

    def __init__(self, program: Program, kernel: TileKernel) -> None:
        self.program, self.kernel = program, kernel
        self.lines: list[str] = []
        self.marks: list[Node | None] = []
        self.depth = 0
        self.split = self._is_split()
        self.ticket = ""
        self.scratch = self._scratch()
        self.size_names = list(program.sizes)
        self.spell = StatementPrinter(program, kernel)

    def _is_split(self) -> bool:
        """Whether several programs share the rows, so that the last one joins what they found."""
        return self.kernel.stream is not None and not self.kernel.grid

    def _scratch(self) -> list[Buffer]:
        """What the kernel needs besides the program's buffers."""
        kernel, found = self.kernel, list[Buffer]()
        if self.split and kernel.accumulators:
            programs = Dim.symbol(PROGRAMS)
            for acc in kernel.accumulators:
                name, count = f"{kernel.name}_{acc.tile.name}_parts", part_size(acc.tile.axes)
                found.append(Buffer(name, acc.tile.dtype, (programs, count), Role.SCRATCH))
            # One for all programs and, where they are joined in groups, one a group.
            tickets: tuple[Size, ...] = (programs + 1,) if kernel.tuning.fan else (1,)
            found.append(Buffer(f"{kernel.name}_ticket", int32, tickets, Role.ZEROED))
            self.ticket = f"{found[-1].name}_ptr"
        if self.program.loop is not None:
            found.append(Buffer(DONE, int64, (1,), Role.ZEROED))
        return found

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
            library=self.kernel.library,
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
                self.spell.piece = piece
                start = f"{piece * axis.block} + " if piece else ""
                self._line(f"{axis.name} = {start}tl.arange(0, {axis.block})")
                self._statements(statements)
            self.spell.piece = None
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
            return join(acc, tile.name, f"tl.load({place})")
        number = Axis(-1, name, 0, AxisRole.TILE, count)
        axes = (number, *tile.axes)
        numbers = spread(name, (number,), axes)
        place = f"{parts} + {part_place(numbers, tile.axes, axes)}"
        read = f"tl.load({place}, mask={numbers} < {end}, other={literal(acc.identity)})"
        return join(acc, tile.name, reduced(acc.op, tile.dtype, read, 0))

    def _parts_of(self, acc: Accumulator) -> str:
        return f"{self.scratch[self.kernel.accumulators.index(acc)].name}_ptr"

    # -- statements -------------------------------------------------------------------------

    def _statements(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            self._line(self.spell.text(statement), node_of(statement))
