"""From the tile IR to the loop IR: which statements share a nest of loops, which tiles need arrays,
which are written out where they are read, and which loop runs innermost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphir.sizes import Dim, Size

from .loops import Array, LoopKernel, Nest, Part, accesses, padded_array
from .tile import (
    Address,
    Axis,
    AxisRole,
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
    Tile,
    TileKernel,
    operands,
)

_LANES = 16  # elements of a vector register, for weighing loop orders
_SINGLE = 2  # operations to put an element that lies apart into a vector, or to take it out
# Rather computed where it is read than kept: an array of truth values beside wider ones would make
# loops run by as many elements as bytes fill a vector.
_RECOMPUTED = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


def build_loops(kernel: TileKernel, vector_bytes: int) -> LoopKernel:
    """The loop nests of a tile kernel, its contractions not yet blocked."""
    kept = {
        acc.tile: padded_array(acc.tile, acc.tile.axes, vector_bytes) for acc in kernel.accumulators
    }
    preamble = _Builder({}, kept, vector_bytes).build(kernel.preamble, _used_in(kernel.body))
    body = _Builder(preamble.inline, kept, vector_bytes).build(kernel.body, ())
    epilogue = _Builder({}, kept, vector_bytes).build(kernel.epilogue, ())
    return LoopKernel(kernel, preamble, body, epilogue, kept, vector_bytes)


def _used_in(statements: Sequence[Statement]) -> dict[Tile, None]:
    """In the order of the statements: that of a set changes from process to process."""
    return dict.fromkeys(t for s in statements for t in operands(s))


class _Builder:
    def __init__(
        self, inline: Mapping[Tile, Statement], accumulators: Iterable[Tile], vector_bytes: int
    ) -> None:
        self.vector_bytes = vector_bytes
        self.inline = dict(inline)
        self.outer = set(inline)
        self.nests: list[Nest] = []
        self.home: dict[Tile, int] = {}
        self.read: dict[str, int] = {}  # behind the loads of a buffer that is also written
        self.maps: set[Tile] = set()
        self.accumulators = set(accumulators)

    def build(self, statements: Sequence[Statement], escaping: Iterable[Tile]) -> Part:
        """Sort statements into nests; `escaping` tiles are read by a later section."""
        forced = self._overwritten_loads(statements)
        for s in statements:
            match s:
                case Load() if s not in forced:
                    self.inline[s.out] = s
                case Fill() | SizeOf() | Position() | Map(op="copy"):
                    self.inline[s.out] = s
                case Map(op=op, args=args) if op in _RECOMPUTED and all(map(self._at_hand, args)):
                    self.inline[s.out] = s
                case Mask(out=out, source=source):
                    # Loops have exact bounds: there is nothing beyond an axis' end.
                    self.inline[out] = Map(out, "copy", (source,))
                case _:
                    self._place(s)
        inline = {t: s for t, s in self.inline.items() if t not in self.outer}
        part = Part(self.nests, {}, inline)
        part.arrays = self._arrays(escaping)
        return part

    def _at_hand(self, tile: Tile) -> bool:
        """Whether a value is a constant, a position or one read from memory."""
        source = self.inline.get(tile)
        if isinstance(source, Load):
            return all(t.at is None and t.length is None for t in source.address.terms)
        if isinstance(source, Map) and source.op == "copy":
            return self._at_hand(source.args[0])
        return isinstance(source, (Fill, SizeOf, Position))

    def _overwritten_loads(self, statements: Sequence[Statement]) -> set[Statement]:
        """Loads from buffers that this section also writes: they are read before the stores.

        A load stays where its only reader is the nest that writes the same element.
        """
        written = {s.address.buffer: s for s in statements if isinstance(s, Store)}
        return {
            s
            for s in statements
            if isinstance(s, Load)
            and s.address.buffer in written
            and (
                s.address != written[s.address.buffer].address
                or not self._only_feeds(s.out, written[s.address.buffer], statements)
            )
        }

    def _only_feeds(self, tile: Tile, store: Store, statements: Sequence[Statement]) -> bool:
        """Whether `tile` reaches nothing but `store`, through elementwise ops of its own axes."""
        reached = {tile}
        for s in statements:
            if not any(x in reached for x in operands(s)):
                continue
            if isinstance(s, Map) and set(s.out.axes) == set(store.axes):
                reached.add(s.out)
            elif s is not store:
                return False
        return True

    def _ready(self, tile: Tile, axes: frozenset[Axis]) -> int:
        """The first nest that can read `tile` inside loops over `axes`."""
        source = self.inline.get(tile)
        if source is not None:
            return max((self._ready(t, axes) for t in operands(source)), default=0)
        if tile not in self.home:
            return 0
        place = self.home[tile]
        shared = tile in self.maps and frozenset(self.nests[place].axes) == axes
        return place if shared and not self.nests[place].closed else place + 1

    def _place(self, s: Statement) -> None:
        match s:
            case Contract(a=a, b=b):
                axes = tuple(dict.fromkeys((*a.axes, *b.axes)))
            case Reduce(source=source):
                axes = source.axes
            case Store(axes=stored):
                axes = stored
            case Map(out=out) | Load(out=out):
                axes = out.axes
            case _:
                raise AssertionError(f"{s!r} is not placed in a nest")
        wanted = frozenset(axes)
        ready = max((self._ready(t, wanted) for t in operands(s)), default=0)
        if isinstance(s, Store):
            # What this overwrites has been read.
            ready = max(ready, self.read.get(s.address.buffer, 0))
        # A load that must be done before a store shares no loops with it.
        alone = isinstance(s, (Contract, Load))
        place = None
        # The first nest that fits: what needs the result then finds room in those that follow.
        if not alone:
            place = next(
                (
                    k
                    for k in range(ready, len(self.nests))
                    if frozenset(self.nests[k].axes) == wanted and not self.nests[k].closed
                ),
                None,
            )
        if place is None:
            self.nests.append(Nest(axes, [], alone))
            place = len(self.nests) - 1
        self.nests[place].statements.append(s)
        if isinstance(s, Load):
            self.read[s.address.buffer] = len(self.nests)
        if not isinstance(s, Store):
            self.home[s.out] = place
            if isinstance(s, (Map, Load)):
                self.maps.add(s.out)

    def _arrays(self, escaping: Iterable[Tile]) -> dict[Tile, Array]:
        """A tile lies in an array where another nest reads it, or where it is joined up."""
        needed: dict[Tile, None] = {}
        for place, nest in enumerate(self.nests):
            for s in nest.statements:
                if isinstance(s, (Reduce, Contract)) and s.into is None:
                    needed[s.out] = None
                for x in accesses(s, self.inline):
                    if isinstance(x, Tile) and self.home.get(x, place) != place:
                        needed[x] = None
        for tile in escaping:
            source = self.inline.get(tile)
            for x in [tile] if source is None else accesses(source, self.inline):
                if isinstance(x, Tile) and x in self.home:
                    needed[x] = None
        return {
            t: padded_array(t, _layout(t.axes), self.vector_bytes)
            for t in needed
            if t not in self.accumulators
        }


def _layout(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Rows run fastest where the other axes are too short to fill a vector."""
    stream = [a for a in axes if a.role is AxisRole.STREAM]
    rest = [a for a in axes if a.role is not AxisRole.STREAM]
    width = 1
    for axis in rest:
        width *= axis.block
    return (*rest, *stream) if width < _LANES else (*stream, *rest)


