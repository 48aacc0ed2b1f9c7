"""Triton text of an epoch: the loop over steps within the kernel."""

from __future__ import annotations

from graphir.dtypes import int64
from graphir.sizes import Dim

from .epoch import elements
from .epoch_choice import EpochChoice, Way
from .program import BATCH, PROGRAMS, ROWS, Buffer, Launch, Role, TritonModule
from .tile import Accumulator, Axis, AxisRole, Store
from .triton_expr import flat, literal, part_place, range_text, reduced, size_text, spread
from .triton_kernel import KernelPrinter
from .triton_text import join_texts
from .uses import power_of_two

_STAGES = 3  # the permutation's entries are fetched two steps ahead, their rows one
_MOST_AT_ONCE = 8192  # elements of partial results that a program adds up at a time


def print_epoch(choice: EpochChoice) -> TritonModule:
    """The module with the one kernel of an epoch that runs in one launch."""
    return join_texts([_EpochPrinter(choice)])


class _EpochPrinter(KernelPrinter):
    def __init__(self, choice: EpochChoice) -> None:
        assert choice.epoch is not None
        self.choice, self.epoch = choice, choice.epoch
        self.together = choice.way is Way.TOGETHER
        self.parts: dict[Accumulator, Buffer] = {}
        self.totals: dict[Accumulator, Buffer] = {}
        super().__init__(choice.program, self.epoch.kernel)

    def _is_split(self) -> bool:
        return False

    def _scratch(self) -> list[Buffer]:
        """Partial results and totals of all programs, and where they meet."""
        if not self.together:
            return []
        name, choice = self.kernel.name, self.choice
        for acc in self.kernel.accumulators:
            own, of = f"{name}_{acc.tile.name}", elements(acc.tile.axes)
            # Of two steps in turn: a program may write the next while others still read.
            shape = (1 if choice.shares else 2, choice.programs, of)
            self.parts[acc] = Buffer(f"{own}_parts", acc.tile.dtype, shape, Role.SCRATCH)
            if choice.shares:
                self.totals[acc] = Buffer(f"{own}_totals", acc.tile.dtype, (of,), Role.SCRATCH)
        self.meeting = Buffer(f"{name}_meeting", int64, (2,), Role.ZEROED)
        return [*self.parts.values(), *self.totals.values(), self.meeting]

    def launch(self) -> Launch:
        """One launch for all steps."""
        found = super().launch()
        made = [s.out for s in self.kernel.statements() if not isinstance(s, Store)]
        widest = max((elements(tile.axes) for tile in made), default=1)
        warps = min(8, max(1, power_of_two(widest) // 256))
        programs = Dim.symbol(PROGRAMS)
        return Launch(
            found.kernel, found.arguments, ((programs, 1),), num_warps=warps, num_stages=_STAGES,
            signature=found.signature, whole=True, cooperative=self.together,
        )  # fmt: skip

    def _steps(self) -> None:
        """Once, the loop over steps, and what is left of it."""
        loop = self.program.loop
        assert loop is not None
        if self.together:
            self._line("pid = tl.program_id(0)")
        for axis in self.kernel.axes:
            if axis.role is AxisRole.TILE:
                self._line(f"{axis.name} = tl.arange(0, {axis.block})")
        stream = self.kernel.stream
        if stream is not None and self.choice.single:
            first = f"pid * {stream.block} + " if self.together else ""
            self._line(f"{stream.name} = {first}tl.arange(0, {stream.block})")
        self._statements(self.epoch.once)
        # What a step writes for the next one must not be fetched ahead; without a number the
        # compiler takes the launch's.
        stages = 1 if self.together or self.epoch.in_memory else _STAGES
        still = "" if self.kernel.tuning.hoists else ", disable_licm=True"
        self._line(f"for step in tl.range(first, last, num_stages={stages}{still}):")
        self.depth += 1
        self._line(f"start = step * {BATCH}")
        self._line(f"{loop.dim} = tl.minimum({BATCH}, {ROWS} - start)")
        self._step()
        for h in self.epoch.held:
            if h.made is not None:
                self._statements([h.made])
        for h in self.epoch.held:
            self._line(f"{h.load.out.name} = {h.value.name}", h.load.out.node)
        if self.epoch.in_memory:
            # The next step reads what this one wrote.
            self._line("tl.debug_barrier()")
        self.depth -= 1
        if self.together:
            self._line("if pid == 0:")
            self.depth += 1
        self._statements([h.store for h in self.epoch.held])
        if self.together:
            self.depth -= 1
            self._leave()

    def _step(self) -> None:
        kernel, stream = self.kernel, self.kernel.stream
        self._statements(kernel.preamble)
        self._start_sums()
        if stream is not None and self.choice.single:
            self._statements(kernel.body)
        elif stream is not None:
            own = f"pid * {stream.block}" if self.together else "0"
            by = self.choice.programs * stream.block
            bounds = f"{own}, {size_text(stream.size)}, {by}"
            self._block_loop(stream, range_text(bounds, 2, kernel.tuning.hoists))
        if self.together and kernel.accumulators:
            self._exchange()
        # Everything but the stores: those are one program's.
        stores = [s for s in kernel.epilogue if isinstance(s, Store)]
        self._statements([s for s in kernel.epilogue if not isinstance(s, Store)])
        if self.together and stores:
            self._line("if pid == 0:")
            self.depth += 1
            self._statements(stores)
            self.depth -= 1
        else:
            self._statements(stores)

    def _exchange(self) -> None:
        """Every program gets the sums over all programs, added up in one fixed order."""
        choice = self.choice
        for acc, buffer in self.parts.items():
            number = "pid" if choice.shares else f"({self._turn()} + pid)"
            place = part_place(number, acc.tile.axes, acc.tile.axes)
            self._line(f"tl.store({buffer.name}_ptr + {place}, {acc.tile.name})")
        meetings = 2 if choice.shares else 1
        count = "(step - first)" if meetings == 1 else "2 * (step - first)"
        self._meet(f"({count} + 1) * {choice.programs}")
        every = power_of_two(choice.programs)
        self._line(f"part = tl.arange(0, {every})")
        if not choice.shares:
            for acc in self.parts:
                self._add_all(acc)
            return
        for acc in self.parts:
            self._add_share(acc)
        self._meet(f"({count} + 2) * {choice.programs}")
        for acc, buffer in self.totals.items():
            place = f"{buffer.name}_ptr{flat(acc.tile.axes, acc.tile.axes)}"
            self._line(f'{acc.tile.name} = tl.load({place}, cache_modifier=".cg")', acc.tile.node)

    def _turn(self) -> str:
        """Where a step's copy of the partial results begins, in programs."""
        return f"(step % 2) * {self.choice.programs}"

    def _add_all(self, acc: Accumulator) -> None:
        """All programs' partial results at once, joined along their first dimension."""
        number = Axis(-1, "part", 0, AxisRole.TILE, power_of_two(self.choice.programs))
        axes = (number, *acc.tile.axes)
        part = spread("part", (number,), axes)
        place = part_place(f"({self._turn()} + {part})", acc.tile.axes, axes)
        total = self._all_joined(acc, self.parts[acc], place, part)
        self._line(f"{acc.tile.name} = {total}", acc.tile.node)

    def _add_share(self, acc: Accumulator) -> None:
        """This program's share of the elements, joined over all programs' partial results."""
        of, choice = elements(acc.tile.axes), self.choice
        every = power_of_two(choice.programs)
        block = min(of, max(1, _MOST_AT_ONCE // every), power_of_two(-(-of // choice.programs)))
        by = choice.programs * block
        own = "pid" if block == 1 else f"pid * {block}"
        self._line(f"for place in range({own}, {of}, {by}):")
        self.depth += 1
        self._line(f"share = place + tl.arange(0, {block})")
        every_part = "part[:, None]" if of == 1 else f"part[:, None] * {of}"
        place = f"{every_part} + share[None, :]"
        total = self._all_joined(acc, self.parts[acc], place, "part[:, None]")
        self._line(f"tl.store({self.totals[acc].name}_ptr + share, {total})")
        self.depth -= 1

    def _all_joined(self, acc: Accumulator, buffer: Buffer, place: str, part: str) -> str:
        identity = literal(acc.identity)
        text = (
            f"tl.load({buffer.name}_ptr + {place}, mask={part} < {self.choice.programs}, "
            f'other={identity}, cache_modifier=".cg")'
        )
        return reduced(acc.op, acc.tile.dtype, text, 0)

    def _meet(self, expected: str) -> None:
        self._line(f"meet({self.meeting.name}_ptr, {expected})")

    def _leave(self) -> None:
        """The last program to leave sets the counters back for the next launch."""
        name = f"{self.meeting.name}_ptr"
        self._line(f'left = tl.atomic_add({name} + 1, 1, sem="acq_rel")')
        self._line(f"if left == {self.choice.programs - 1}:")
        self.depth += 1
        self._line(f"tl.store({name}, 0)")
        self._line(f"tl.store({name} + 1, 0)")
        self.depth -= 1
