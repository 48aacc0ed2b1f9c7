"""How many elements of each axis a tile of a kernel holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphir.graph import Node
from graphir.sizes import Dim

from .axes import AxisMap
from .gpu_blocks import choices
from .machine import Machine
from .tile import USUAL, Axis, AxisRole, Tuning
from .uses import Choice, Uses, Walk, power_of_two

_AXIS_NAMES = "ijkloprv"  # without q and u, which the C text of a product counts by


@dataclass
class Blocks:
    """Block sizes of one kernel's axes.

    Attributes:
        axes: each axis that tiles have.
        wide: the chunk axis in loops that are unrolled and in the epilogue; None where no axis
            is walked in chunks.
        tuning: for a GPU's compiler.
        choice, choices: the number of this one, and how many there were.
    """

    axes: dict[int, Axis] = field(default_factory=dict)
    wide: Axis | None = None
    tuning: Tuning = USUAL
    choice: int = 0
    choices: int = 1

    @staticmethod
    def choose(
        nodes: Sequence[Node],
        written: Sequence[Node],
        walk: Walk,
        axes: AxisMap,
        machine: Machine,
        number: int = 0,
    ) -> Blocks:
        """Blocks from the shapes and the machine's limits alone, so that bits never depend on
        anything measured.

        Args:
            number: 0 for the best by the model, 1 for the next best, ...; the last one is what
                there is beyond.
        """
        uses = Uses.of(nodes, written, walk, axes, machine)
        if machine.chip is None:
            return _named(uses, axes, Choice(_cpu_extents(uses, axes, machine)))
        found = choices(uses, axes.size, machine)
        number = min(number, len(found) - 1)
        return _named(uses, axes, found[number], number, len(found))


def _cpu_extents(uses: Uses, axes: AxisMap, machine: Machine) -> dict[int, int]:
    walk = uses.walk
    extent: dict[int, int] = {}
    for a in uses.order:
        size = axes.size[a]
        if a == walk.stream:
            continue
        if a in walk.grid:
            extent[a] = 64 if isinstance(size, Dim) else min(64, power_of_two(size))
        else:
            assert isinstance(size, int), "only streamed and shared axes have unknown sizes"
            extent[a] = size
    low, high = machine.block_rows
    stream = walk.stream if walk.stream in uses.order else None
    if stream is not None:
        extent[stream] = low
    while uses.widest(extent, uses.tiles) > machine.block_elements:
        shared = [a for a in walk.grid if extent.get(a, 1) > 1]
        if not shared:
            break
        extent[max(shared, key=lambda a: extent[a])] //= 2
    if stream is not None:
        extent[stream] = 1
        along = uses.widest(extent, (t for t in uses.tiles if stream in t))
        most = machine.block_elements if uses.reused else machine.light_elements
        rows = high
        while rows > low and rows * along > most:
            rows //= 2
        size = axes.size[stream]
        if isinstance(size, int):
            rows = min(rows, power_of_two(size))
        extent[stream] = rows
    return extent


def _named(uses: Uses, axes: AxisMap, choice: Choice, number: int = 0, count: int = 1) -> Blocks:
    sizes = {n for s in axes.size.values() if isinstance(s, Dim) for n in s.names}
    names = (n for n in _AXIS_NAMES if n not in sizes)
    made = Blocks(tuning=choice.tuning, choice=number, choices=count)
    for a in uses.order:
        role = AxisRole.TILE
        if a == uses.walk.stream:
            role = AxisRole.STREAM
        elif a in uses.walk.grid:
            role = AxisRole.GRID
        elif a == choice.chunked:
            role = AxisRole.CHUNK
        name = next(names, f"a{a}")
        made.axes[a] = Axis(a, name, axes.size[a], role, choice.extent[a])
        if role is AxisRole.CHUNK:
            name = next(names, f"w{a}")
            made.wide = Axis(a, name, axes.size[a], role, choice.wide)
    return made
