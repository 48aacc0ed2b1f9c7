"""Blocked contractions of the C target: the form of each, and the copies that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

from .angles import far_angles
from .loops import Array, LoopKernel, Nest, Part, Transposition, accesses, padded_array
from .machine import Machine
from .nesting import build_loops, loop_order, stride_along
from .partial_sums import how_summed
from .products import Product, load_stride, plan_product, resolve
from .resident import Resident, relayout, whole_vectors
from .tile import (
    Axis,
    AxisRole,
    Contract,
    Load,
    Map,
    Statement,
    Store,
    Tile,
    TileKernel,
    operands,
)

# Bytes from row to row: where they were fewer, fetching ahead made products slower.
_FAR = 512
# Partial sums of a row: additions of one take four cycles.
_CHAINS_OF_A_ROW = 4


def lower_loops(
    kernel: TileKernel, machine: Machine, residents: Mapping[str, Resident]
) -> LoopKernel:
    """The loop nests of a tile kernel, for the machine's vectors.

    Args:
        residents: buffers that lie in the call's own memory, in another layout.
    """
    made = build_loops(relayout(kernel, residents), machine.vector_bytes)
    inline = dict(made.preamble.inline)
    parts = (made.preamble, made.body, made.epilogue)
    packs: _Packs = {}
    for part in parts:
        inline.update(part.inline)
        # What does not change along the stream is copied once, before it.
        early = made.preamble if part is made.body else part
        _Blocking(made, part, early, inline, residents, machine.accumulators, packs).run()
    arrays = made.arrays()
    for part in parts:
        for nest in part.nests:
            if nest.product is None:
                nest.axes = loop_order(nest, arrays, inline)
                nest.sums = how_summed(nest, arrays)
                nest.far = far_angles(nest, arrays, inline)
                nest.whole = whole_vectors(nest, arrays, inline, residents)
    made.zeroed = _zeroed(made, inline)
    made.fresh = _fresh(made)
    return made


def _fresh(made: LoopKernel) -> frozenset[Tile]:
    """The accumulators of which a product writes all, padding too, in every block.

    Only one statement joins into an accumulator.
    """
    found = set()
    for nest in made.body.nests:
        p = nest.product
        if p is None or p.statement.into is None:
            continue
        array = made.kept[p.statement.out]
        if not array.axes:
            continue
        written = p.vector.block if p.inner else -(-p.vector.block // p.lanes) * p.lanes
        last = array.axes[-1].block if p.inner else written
        if array.extents[-1] == last:
            found.add(p.statement.out)
    return frozenset(found)


def _zeroed(made: LoopKernel, inline: Mapping[Tile, Statement]) -> frozenset[Tile]:
    """The arrays of which products sum up whole vectors, with what lies beyond an axis' end."""
    arrays = made.arrays()
    found: set[Tile] = set()
    for part in (made.preamble, made.body, made.epilogue):
        for nest in part.nests:
            if nest.product is not None and nest.product.inner:
                operands = (resolve(t, inline) for t in nest.product.padded)
                found.update(t for t in operands if isinstance(t, Tile))
    return frozenset(t for t in found if t in arrays and arrays[t].padded)


# The copies of a kernel, by the part that makes them, what they are of, and their layout.
_Packs: TypeAlias = dict[tuple[Part, Tile, tuple[Axis, ...]], Tile]


