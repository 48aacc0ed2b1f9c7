"""From the nodes of one kernel to its tile IR.

This file knows what each op becomes: a read, a map, a reduction, a product. Where a value is
defined `placement.py` says; the statements and their tiles are kept by `kernel_builder.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphir.graph import Node
from graphir.opdef import OPS, Combiner, Kind

from .axes import ALIASES, AxisMap
from .bindings import Bindings
from .blocks import Blocks
from .kernel_builder import KernelBuilder
from .levels import Place
from .machine import Target
from .narrow import Edge, narrow_edges
from .placement import Placement
from .program import Binding, Buffer
from .tile import (
    Accumulator,
    Address,
    Axis,
    Contract,
    Fill,
    Position,
    Reduce,
    SizeOf,
    Store,
    Term,
    Tile,
    TileKernel,
)
from .uses import Walk, on_matrix_unit
from .views import START, STEP, View, ViewDim, row_major, view


def combiner_of(node: Node) -> Combiner:
    """The combiner of a reduction; a contraction sums."""
    found = OPS["sum" if node.kind is Kind.CONTRACTION else node.op].combiner
    assert found is not None
    return found


class Lowering:
    """Builds one TileKernel: values are asked for where they are needed, and computed once."""

    def __init__(
        self,
        name: str,
        walk: Walk,
        nodes: Sequence[Node],
        written: Sequence[Node],
        axes: AxisMap,
        memory: Bindings,
        target: Target,
    ) -> None:
        self.name, self.walk, self.map, self.target = name, walk, axes, target
        self.stored, self.order = memory.stored, memory.order
        self.nodes = list(nodes)
        self.computed = set(nodes)
        self.made = self.computed - self.stored.keys()
        choice = target.choices.get(name, 0)
        blocks = Blocks.choose(nodes, written, walk, axes, target.machine, choice)
        self.axes = blocks.axes
        self.where = Placement(
            nodes, written, walk, axes, blocks, lambda node: self._read_at(node) is not None
        )
        self.builder = KernelBuilder(self.where, memory.names, target.machine.padded)
        self.memo: dict[tuple[Place, Node], Tile] = {}
        self.joined: dict[Node, Tile] = {}  # what the stream's blocks are joined into

    # -- values -----------------------------------------------------------------------------

    def value(self, node: Node, asked: Place) -> Tile:
        """The tile of `node`, defined no later than where it is asked for."""
        at = self.where.of(node, asked)
        for x, place in self._in_order(node, at):
            self.memo[place, x] = self._define(x, place)
        return self.memo[at, node]

    def _in_order(self, node: Node, at: Place) -> list[tuple[Node, Place]]:
        """What is still to be defined for `node`, operands first; a chain may be of any length."""
        order: list[tuple[Node, Place]] = []
        seen: set[tuple[Node, Place]] = set()
        stack = [(node, at, False)]
        while stack:
            x, place, expanded = stack.pop()
            if expanded:
                order.append((x, place))
            elif (place, x) not in self.memo and (x, place) not in seen:
                seen.add((x, place))
                stack.append((x, place, True))
                stack += [(y, s, False) for y, s in reversed(self._asked_of(x, place))]
        return order

    def _asked_of(self, node: Node, at: Place) -> list[tuple[Node, Place]]:
        """The operands whose tiles `node` reads, with the places where they are defined."""
        if self._read_at(node) is not None:
            return []
        joins = node.kind in (Kind.REDUCTION, Kind.CONTRACTION)
        inner = self.where.of_operands(node, at) if joins else at
        return [
            (x.inputs[position], self.where.of(x.inputs[position], inner))
            for x, position in self._edges(node)
            if (x, position) not in self.map.cuts
        ]

    def _edges(self, node: Node) -> tuple[Edge, ...]:
        """The operands that `node` reads: for the matrix unit in 16 bits, where they are."""
        if node.kind is Kind.CONTRACTION and on_matrix_unit(node, self.target.machine):
            narrow = narrow_edges(node, self.map, self.made)
            if narrow is not None:
                return narrow
        return tuple((node, position) for position in range(len(node.inputs)))

    def _read_at(self, node: Node) -> View | None:
        """Where `node` lies in memory, if it is read from there."""
        if node in self.computed and node not in self.stored:
            return None
        if node not in self.stored and self.map.is_alias(node):
            return None
        return view(node, self.stored)

    def _define(self, node: Node, at: Place) -> Tile:
        place = self._read_at(node)
        if place is not None:
            return self._load(node, place, self.map.of[node], at)
        return self._compute(node, at)

    def operand(self, node: Node, position: int, at: Place) -> Tile:
        """The tile that operand `position` of `node` is, along the axes that `node` sees."""
        x = node.inputs[position]
        if (node, position) not in self.map.cuts:
            return self.value(x, at)
        place = view(x, self.stored)
        assert place is not None, "a cut edge reads from memory"
        return self._load(x, place, self.map.ports[node, position], at)

    def _load(self, node: Node, place: View, walked: Sequence[int], at: Place) -> Tile:
        at = self.where.of_load(walked, at)
        terms, offset = [], place.offset
        for dim, a in zip(place.dims, walked, strict=True):
            # A repeated axis needs no term, unless only some of its places hold an element.
            if dim.stride == 0 and dim.length is None:
                continue
            axis = self.where.axis(a, at) if a in self.axes else None
            if dim.rows:
                if self.order is not None:
                    terms.append(Term(dim.stride, at=self._rows(axis, dim, at)))
                    continue
                offset = offset + (START + dim.first) * dim.stride
            if axis is not None:
                stride = dim.stride * dim.by
                terms.append(Term(stride, axis, None, dim.shift, dim.step, dim.length))
        ids = [t.axis.id for t in terms if t.axis] + [
            a.id for t in terms if t.at for a in t.at.axes
        ]
        return self.builder.read(node, Address(place.buffer.name, tuple(terms), offset), ids, at)

    def _rows(self, axis: Axis | None, dim: ViewDim, at: Place) -> Tile:
        """The row numbers of the batch: the shuffle's permutation from the batch's start on."""
        assert self.order is not None
        terms = (Term(dim.by, axis),) if axis is not None else ()
        address = Address(self.order.name, terms, START + dim.first)
        walked = [axis.id] if axis is not None else []
        if self.where.chunk not in walked:
            at = Place(at.section)
        return self.builder.read(None, address, walked, at)

    # -- computing --------------------------------------------------------------------------

    def _compute(self, node: Node, at: Place) -> Tile:
        if node.op in ("slice", "embed") or (node.op == "reshape" and not self.map.is_alias(node)):
            place = view(node, self.stored)
            assert place is not None, f"{node!r} reads from memory"
            return self._load(node, place, self.map.of[node], at)
        if node.op in ALIASES:
            return self.operand(node, 0, at)
        if node.op == "take":
            return self._take(node, at)
        match node.kind:
            case Kind.SOURCE:
                return self._source(node, at)
            case Kind.ELEMENTWISE:
                args = tuple(self.operand(node, p, at) for p in range(len(node.inputs)))
                return self.builder.map(node, node.op, args, at)
            case Kind.REDUCTION:
                return self._reduce(node, at)
            case Kind.CONTRACTION:
                return self._contract(node, at)
        raise AssertionError(f"{node.op} was not prepared for lowering")

    def _source(self, node: Node, at: Place) -> Tile:
        if node.op == "iota":
            tile = self.builder.tile(node, self.where.axes(self.map.of[node], at), node.dtype)
            self.builder.emit(at, Position(tile) if tile.axes else Fill(tile, 0))
            return tile
        tile = self.builder.tile(node, (), node.dtype)
        if node.op == "size":
            self.builder.emit(at, SizeOf(tile, node.attrs["size"]))
        else:
            value = np.frombuffer(node.attrs["value"], node.dtype.numpy)[0].item()
            self.builder.emit(at, Fill(tile, value))
        return tile

    def _accumulator(self, node: Node, out: Tile, at: Place) -> Accumulator | None:
        """What `node` is joined into where its operands come in blocks."""
        reduced = self.map.reduced(node)
        streamed = self.walk.stream in reduced and self.map.size[self.walk.stream] != 1
        if not streamed and self.where.chunk not in reduced:
            return None
        if streamed:
            self.joined[node] = out
        return self.builder.accumulator(node, out, combiner_of(node), at, streamed)

    def _reduce(self, node: Node, at: Place) -> Tile:
        if node in self.joined:
            return self.joined[node]
        inner = self.where.of_operands(node, at)
        reduced = self.where.axes(self.map.reduced(node), inner)
        source = self.operand(node, 0, inner)
        if not reduced:
            return source
        source = self.builder.spread(node, source, reduced, inner)
        combiner = combiner_of(node)
        identity = combiner.identity(node.dtype)
        source = self.builder.masked(source, reduced, identity, inner, node)
        out = self.builder.tile(node, tuple(a for a in source.axes if a not in reduced), node.dtype)
        into = self._accumulator(node, out, inner)
        self.builder.emit(inner, Reduce(out, source, reduced, combiner.op, identity, into))
        return out

    def _contract(self, node: Node, at: Place) -> Tile:
        if node in self.joined:
            return self.joined[node]
        inner = self.where.of_operands(node, at)
        reduced = self.where.axes(self.map.reduced(node), inner)
        tiles = [self.operand(x, p, inner) for x, p in self._edges(node)]
        summed = [tuple(x for x in reduced if x.id in self.map.ports[node, p]) for p in (0, 1)]
        sides = [{*tile.axes, *mine} for tile, mine in zip(tiles, summed, strict=True)]
        dot = node.dtype.is_float and self._fits_dot(sides, reduced)
        if not dot:
            tiles = [self.operand(node, p, inner) for p in (0, 1)]
        if not reduced:
            return self.builder.map(node, "mul", tuple(tiles), inner)
        a, b = (
            self.builder.masked(self.builder.spread(node, tile, mine, inner), mine, 0, inner, node)
            for tile, mine in zip(tiles, summed, strict=True)
        )
        kept = [x.id for t in (a, b) for x in t.axes if x not in reduced]
        out = self.builder.tile(node, self.where.axes(kept, inner), node.dtype)
        into = self._accumulator(node, out, inner)
        self.builder.emit(inner, Contract(out, a, b, reduced, dot, into, self.target.precision))
        return out

    def _fits_dot(self, sides: Sequence[set[Axis]], reduced: tuple[Axis, ...]) -> bool:
        """Whether operands along these axes are two matrices that are large enough."""
        least = self.target.machine.dot_size
        if not least or len(reduced) != 1:
            return False
        free = {x for side in sides for x in side if x not in reduced}
        return (
            all(len(side) == 2 for side in sides)
            and len(free) == 2
            and all(x.block >= least for x in (*free, *reduced))
        )

    def _take(self, node: Node, at: Place) -> Tile:
        index = self.operand(node, 1, at)
        place = view(node.inputs[0], self.stored)
        assert place is not None, "rows are picked from memory"
        rows = place.dims[0]
        terms = [Term(rows.stride, None, index, rows.shift, rows.step, rows.length)]
        port = self.map.ports[node, 0]
        terms += [
            Term(dim.stride, self.where.axis(a, at), None, dim.shift, dim.step, dim.length)
            for dim, a in zip(place.dims[1:], port[1:], strict=True)
            if (dim.stride != 0 or dim.length is not None) and a in self.axes
        ]
        ids = [x.id for x in index.axes] + [t.axis.id for t in terms if t.axis is not None]
        address = Address(place.buffer.name, tuple(terms), place.offset)
        return self.builder.read(node, address, ids, at)

    # -- the kernel -------------------------------------------------------------------------

    def store(self, node: Node, buffer: Buffer) -> None:
        """Have `node` written to `buffer`: from the body where it has the streamed axis, else
        from the epilogue."""
        walked = self.map.of[node]
        at = self.where.of_store(node)
        value = self.value(node, at)
        axes = self.where.axes(walked, at)
        value = self.builder.spread(node, value, axes, at)
        if buffer.binding is Binding.STEP:
            address = Address(buffer.name, (), STEP)
        else:
            address = Address(
                buffer.name,
                tuple(
                    Term(stride, self.where.axis(a, at))
                    for stride, a in zip(row_major(node.shape), walked, strict=True)
                    if a in self.axes
                ),
            )
        self.builder.store(at, Store(value, address, axes))

    def finish(self, buffers: Sequence[Buffer]) -> TileKernel:
        """The kernel, with the buffers that it touches in the order of `buffers`."""
        return self.builder.finish(self.name, self.nodes, buffers)
