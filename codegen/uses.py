"""Which axes the tiles of a kernel lie along, and which axis it streams."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias, TypeVar

from graphir.graph import Node
from graphir.opdef import Kind
from graphir.sizes import Dim, Size

from .axes import AxisMap
from .machine import Machine
from .narrow import narrow_edges
from .tile import USUAL, Tuning

Key = TypeVar("Key")
LONG = 64  # an axis shorter than this is held whole wherever a tile can hold it


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


def is_long(size: Size) -> bool:
    """Whether an axis is too long to be held whole beside others that are."""
    return not isinstance(size, int) or size > LONG


def power_of_two(x: int) -> int:
    """The smallest power of two that is at least `x`."""
    return 1 << max(0, x - 1).bit_length()


def held(size: int, machine: Machine) -> int:
    """How many elements a tile has along an axis of this size that it holds whole."""
    return power_of_two(size) if machine.padded else size


def unheld(
    sizes: Mapping[Key, Size], machine: Machine, summed: Collection[Key] = ()
) -> set[Key]:  # fmt: skip
    """Which dimensions a tile cannot hold whole: those of unknown size and, where the others are
    too many elements, all long ones, then the longest that are left; of equally long ones last
    those that are `summed`, since no kernel walks along several of these."""
    found = {p for p, s in sizes.items() if isinstance(s, Dim)}
    known = {p: held(s, machine) for p, s in sizes.items() if isinstance(s, int)}
    if prod(known.values()) > machine.tile_limit:
        found.update(p for p in known if known[p] >= LONG)
    rest = sorted((p for p in known if p not in found), key=lambda p: (known[p], p not in summed))
    while prod(known[p] for p in rest) > machine.tile_limit:
        found.add(rest.pop())
    return found


Dot: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class Uses:
    """Which axes the tiles of a kernel lie along.

    Attributes:
        tiles: of the values that are computed or read.
        products: of all products of a contraction that the matrix unit does not sum.
        dots: (result, left, right) of each contraction on the matrix unit.
        joined: of what is joined over the stream's blocks.
        reused: whether a product of matrices uses each element of a block several times.
        narrow: whether the matrix unit is given nothing but numbers of 16 bits.
        itemsize: bytes of an element of the widest type of a number with a fraction; 4 at least.
        order: all axes of more than one element: the streamed one, the shared ones, the others.
    """

    walk: Walk
    tiles: tuple[tuple[int, ...], ...]
    products: tuple[tuple[int, ...], ...]
    dots: tuple[Dot, ...]
    joined: tuple[tuple[int, ...], ...]
    reused: bool
    narrow: bool
    itemsize: int
    order: tuple[int, ...]

    @staticmethod
    def of(
        nodes: Sequence[Node],
        written: Sequence[Node],
        walk: Walk,
        axes: AxisMap,
        machine: Machine,
    ) -> Uses:
        """What computing `nodes` takes, of which `written` go to memory."""
        tiles: list[tuple[int, ...]] = []
        products: list[tuple[int, ...]] = []
        dots: list[Dot] = []
        joined: list[tuple[int, ...]] = []
        computed, narrow = frozenset(nodes), True
        for node in nodes:
            if node.op != "broadcast" or node in written:
                tiles.append(axes.of[node])
            tiles += [axes.ports[node, p] for p in range(len(node.inputs))]
            if walk.stream in axes.reduced(node):
                joined.append(axes.of[node])
            if node.kind is not Kind.CONTRACTION:
                continue
            if on_matrix_unit(node, machine):
                sides = (axes.of[node], axes.ports[node, 0], axes.ports[node, 1])
                out, a, b = (tuple(x for x in side if axes.size[x] != 1) for side in sides)
                dots.append((out, a, b))
                narrow = narrow and narrow_edges(node, axes, computed) is not None
            else:
                products.append(axes.space(node))
        used = {a for tile in tiles + products for a in tile if a >= 0 and axes.size[a] != 1}
        order = [a for a in (walk.stream, *walk.grid) if a in used]
        rest = sorted(used - set(order))
        if machine.chip is not None:
            # The matrix unit would rather have many rows and few columns than the reverse.
            rest.sort(key=lambda a: not is_long(axes.size[a]))
        order += rest

        def within(found: list[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
            return tuple(dict.fromkeys(tuple(a for a in dict.fromkeys(t) if a in used)
                                       for t in found))  # fmt: skip

        reused = any(n.kind is Kind.CONTRACTION and is_matrix_product(n) for n in nodes)
        itemsize = max([4, *(n.dtype.itemsize for n in nodes if n.dtype.is_float)])
        return Uses(
            walk, within(tiles), within(products), tuple(dots), within(joined), reused,
            bool(dots) and narrow, itemsize, tuple(order),
        )  # fmt: skip

    @property
    def matrix_axes(self) -> frozenset[int]:
        """The axes along which the matrix unit works."""
        return frozenset(a for dot in self.dots for side in dot for a in side)

    def widest(self, extent: Mapping[int, int], among: Iterable[tuple[int, ...]]) -> int:
        """Elements of the largest of these tiles."""
        return max((prod(extent.get(a, 1) for a in t) for t in among), default=1)


@dataclass(frozen=True)
class Choice:
    """Blocks of one kernel.

    Attributes:
        extent: elements of each axis that a tile holds.
        chunked: the axis that is walked in chunks, if any.
        wide: elements of a chunk where each has accumulators of its own, and in the epilogue.
        tuning: for a GPU's compiler.
    """

    extent: Mapping[int, int]
    chunked: int | None = None
    wide: int = 0
    tuning: Tuning = USUAL
