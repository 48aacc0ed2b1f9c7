"""Walks and blocks: which axis a kernel streams, and how many elements of each a tile holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TypeVar

from graphir.graph import Node
from graphir.opdef import Kind
from graphir.sizes import Dim, Size

from .axes import AxisMap
from .machine import Machine
from .tile import Axis, AxisRole

Place = TypeVar("Place")
LONG = 64  # an axis shorter than this is held whole wherever a tile can hold it
_AXIS_NAMES = "ijkloprv"  # without q and u, which the C text of a product counts by


@dataclass(frozen=True)
class Walk:
    """How one kernel walks the axes: at most one streamed, some shared out, the others whole."""

    stream: int | None
    grid: tuple[int, ...] = ()


def is_matrix_product(node: Node) -> bool:
    """Whether a contraction has two matrices, one shared axis and no batch axis."""
    sizes = dict(zip(node.attrs["lhs"], node.inputs[0].shape, strict=True))
    sizes.update(zip(node.attrs["rhs"], node.inputs[1].shape, strict=True))
    left, right, out = ({c for c in node.attrs[k] if sizes[c] != 1} for k in ("lhs", "rhs", "out"))
    return (
        len(left) == len(right) == len(out) == 2
        and len(left & right) == 1
        and not left & right & out
    )


def on_matrix_unit(node: Node, machine: Machine) -> bool:
    """Whether a contraction runs on the matrix unit."""
    return machine.dot_size > 0 and node.dtype.is_float and is_matrix_product(node)


def makes_products(node: Node, machine: Machine) -> bool:
    """Whether a contraction makes a tile of all its products, to sum it; loops make no tile."""
    return machine.padded and not on_matrix_unit(node, machine)


def power_of_two(x: int) -> int:
    """The smallest power of two that is at least `x`."""
    return 1 << max(0, x - 1).bit_length()


def held(size: int, machine: Machine) -> int:
    """How many elements a tile has along an axis of this size that it holds whole."""
    return power_of_two(size) if machine.padded else size


def unheld(sizes: Mapping[Place, Size], machine: Machine) -> set[Place]:
    """Which dimensions a tile cannot hold whole: those of unknown size and, where the others are
    too many elements, all long ones, then the longest that are left."""
    found = {p for p, s in sizes.items() if isinstance(s, Dim)}
    known = {p: held(s, machine) for p, s in sizes.items() if isinstance(s, int)}
    if prod(known.values()) > machine.tile_limit:
        found.update(p for p in known if known[p] >= LONG)
    rest = sorted(known.keys() - found, key=known.__getitem__)
    while prod(known[p] for p in rest) > machine.tile_limit:
        found.add(rest.pop())
    return found


@dataclass
class Blocks:
    """Block sizes of one kernel's axes."""

    axes: dict[int, Axis] = field(default_factory=dict)

    @staticmethod
    def choose(
        nodes: Sequence[Node],
        written: Sequence[Node],
        walk: Walk,
        axes: AxisMap,
        machine: Machine,
    ) -> Blocks:
        """Blocks from the shapes and the machine's limits alone, so that bits never depend on
        anything measured."""
        tiles: list[tuple[int, ...]] = []
        products: list[tuple[int, ...]] = []
        padded_for_dot: set[int] = set()
        for node in nodes:
            if node.op != "broadcast" or node in written:
                tiles.append(axes.of[node])
            tiles += [axes.ports[node, p] for p in range(len(node.inputs))]
            if node.kind is not Kind.CONTRACTION:
                continue
            if on_matrix_unit(node, machine):
                padded_for_dot.update(axes.space(node))
            else:
                products.append(axes.space(node))
        used = {a for tile in tiles + products for a in tile if a >= 0 and axes.size[a] != 1}
        order = [a for a in (walk.stream, *walk.grid) if a in used]
        order += sorted(used - set(order))

        extent: dict[int, int] = {}
        for a in order:
            size = axes.size[a]
            if a == walk.stream:
                continue
            if a in walk.grid:
                limit = 64 if isinstance(size, Dim) else power_of_two(size)
                extent[a] = min(64, max(limit, machine.dot_size))
            else:
                assert isinstance(size, int), "only streamed and shared axes have unknown sizes"
                extent[a] = power_of_two(size) if machine.padded else size
                if a in padded_for_dot and machine.padded:
                    extent[a] = max(extent[a], machine.dot_size)

        def widest(tiles: Iterable[tuple[int, ...]]) -> int:
            return max((prod(extent[a] for a in {*t} & extent.keys()) for t in tiles), default=1)

        low, high = machine.block_rows
        if walk.stream is not None and walk.stream in used:
            extent[walk.stream] = low
        held = tiles + (products if machine.padded else [])
        while widest(held) > machine.block_elements:
            shared = [a for a in walk.grid if a in used and extent[a] > 1]
            shared = [a for a in shared if a not in padded_for_dot or extent[a] > machine.dot_size]
            if not shared:
                break
            extent[max(shared, key=lambda a: extent[a])] //= 2
        if walk.stream is not None and walk.stream in used:
            extent[walk.stream] = 1
            along = widest(t for t in held if walk.stream in t)
            rows = high
            reused = any(n.kind is Kind.CONTRACTION and is_matrix_product(n) for n in nodes)
            most = machine.block_elements if reused else machine.light_elements
            while rows > low and rows * along > most:
                rows //= 2
            stream_size = axes.size[walk.stream]
            if isinstance(stream_size, int):
                rows = min(rows, max(power_of_two(stream_size), machine.dot_size))
            extent[walk.stream] = rows
        sizes = {n for s in axes.size.values() if isinstance(s, Dim) for n in s.names}
        names = (n for n in _AXIS_NAMES if n not in sizes)
        made = {}
        for a in order:
            role = AxisRole.TILE
            if a == walk.stream:
                role = AxisRole.STREAM
            elif a in walk.grid:
                role = AxisRole.GRID
            name = next(names, f"a{a}")
            made[a] = Axis(a, name, axes.size[a], role, extent[a])
        return Blocks(made)
