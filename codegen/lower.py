"""From the nodes of one kernel to its tile IR."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

import numpy as np

from graphir import dtypes
from graphir.graph import Node
from graphir.opdef import OPS, Combiner, Kind
from graphir.sizes import Dim

from .axes import AxisMap
from .blocks import Blocks, Walk
from .machine import Machine, Precision
from .program import Binding, Buffer
from .tile import (
    Accumulator,
    Address,
    Axis,
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
    Term,
    Tile,
    TileKernel,
)
from .views import START, STEP, View, ViewDim, row_major, view

ALIASES = frozenset({"broadcast", "permute", "reshape", "copy", "stop_gradient"})
_WORDS = """
auto break case char const default do double enum extern float goto inline int long register
restrict short signed sizeof static struct switch typedef union unsigned void volatile
tl triton libdevice pid programs rows batch first last step start steps block base count
exp log sin cos tan sqrt pow tanh order n m sizes buffers kept scratch begin end call
final part reduce_maximum reduce_minimum reduce_mul multiply
random_words random_bits
"""
# Words of either target, and names that the printers give to what is not a tile.
RESERVED = frozenset(keyword.kwlist) | frozenset(_WORDS.split())


class Section(Enum):
    """The three parts of a kernel."""

    PREAMBLE = 0
    BODY = 1
    EPILOGUE = 2


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
        stored: Mapping[Node, Buffer],
        machine: Machine,
        names: Mapping[Node, str],
        order: Buffer | None,
        precision: Precision,
    ) -> None:
        self.precision = precision
        self.name, self.walk, self.map, self.stored = name, walk, axes, stored
        self.machine, self.names, self.order = machine, names, order
        self.nodes = list(nodes)
        self.computed = set(nodes)
        self.axes = Blocks.choose(nodes, written, walk, axes, machine).axes
        self.sections: dict[Section, list[Statement]] = {s: [] for s in Section}
        self.memo: dict[tuple[Section, Node], Tile] = {}
        self.loads: dict[tuple[Section, Address, tuple[Axis, ...]], Tile] = {}
        self.accumulators: list[Accumulator] = []
        self.clean: dict[Tile, frozenset[Axis]] = {}
        self.stores: dict[Section, list[Store]] = {s: [] for s in Section}
        sizes = {n for s in axes.size.values() if isinstance(s, Dim) for n in s.names}
        self.taken = set(RESERVED) | sizes | {a.name for a in self.axes.values()}

    # -- tiles ------------------------------------------------------------------------------

    def _axes(self, ids: Iterable[int]) -> tuple[Axis, ...]:
        found = {self.axes[a] for a in ids if a in self.axes}
        return tuple(a for a in self.axes.values() if a in found)

    def _tile(
        self, node: Node | None, axes: tuple[Axis, ...], dtype: dtypes.DType, prefix: str = "t"
    ) -> Tile:
        base = self.names.get(node) if node is not None else None
        stem = base or (f"{prefix}{node.id}" if node is not None else prefix)
        name, count = stem, 1
        # Buffers are passed as pointers of such names.
        while name in self.taken or name.endswith("_ptr"):
            count += 1
            name = f"{stem}_{count}"
        self.taken.add(name)
        return Tile(name, axes, dtype, node)

    def _emit(self, section: Section, statement: Statement) -> None:
        self.sections[section].append(statement)

    def _section(self, node: Node, asked: Section) -> Section:
        if asked is not Section.BODY:
            return asked
        return Section.BODY if self.walk.stream in self.map.of[node] else Section.PREAMBLE

    def value(self, node: Node, asked: Section) -> Tile:
        """The tile of `node`, defined no later than in section `asked`."""
        section = self._section(node, asked)
        for x, place in self._in_order(node, section):
            self.memo[place, x] = self._define(x, place)
        return self.memo[section, node]

    def _in_order(self, node: Node, section: Section) -> list[tuple[Node, Section]]:
        """What is still to be defined for `node`, operands first; a chain may be of any length."""
        order: list[tuple[Node, Section]] = []
        seen: set[tuple[Node, Section]] = set()
        stack = [(node, section, False)]
        while stack:
            x, place, expanded = stack.pop()
            if expanded:
                order.append((x, place))
            elif (place, x) not in self.memo and (x, place) not in seen:
                seen.add((x, place))
                stack.append((x, place, True))
                stack += [(y, s, False) for y, s in reversed(self._asked_of(x, place))]
        return order

    def _asked_of(self, node: Node, section: Section) -> list[tuple[Node, Section]]:
        """The operands whose tiles `node` reads, with the sections in which they are defined."""
        if self._read_at(node) is not None:
            return []
        joins = node.kind in (Kind.REDUCTION, Kind.CONTRACTION)
        inner = self._joined_in(node, section) if joins else section
        return [
            (x, self._section(x, inner))
            for position, x in enumerate(node.inputs)
            if (node, position) not in self.map.cuts
        ]

    def _read_at(self, node: Node) -> View | None:
        """Where `node` lies in memory, if it is read from there."""
        if node in self.computed and node not in self.stored:
            return None
        if node not in self.stored and self._aliased(node):
            return None
        return view(node, self.stored)

    def _define(self, node: Node, section: Section) -> Tile:
        place = self._read_at(node)
        if place is not None:
            return self._load(node, place, self.map.of[node], section)
        return self._compute(node, section)

    def _aliased(self, node: Node) -> bool:
        return node.op in ALIASES and (node, 0) not in self.map.cuts

    def operand(self, node: Node, position: int, section: Section) -> Tile:
        """The tile that operand `position` of `node` is, along the axes that `node` sees."""
        x = node.inputs[position]
        if (node, position) not in self.map.cuts:
            return self.value(x, section)
        place = view(x, self.stored)
        assert place is not None, "a cut edge reads from memory"
        return self._load(x, place, self.map.ports[node, position], section)

    def _load(self, node: Node, place: View, walked: Sequence[int], section: Section) -> Tile:
        if section is Section.BODY and self.walk.stream not in walked:
            section = Section.PREAMBLE
        terms, offset = [], place.offset
        for dim, a in zip(place.dims, walked, strict=True):
            # A repeated axis needs no term, unless only some of its places hold an element.
            if dim.stride == 0 and dim.length is None:
                continue
            axis = self.axes.get(a)
            if dim.rows:
                if self.order is not None:
                    terms.append(Term(dim.stride, at=self._rows(axis, dim, section)))
                    continue
                offset = offset + (START + dim.first) * dim.stride
            if axis is not None:
                stride = dim.stride * dim.by
                terms.append(Term(stride, axis, None, dim.shift, dim.step, dim.length))
        ids = [t.axis.id for t in terms if t.axis] + [
            a.id for t in terms if t.at for a in t.at.axes
        ]
        return self._read(node, Address(place.buffer.name, tuple(terms), offset), ids, section)

    def _read(
        self,
        node: Node | None,
        address: Address,
        ids: Iterable[int],
        section: Section,
        dtype: dtypes.DType | None = None,
    ) -> Tile:
        axes = self._axes(ids)
        key = (section, address, axes)
        if key not in self.loads:
            kind = dtype or (node.dtype if node is not None else dtypes.int64)
            tile = self._tile(node, axes, kind, "rows")
            self._emit(section, Load(tile, address))
            self.clean[tile] = frozenset(axes)
            self.loads[key] = tile
        return self.loads[key]

    def _rows(self, axis: Axis | None, dim: ViewDim, section: Section) -> Tile:
        """The row numbers of the batch: the shuffle's permutation from the batch's start on."""
        assert self.order is not None
        terms = (Term(dim.by, axis),) if axis is not None else ()
        address = Address(self.order.name, terms, START + dim.first)
        return self._read(None, address, [axis.id] if axis is not None else [], section)

    # -- computing --------------------------------------------------------------------------

    def _compute(self, node: Node, section: Section) -> Tile:
        if node.op in ("slice", "embed") or (node.op == "reshape" and not self._aliased(node)):
            place = view(node, self.stored)
            assert place is not None, f"{node!r} reads from memory"
            return self._load(node, place, self.map.of[node], section)
        if node.op in ALIASES:
            return self.operand(node, 0, section)
        if node.op == "take":
            return self._take(node, section)
        match node.kind:
            case Kind.SOURCE:
                return self._source(node, section)
            case Kind.ELEMENTWISE:
                args = tuple(self.operand(node, p, section) for p in range(len(node.inputs)))
                return self._map(node, node.op, args, section)
            case Kind.REDUCTION:
                return self._reduce(node, section)
            case Kind.CONTRACTION:
                return self._contract(node, section)
        raise AssertionError(f"{node.op} was not prepared for lowering")

    def _source(self, node: Node, section: Section) -> Tile:
        if node.op == "iota":
            tile = self._tile(node, self._axes(self.map.of[node]), node.dtype)
            self._emit(section, Position(tile) if tile.axes else Fill(tile, 0))
            return tile
        tile = self._tile(node, (), node.dtype)
        if node.op == "size":
            self._emit(section, SizeOf(tile, node.attrs["size"]))
        else:
            value = np.frombuffer(node.attrs["value"], node.dtype.numpy)[0].item()
            self._emit(section, Fill(tile, value))
        return tile

    def _map(
        self,
        node: Node,
        op: str,
        args: tuple[Tile, ...],
        section: Section,
        axes: tuple[Axis, ...] = (),
    ) -> Tile:
        ids = [a.id for t in args for a in t.axes] + [a.id for a in axes]
        tile = self._tile(node, self._axes(ids), node.dtype if op != "copy" else args[0].dtype)
        self._emit(section, Map(tile, op, args))
        return tile

    def _spread(self, node: Node, tile: Tile, axes: tuple[Axis, ...], section: Section) -> Tile:
        """`tile` along all of `axes`, repeating it where it lacks some."""
        if all(a in tile.axes for a in axes):
            return tile
        clean = self.clean.get(tile, frozenset())
        spread = self._map(node, "copy", (tile,), section, axes)
        self.clean[spread] = clean
        return spread

    def _masked(
        self,
        tile: Tile,
        axes: tuple[Axis, ...],
        value: float | int | bool,
        section: Section,
        node: Node,
    ) -> Tile:
        """`tile` with the combiner's identity beyond the ends of the axes that it is joined on."""
        clean = self.clean.get(tile, frozenset()) if value == 0 else frozenset()
        dirty = tuple(a for a in axes if self.machine.padded and a.ragged and a not in clean)
        if not dirty:
            return tile
        masked = self._tile(node, tile.axes, tile.dtype, "m")
        self._emit(section, Mask(masked, tile, dirty, value))
        self.clean[masked] = clean | set(dirty) if value == 0 else frozenset()
        return masked

    def _accumulator(self, node: Node, out: Tile) -> Accumulator | None:
        if self.walk.stream is None or self.walk.stream not in self.map.reduced(node):
            return None
        if self.map.size[self.walk.stream] == 1:
            return None
        combiner = combiner_of(node)
        made = Accumulator(out, combiner.op, combiner.identity(node.dtype))
        self.accumulators.append(made)
        return made

    def _reduce(self, node: Node, section: Section) -> Tile:
        reduced = self._axes(self.map.reduced(node))
        inner = self._joined_in(node, section)
        source = self.operand(node, 0, inner)
        if not reduced:
            return source
        source = self._spread(node, source, reduced, inner)
        combiner = combiner_of(node)
        identity = combiner.identity(node.dtype)
        source = self._masked(source, reduced, identity, inner, node)
        out = self._tile(node, tuple(a for a in source.axes if a not in reduced), node.dtype)
        into = self._accumulator(node, out)
        self._emit(inner, Reduce(out, source, reduced, combiner.op, identity, into))
        return out

    def _joined_in(self, node: Node, section: Section) -> Section:
        """Where the operands of a reduction live: in the body if it joins the stream's blocks."""
        return Section.BODY if self.walk.stream in self.map.reduced(node) else section

    def _contract(self, node: Node, section: Section) -> Tile:
        reduced = self._axes(self.map.reduced(node))
        inner = self._joined_in(node, section)
        a, b = (self.operand(node, p, inner) for p in (0, 1))
        if not reduced:
            return self._map(node, "mul", (a, b), inner)
        sides = []
        for position, tile in ((0, a), (1, b)):
            port = self.map.ports[node, position]
            mine = tuple(x for x in reduced if x.id in port)
            tile = self._spread(node, tile, mine, inner)
            sides.append(self._masked(tile, mine, 0, inner, node))
        a, b = sides
        kept = [x.id for t in (a, b) for x in t.axes if x not in reduced]
        out = self._tile(node, self._axes(kept), node.dtype)
        into = self._accumulator(node, out)
        dot = self._fits_dot(a, b, reduced)
        self._emit(inner, Contract(out, a, b, reduced, dot, into, self.precision))
        return out

    def _fits_dot(self, a: Tile, b: Tile, reduced: tuple[Axis, ...]) -> bool:
        least = self.machine.dot_size
        if not least or not a.dtype.is_float or len(reduced) != 1:
            return False
        free = [x for t in (a, b) for x in t.axes if x not in reduced]
        return (
            len(a.axes) == len(b.axes) == 2
            and len(set(free)) == 2
            and all(x.block >= least for x in (*free, *reduced))
        )

    def _take(self, node: Node, section: Section) -> Tile:
        index = self.operand(node, 1, section)
        place = view(node.inputs[0], self.stored)
        assert place is not None, "rows are picked from memory"
        terms = [Term(place.dims[0].stride, at=index)]
        port = self.map.ports[node, 0]
        terms += [
            Term(dim.stride, self.axes[a], None, dim.shift, dim.step, dim.length)
            for dim, a in zip(place.dims[1:], port[1:], strict=True)
            if (dim.stride != 0 or dim.length is not None) and a in self.axes
        ]
        ids = [x.id for x in index.axes] + [t.axis.id for t in terms if t.axis is not None]
        address = Address(place.buffer.name, tuple(terms), place.offset)
        return self._read(node, address, ids, section)

    # -- the kernel -------------------------------------------------------------------------

    def store(self, node: Node, buffer: Buffer) -> None:
        """Have `node` written to `buffer`: from the body where it has the streamed axis, else
        from the epilogue."""
        walked = self.map.of[node]
        in_body = self.walk.stream is not None and self.walk.stream in walked
        section = Section.BODY if in_body and self.walk.stream in self.axes else Section.EPILOGUE
        value = self.value(node, section)
        axes = self._axes(walked)
        value = self._spread(node, value, axes, section)
        if buffer.binding is Binding.STEP:
            address = Address(buffer.name, (), STEP)
        else:
            address = Address(
                buffer.name,
                tuple(
                    Term(stride, self.axes[a])
                    for stride, a in zip(row_major(node.shape), walked, strict=True)
                    if a in self.axes
                ),
            )
        # Every load of a section comes before its first store: updates are in place.
        self.stores[section].append(Store(value, address, axes))

    def finish(self, buffers: Sequence[Buffer]) -> TileKernel:
        """The kernel, with the buffers that it touches in the order of `buffers`."""
        for section, stores in self.stores.items():
            self.sections[section] += stores
        touched = {
            s.address.buffer
            for part in self.sections.values()
            for s in part
            if isinstance(s, (Load, Store))
        }
        return TileKernel(
            self.name,
            tuple(self.axes.values()),
            tuple(self.sections[Section.PREAMBLE]),
            tuple(self.sections[Section.BODY]),
            tuple(self.sections[Section.EPILOGUE]),
            tuple(self.accumulators),
            tuple(b.name for b in buffers if b.name in touched),
            tuple(self.nodes),
        )
