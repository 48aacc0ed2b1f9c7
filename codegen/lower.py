"""From the nodes of one kernel to its tile IR."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from math import prod

import numpy as np

from graphir import dtypes
from graphir.graph import Node
from graphir.opdef import OPS, Combiner, Kind
from graphir.sizes import Dim

from .axes import AxisMap
from .blocks import Blocks
from .gpu_blocks import parts_at_once
from .levels import Levels, Place, Section
from .machine import Machine, Precision
from .program import Binding, Buffer
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
    defines,
)
from .uses import Walk
from .views import START, STEP, View, ViewDim, row_major, view

ALIASES = frozenset({"broadcast", "permute", "reshape", "copy", "stop_gradient"})
_WORDS = """
auto break case char const default do double enum extern float goto inline int long register
restrict short signed sizeof static struct switch typedef union unsigned void volatile
tl triton libdevice pid programs rows batch first last step start steps block base count
exp log sin cos tan sqrt pow tanh order n m sizes buffers kept scratch begin end call
done final part share place left meet arrived chunk ticket group members
reduce_maximum reduce_minimum reduce_mul multiply random_words random_bits
"""
_LAST = 1 << 30  # after every loop over chunks
_PARTS = frozenset(f"parts_{1 << k}" for k in range(1, 8))
# Words of either target, and names that the printers give to what is not a tile.
RESERVED = frozenset(keyword.kwlist) | frozenset(_WORDS.split()) | _PARTS


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
        choice: int,
    ) -> None:
        self.precision = precision
        self.name, self.walk, self.map, self.stored = name, walk, axes, stored
        self.machine, self.names, self.order = machine, names, order
        self.nodes = list(nodes)
        self.computed = set(nodes)
        self.blocks = Blocks.choose(nodes, written, walk, axes, machine, choice)
        self.axes = self.blocks.axes
        chunked = [a for a, axis in self.axes.items() if axis.role is AxisRole.CHUNK]
        self.chunk = chunked[0] if chunked else None
        self.levels = Levels(
            nodes, self.chunk, walk.stream, axes, lambda node: self._read_at(node) is not None
        )
        self.stored_in = self._last_loops(written)
        self.statements: dict[Place, list[Statement]] = {}
        self.memo: dict[tuple[Place, Node], Tile] = {}
        self.loads: dict[tuple[Place, Address, tuple[Axis, ...]], Tile] = {}
        self.accumulators: list[Accumulator] = []
        self.joined: dict[Node, Tile] = {}
        self.inner: dict[Place, list[Accumulator]] = {}
        self.masks: dict[tuple[Place, Tile, tuple[Axis, ...], object], Tile] = {}
        self.made_at: dict[Tile, Place] = {}
        self.clean: dict[Tile, frozenset[Axis]] = {}
        self.stores: dict[Place, list[Store]] = {}
        sizes = {n for s in axes.size.values() if isinstance(s, Dim) for n in s.names}
        named = [*self.axes.values(), *([self.blocks.wide] if self.blocks.wide else [])]
        self.taken = set(RESERVED) | sizes | {a.name for a in named}
        self.taken |= {f"{a.name}_block" for a in named}

    # -- tiles ------------------------------------------------------------------------------

    def _last_loops(self, written: Sequence[Node]) -> dict[Section, int]:
        """The loop of each part in which all that is written along the chunk axis is there."""
        return {
            section: max(
                (
                    self.levels.ready.get((section, n), 0)
                    for n in written
                    if self.chunk in self.map.of[n]
                ),
                default=0,
            )
            for section in Section
        }

    def _axis(self, a: int, at: Place) -> Axis:
        """The axis as tiles of that place have it."""
        if a != self.chunk or self.blocks.wide is None:
            return self.axes[a]
        unrolled = at.section is Section.BODY and at.level in self.levels.unrolled
        return self.blocks.wide if unrolled or at.section is Section.EPILOGUE else self.axes[a]

    def _axes(self, ids: Iterable[int], at: Place) -> tuple[Axis, ...]:
        found = set(ids)
        return tuple(self._axis(a, at) for a in self.axes if a in found)

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

    def _emit(self, at: Place, statement: Statement) -> None:
        self.statements.setdefault(at, []).append(statement)
        made = defines(statement)
        if made is not None:
            self.made_at[made] = at

    def _beside(self, tile: Tile, at: Place) -> Place:
        """Where to define what is made of `tile` alone and asked for at a place."""
        if any(a.id == self.chunk for a in tile.axes):
            return at
        made = self.made_at[tile]
        return Place(at.section, made.level if made.section is at.section else 0)

    def _place(self, node: Node, asked: Place) -> Place:
        """Where the tile of `node` is defined that is asked for at a place."""
        if self.chunk in self.map.of[node]:
            return asked
        section = asked.section
        if section is Section.BODY and self.walk.stream not in self.map.of[node]:
            section = Section.PREAMBLE
        return Place(section, self.levels.ready.get((section, node), 0))

    def value(self, node: Node, asked: Place) -> Tile:
        """The tile of `node`, defined no later than where it is asked for."""
        at = self._place(node, asked)
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
        inner = self._joined_in(node, at) if joins else at
        return [
            (x, self._place(x, inner))
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

    def _define(self, node: Node, at: Place) -> Tile:
        place = self._read_at(node)
        if place is not None:
            return self._load(node, place, self.map.of[node], at)
        return self._compute(node, at)

    def _aliased(self, node: Node) -> bool:
        return node.op in ALIASES and (node, 0) not in self.map.cuts

    def operand(self, node: Node, position: int, at: Place) -> Tile:
        """The tile that operand `position` of `node` is, along the axes that `node` sees."""
        x = node.inputs[position]
        if (node, position) not in self.map.cuts:
            return self.value(x, at)
        place = view(x, self.stored)
        assert place is not None, "a cut edge reads from memory"
        return self._load(x, place, self.map.ports[node, position], at)

    def _load(self, node: Node, place: View, walked: Sequence[int], at: Place) -> Tile:
        if self.chunk not in walked:
            early = at.section is Section.BODY and self.walk.stream not in walked
            at = Place(Section.PREAMBLE if early else at.section)
        terms, offset = [], place.offset
        for dim, a in zip(place.dims, walked, strict=True):
            # A repeated axis needs no term, unless only some of its places hold an element.
            if dim.stride == 0 and dim.length is None:
                continue
            axis = self._axis(a, at) if a in self.axes else None
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
        return self._read(node, Address(place.buffer.name, tuple(terms), offset), ids, at)

    def _read(
        self,
        node: Node | None,
        address: Address,
        ids: Iterable[int],
        at: Place,
        dtype: dtypes.DType | None = None,
    ) -> Tile:
        axes = self._axes(ids, at)
        key = (at, address, axes)
        if key not in self.loads:
            kind = dtype or (node.dtype if node is not None else dtypes.int64)
            tile = self._tile(node, axes, kind, "rows")
            self._emit(at, Load(tile, address))
            self.clean[tile] = frozenset(axes)
            self.loads[key] = tile
        return self.loads[key]

    def _rows(self, axis: Axis | None, dim: ViewDim, at: Place) -> Tile:
        """The row numbers of the batch: the shuffle's permutation from the batch's start on."""
        assert self.order is not None
        terms = (Term(dim.by, axis),) if axis is not None else ()
        address = Address(self.order.name, terms, START + dim.first)
        walked = [axis.id] if axis is not None else []
        if self.chunk not in walked:
            at = Place(at.section)
        return self._read(None, address, walked, at)

    # -- computing --------------------------------------------------------------------------

    def _compute(self, node: Node, at: Place) -> Tile:
        if node.op in ("slice", "embed") or (node.op == "reshape" and not self._aliased(node)):
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
                return self._map(node, node.op, args, at)
            case Kind.REDUCTION:
                return self._reduce(node, at)
            case Kind.CONTRACTION:
                return self._contract(node, at)
        raise AssertionError(f"{node.op} was not prepared for lowering")

    def _source(self, node: Node, at: Place) -> Tile:
        if node.op == "iota":
            tile = self._tile(node, self._axes(self.map.of[node], at), node.dtype)
            self._emit(at, Position(tile) if tile.axes else Fill(tile, 0))
            return tile
        tile = self._tile(node, (), node.dtype)
        if node.op == "size":
            self._emit(at, SizeOf(tile, node.attrs["size"]))
        else:
            value = np.frombuffer(node.attrs["value"], node.dtype.numpy)[0].item()
            self._emit(at, Fill(tile, value))
        return tile

    def _map(
        self,
        node: Node,
        op: str,
        args: tuple[Tile, ...],
        at: Place,
        axes: tuple[Axis, ...] = (),
    ) -> Tile:
        ids = [a.id for t in args for a in t.axes] + [a.id for a in axes]
        tile = self._tile(node, self._axes(ids, at), node.dtype if op != "copy" else args[0].dtype)
        self._emit(at, Map(tile, op, args))
        return tile

    def _spread(self, node: Node, tile: Tile, axes: tuple[Axis, ...], at: Place) -> Tile:
        """`tile` along all of `axes`, repeating it where it lacks some."""
        if all(a in tile.axes for a in axes):
            return tile
        clean = self.clean.get(tile, frozenset())
        if all(a.id != self.chunk for a in axes):
            at = self._beside(tile, at)
        spread = self._map(node, "copy", (tile,), at, axes)
        self.clean[spread] = clean
        return spread

    def _masked(
        self,
        tile: Tile,
        axes: tuple[Axis, ...],
        value: float | int | bool,
        at: Place,
        node: Node,
    ) -> Tile:
        """`tile` with the combiner's identity beyond the ends of the axes that it is joined on."""
        clean = self.clean.get(tile, frozenset()) if value == 0 else frozenset()
        dirty = tuple(a for a in axes if self.machine.padded and a.ragged and a not in clean)
        if not dirty:
            return tile
        at = self._beside(tile, at)
        key = (at, tile, dirty, (type(value), value))
        if key in self.masks:
            return self.masks[key]
        masked = self.masks[key] = self._tile(node, tile.axes, tile.dtype, "m")
        self._emit(at, Mask(masked, tile, dirty, value))
        self.clean[masked] = clean | set(dirty) if value == 0 else frozenset()
        return masked

    def _accumulator(self, node: Node, out: Tile, at: Place) -> Accumulator | None:
        """What `node` is joined into where its operands come in blocks."""
        reduced = self.map.reduced(node)
        streamed = self.walk.stream in reduced and self.map.size[self.walk.stream] != 1
        if not streamed and self.chunk not in reduced:
            return None
        combiner = combiner_of(node)
        pieces = tuple(
            self._tile(node, out.axes, out.dtype)
            for a in out.axes if a.role is AxisRole.CHUNK for _ in range(a.blocks)
        )  # fmt: skip
        at_once = parts_at_once(prod(a.block for a in out.axes))
        made = Accumulator(out, combiner.op, combiner.identity(node.dtype), pieces, at_once)
        if streamed:
            self.accumulators.append(made)
            self.joined[node] = out
            self.made_at[out] = Place(Section.EPILOGUE)
        else:
            self.inner.setdefault(at, []).append(made)
            self.made_at[out] = Place(at.section, at.level + 1)
        return made

    def _joined_in(self, node: Node, at: Place) -> Place:
        """Where the operands of a reduction live: in the body if it joins the stream's blocks,
        in a loop if it joins chunks."""
        reduced = self.map.reduced(node)
        streamed = self.walk.stream in reduced
        section = Section.BODY if streamed else at.section
        level = self.levels.operands.get((section, node), 0)
        if self.chunk in reduced:
            return Place(section, level, looped=True)
        if streamed:
            return Place(section, level, looped=self.chunk in self.map.of[node])
        return at

    def _reduce(self, node: Node, at: Place) -> Tile:
        if node in self.joined:
            return self.joined[node]
        inner = self._joined_in(node, at)
        reduced = self._axes(self.map.reduced(node), inner)
        source = self.operand(node, 0, inner)
        if not reduced:
            return source
        source = self._spread(node, source, reduced, inner)
        combiner = combiner_of(node)
        identity = combiner.identity(node.dtype)
        source = self._masked(source, reduced, identity, inner, node)
        out = self._tile(node, tuple(a for a in source.axes if a not in reduced), node.dtype)
        into = self._accumulator(node, out, inner)
        self._emit(inner, Reduce(out, source, reduced, combiner.op, identity, into))
        return out

    def _contract(self, node: Node, at: Place) -> Tile:
        if node in self.joined:
            return self.joined[node]
        inner = self._joined_in(node, at)
        reduced = self._axes(self.map.reduced(node), inner)
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
        out = self._tile(node, self._axes(kept, inner), node.dtype)
        into = self._accumulator(node, out, inner)
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

    def _take(self, node: Node, at: Place) -> Tile:
        index = self.operand(node, 1, at)
        place = view(node.inputs[0], self.stored)
        assert place is not None, "rows are picked from memory"
        rows = place.dims[0]
        terms = [Term(rows.stride, None, index, rows.shift, rows.step, rows.length)]
        port = self.map.ports[node, 0]
        terms += [
            Term(dim.stride, self._axis(a, at), None, dim.shift, dim.step, dim.length)
            for dim, a in zip(place.dims[1:], port[1:], strict=True)
            if (dim.stride != 0 or dim.length is not None) and a in self.axes
        ]
        ids = [x.id for x in index.axes] + [t.axis.id for t in terms if t.axis is not None]
        address = Address(place.buffer.name, tuple(terms), place.offset)
        return self._read(node, address, ids, at)

    # -- the kernel -------------------------------------------------------------------------

    def store(self, node: Node, buffer: Buffer) -> None:
        """Have `node` written to `buffer`: from the body where it has the streamed axis, else
        from the epilogue."""
        walked = self.map.of[node]
        in_body = self.walk.stream is not None and self.walk.stream in walked
        section = Section.BODY if in_body and self.walk.stream in self.axes else Section.EPILOGUE
        if self.chunk in walked:
            at = Place(section, self.stored_in[section], looped=True)
        else:
            at = Place(section, self.levels.ready.get((section, node), 0))
        value = self.value(node, at)
        axes = self._axes(walked, at)
        value = self._spread(node, value, axes, at)
        if buffer.binding is Binding.STEP:
            address = Address(buffer.name, (), STEP)
        else:
            address = Address(
                buffer.name,
                tuple(
                    Term(stride, self._axis(a, at))
                    for stride, a in zip(row_major(node.shape), walked, strict=True)
                    if a in self.axes
                ),
            )
        # Every load of a part comes before its first store: updates are in place.
        if not at.looped:
            at = Place(section, _LAST)
        self.stores.setdefault(at, []).append(Store(value, address, axes))

    def finish(self, buffers: Sequence[Buffer]) -> TileKernel:
        """The kernel, with the buffers that it touches in the order of `buffers`."""
        for at, stores in self.stores.items():
            self.statements.setdefault(at, []).extend(stores)
        parts: dict[Section, list[Statement]] = {s: [] for s in Section}
        loops = []
        # Of one level, what the loop reads comes before it.
        for at in sorted(self.statements, key=lambda p: (p.section.value, p.level, p.looped)):
            part, found = parts[at.section], self.statements[at]
            if at.looped:
                axis = self._axis(self._chunk_id(), at)
                loops.append(
                    Loop(
                        at.section.name.lower(), len(part), len(part) + len(found), axis,
                        tuple(self.inner.get(at, ())),
                        at.section is Section.BODY and at.level in self.levels.unrolled,
                    )
                )  # fmt: skip
            part += found
        touched = {
            s.address.buffer
            for part in parts.values()
            for s in part
            if isinstance(s, (Load, Store))
        }
        axes = list(self.axes.values())
        if self.blocks.wide is not None:
            chunk_place = next(i for i, a in enumerate(axes) if a.id == self.chunk)
            axes.insert(chunk_place + 1, self.blocks.wide)
        return TileKernel(
            self.name,
            tuple(axes),
            tuple(parts[Section.PREAMBLE]),
            tuple(parts[Section.BODY]),
            tuple(parts[Section.EPILOGUE]),
            tuple(self.accumulators),
            tuple(b.name for b in buffers if b.name in touched),
            tuple(self.nodes),
            tuple(loops),
            self.blocks.tuning,
            self.blocks.choice,
            self.blocks.choices,
        )

    def _chunk_id(self) -> int:
        assert self.chunk is not None, "only a chunk axis is looped over"
        return self.chunk