class _Blocking:
    """Chooses the form of each contraction of a part, and the copies that it needs."""

    def __init__(
        self,
        made: LoopKernel,
        part: Part,
        early: Part,
        inline: Mapping[Tile, Statement],
        residents: Mapping[str, Resident],
        accumulators: int,
        packs: _Packs,
    ) -> None:
        self.residents, self.accumulators, self.packs = residents, accumulators, packs
        self.made, self.part, self.early, self.inline = made, part, early, inline
        self.arrays = made.arrays()

    def run(self) -> None:
        """Fill in `Nest.product` wherever a contraction has a blocked form."""
        placed: list[Nest] = []
        for nest in self.part.nests:
            first = nest.statements[0]
            if isinstance(first, Contract):
                nest.product = self._plan(first, placed)
            placed.append(nest)
        self.part.nests = placed

    def _plan(self, s: Contract, placed: list[Nest]) -> Product | None:
        lanes = self.made.vector_bytes // max(s.out.dtype.itemsize, 1)
        product = plan_product(
            s, lanes, self.accumulators, self._stride, self._out_stride, self._packable,
            self._read_along(s.out),
        )  # fmt: skip
        if product is None:
            return None
        if s.into is not None:
            self.made.kept[s.out] = padded_array(s.out, product.out_order, self.made.vector_bytes)
        sides = {"right": product.right, "left": product.left}
        for side in ("right", "left") if product.inner else ("right",):
            tile = sides[side]
            self._want(tile, product)
            if not self._direct(tile, product):
                sides[side] = self._pack(tile, product, placed)
        padded = frozenset(t for t in sides.values() if self._padded(t))
        if self._long_rows(product):
            product = replace(product, by_rows=True, chains=_CHAINS_OF_A_ROW)
        return replace(
            product, left=sides["left"], right=sides["right"], padded=padded,
            prefetched=product.rows is not None and self._far_apart(sides["right"]),
        )  # fmt: skip

    def _read_along(self, accumulator: Tile) -> Axis | None:
        """The axis that runs fastest in what the epilogue writes from an accumulator."""
        if accumulator not in self.made.kept or len(accumulator.axes) < 2:
            return None
        epilogue = self.made.epilogue
        for nest in epilogue.nests:
            read = {x for s in nest.statements for x in accesses(s, epilogue.inline)}
            for s in nest.statements:
                if accumulator in read and isinstance(s, Store) and s.axes == accumulator.axes:
                    return next((a for a in s.axes if stride_along(a, s.address) == 1), None)
        return None

    def _long_rows(self, product: Product) -> bool:
        """Whether single results come of long rows in memory, which the processor fetches ahead
        where they are read one after the other."""
        read = resolve(product.left, self.inline)
        vectors = product.vector.block // product.lanes
        return (
            product.inner
            and not product.side_by_side
            and product.columns is None
            and product.rows is not None
            and not product.summed
            and isinstance(read, Load)
            and product.vector.role is AxisRole.TILE
            and vectors >= _CHAINS_OF_A_ROW
        )

    def _far_apart(self, tile: Tile) -> bool:
        """Whether rows lie so far apart in memory, or in no order, that the processor does not
        see by itself which come next."""
        found = resolve(tile, self.inline)
        if not isinstance(found, Load):
            return False
        for term in found.address.terms:
            if term.at is not None:
                return True
            if term.axis is not None and term.axis.role is AxisRole.STREAM:
                stride = term.stride
                return isinstance(stride, int) and stride * tile.dtype.itemsize >= _FAR
        return False

    def _stride(self, tile: Tile, axis: Axis) -> int | None:
        found = resolve(tile, self.inline)
        if isinstance(found, Load):
            return load_stride(found.address.terms, axis)
        if found is None or found not in self.arrays:
            return None
        return self.arrays[found].strides().get(axis, 0)

    def _out_stride(self, tile: Tile, axis: Axis) -> int | None:
        if tile in self.made.kept:
            return None
        return self.arrays[tile].strides().get(axis, 0) if tile in self.arrays else None

    def _varies(self, tile: Tile) -> bool:
        return any(a.role is AxisRole.STREAM for a in tile.axes)

    def _packable(self, tile: Tile) -> bool:
        """What is computed once may be copied; rows may not, for that would cost a pass."""
        return not self._varies(tile)

    def _direct(self, tile: Tile, product: Product) -> bool:
        """Whether the operand is read where it lies: in order, and without a ragged end."""
        if self._stride(tile, product.vector) != 1:
            return False
        whole = product.vector.block % product.lanes == 0
        return whole or self._varies(tile) or self._padded(tile)

    def _padded(self, tile: Tile) -> bool:
        """Whether whole vectors may be read: beyond the end there are zeros.

        What an accumulator of extrema or products holds there is not zero.
        """
        found = resolve(tile, self.inline)
        if any(acc.tile is found and acc.op != "add" for acc in self.made.kernel.accumulators):
            return False
        return not isinstance(found, Load) or found.address.buffer in self.residents

    def _want(self, tile: Tile, product: Product) -> None:
        """Note the order of dimensions in which a buffer would be read without a copy."""
        found = resolve(tile, self.inline)
        if isinstance(found, Load) and not self._varies(tile):
            walked = [t.axis for t in found.address.terms]
            dims = [d for d, a in enumerate(walked) if a is not product.vector]
            dims += [d for d, a in enumerate(walked) if a is product.vector]
            self.made.wanted.setdefault(found.address.buffer, set()).add(tuple(dims))

    def _pack(self, tile: Tile, product: Product, placed: list[Nest]) -> Tile:
        layout = (*(a for a in tile.axes if a is not product.vector), product.vector)
        key = (self.early, tile, layout)
        if key not in self.packs:
            packed = Tile(f"{tile.name}_packed{len(self.packs)}", tile.axes, tile.dtype, tile.node)
            self.packs[key] = packed
            array = padded_array(packed, layout, self.made.vector_bytes)
            self.early.arrays[packed] = array
            self.arrays[packed] = array
            nest = Nest(tile.axes, [Map(packed, "copy", (tile,))])
            nest.transposition = self._transposition(tile, product.vector, array)
            if self.early is self.part:
                placed.append(nest)
            else:
                self._bring(tile)
                self.early.nests.append(nest)
        return self.packs[key]

    def _bring(self, tile: Tile) -> None:
        """Have the early part know what `tile`, which is written out where it is read, stands
        for."""
        source = self.part.inline.get(tile)
        if source is not None:
            self.early.inline.setdefault(tile, source)
            for x in operands(source):
                self._bring(x)

    def _transposition(self, tile: Tile, written: Axis, array: Array) -> Transposition | None:
        """How a copy goes by squares, where two axes are long enough."""
        lanes = self.made.vector_bytes // tile.dtype.itemsize
        across = self._stride(tile, written)
        if tile.dtype.name not in ("float32", "float64") or lanes not in (4, 8, 16) or not across:
            return None
        for read in tile.axes:
            if read is written or self._stride(tile, read) != 1:
                continue
            if all(a.role is AxisRole.TILE and a.block >= lanes for a in (read, written)):
                return Transposition(read, written, across, array.strides()[read], lanes)
        return None