def stride_along(axis: Axis, address: Address) -> Size:
    """Elements between neighbours along `axis` in memory; 0 where it does not vary."""
    total: Size = 0
    for term in address.terms:
        if term.axis is axis:
            total = total + term.stride
        elif term.at is not None and axis in term.at.axes:
            total = total + term.stride * _LANES
    return total


def loop_order(
    nest: Nest, arrays: Mapping[Tile, Array], inline: Mapping[Tile, Statement]
) -> tuple[Axis, ...]:
    """The axis along which an element takes the least time runs innermost; rows run outermost.

    Statements and accesses in order go a vector at a time, other accesses element by element; what
    does not vary along the innermost axis costs nothing.
    """
    if len(nest.axes) < 2:
        return nest.axes

    def cost(axis: Axis) -> tuple[float, int]:
        by_vectors, by_elements = len(nest.statements), 0
        for s in nest.statements:
            places: list[Size] = []
            for x in accesses(s, inline):
                if isinstance(x, Load):
                    places.append(stride_along(axis, x.address))
                elif x in arrays:
                    places.append(arrays[x].strides().get(axis, 0))
            if isinstance(s, Store):
                places.append(stride_along(axis, s.address))
            elif s.out in arrays:
                places.append(arrays[s.out].strides().get(axis, 0))
            by_vectors += sum(stride == 1 for stride in places)
            by_elements += sum(isinstance(p, Dim) or p not in (0, 1) for p in places)
        # A rest takes a shorter vector for each power of two in it.
        vectors = axis.block // _LANES + (axis.block % _LANES).bit_count()
        return (by_vectors * vectors / max(axis.block, 1) + _SINGLE * by_elements, -axis.block)

    inner = min(nest.axes, key=cost)
    rest = [a for a in nest.axes if a is not inner]
    rest.sort(key=lambda a: a.role is not AxisRole.STREAM)
    return (*rest, inner)
