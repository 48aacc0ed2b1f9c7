"""The statements of one kernel while they are made, and the kernel that they become.

Tiles get free names, and each statement goes to its place; no mask and no read is made twice.
What values the statements compute is not known here: that is `lower.py`'s.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from math import prod

from graphir import dtypes
from graphir.graph import Node
from graphir.opdef import Combiner
from graphir.sizes import Dim

from .gpu_blocks import parts_at_once
from .levels import Place, Section
from .placement import Placement
from .program import Buffer
from .tile import (
    Accumulator,
    Address,
    Axis,
    AxisRole,
    Load,
    Loop,
    Map,
    Mask,
    Statement,
    Store,
    Tile,
    TileKernel,
    defines,
)

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


class KernelBuilder:
    """Collects one kernel's statements by the places where they run.

    Args:
        where: the places, and the axes that tiles have there.
        names: what the user calls some nodes.
        padded: whether tiles reach beyond the ends of their axes, so that masks are needed.
    """

    def __init__(self, where: Placement, names: Mapping[Node, str], padded: bool) -> None:
        self.where, self.names, self.padded = where, names, padded
        self._statements: dict[Place, list[Statement]] = {}
        self._stores: dict[Place, list[Store]] = {}
        self._accumulators: list[Accumulator] = []
        self._inner: dict[Place, list[Accumulator]] = {}  # of loops over chunks
        self._loads: dict[tuple[Place, Address, tuple[Axis, ...]], Tile] = {}
        self._masks: dict[tuple[Place, Tile, tuple[Axis, ...], object], Tile] = {}
        self._made_at: dict[Tile, Place] = {}
        self._clean: dict[Tile, frozenset[Axis]] = {}  # beyond whose ends a tile is 0
        blocks = where.blocks
        sizes = {n for s in where.map.size.values() if isinstance(s, Dim) for n in s.names}
        named = [*blocks.axes.values(), *([blocks.wide] if blocks.wide else [])]
        self._taken = set(RESERVED) | sizes | {a.name for a in named}
        self._taken |= {f"{a.name}_block" for a in named}

    # -- tiles ------------------------------------------------------------------------------

    def tile(
        self, node: Node | None, axes: tuple[Axis, ...], dtype: dtypes.DType, prefix: str = "t"
    ) -> Tile:
        """A new tile under a free name, which is the user's where `node` has one."""
        base = self.names.get(node) if node is not None else None
        stem = base or (f"{prefix}{node.id}" if node is not None else prefix)
        name, count = stem, 1
        # Buffers are passed as pointers of such names.
        while name in self._taken or name.endswith("_ptr"):
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return Tile(name, axes, dtype, node)

    def _beside(self, tile: Tile, at: Place) -> Place:
        """Where to define what is made of `tile` alone and asked for at a place."""
        if any(a.id == self.where.chunk for a in tile.axes):
            return at
        made = self._made_at[tile]
        return Place(at.section, made.level if made.section is at.section else 0)

    # -- statements -------------------------------------------------------------------------

    def emit(self, at: Place, statement: Statement) -> None:
        """Add a statement at a place."""
        self._statements.setdefault(at, []).append(statement)
        made = defines(statement)
        if made is not None:
            self._made_at[made] = at

    def read(
        self,
        node: Node | None,
        address: Address,
        ids: Iterable[int],
        at: Place,
    ) -> Tile:
        """What lies at an address, along these axes: `node`, or row numbers."""
        axes = self.where.axes(ids, at)
        key = (at, address, axes)
        if key not in self._loads:
            kind = node.dtype if node is not None else dtypes.int64
            tile = self.tile(node, axes, kind, "rows")
            self.emit(at, Load(tile, address))
            self._clean[tile] = frozenset(axes)
            self._loads[key] = tile
        return self._loads[key]

    def map(
        self,
        node: Node,
        op: str,
        args: tuple[Tile, ...],
        at: Place,
        axes: tuple[Axis, ...] = (),
    ) -> Tile:
        """The elementwise `op` of tiles, along all of their axes and `axes`."""
        ids = [a.id for t in args for a in t.axes] + [a.id for a in axes]
        dtype = node.dtype if op != "copy" else args[0].dtype
        tile = self.tile(node, self.where.axes(ids, at), dtype)
        self.emit(at, Map(tile, op, args))
        return tile

    def spread(self, node: Node, tile: Tile, axes: tuple[Axis, ...], at: Place) -> Tile:
        """`tile` along all of `axes`, repeating it where it lacks some."""
        if all(a in tile.axes for a in axes):
            return tile
        clean = self._clean.get(tile, frozenset())
        if all(a.id != self.where.chunk for a in axes):
            at = self._beside(tile, at)
        spread = self.map(node, "copy", (tile,), at, axes)
        self._clean[spread] = clean
        return spread

    def masked(
        self,
        tile: Tile,
        axes: tuple[Axis, ...],
        value: float | int | bool,
        at: Place,
        node: Node,
    ) -> Tile:
        """`tile` with the combiner's identity beyond the ends of the axes that it is joined on."""
        clean = self._clean.get(tile, frozenset()) if value == 0 else frozenset()
        dirty = tuple(a for a in axes if self.padded and a.ragged and a not in clean)
        if not dirty:
            return tile
        at = self._beside(tile, at)
        key = (at, tile, dirty, (type(value), value))
        if key in self._masks:
            return self._masks[key]
        masked = self._masks[key] = self.tile(node, tile.axes, tile.dtype, "m")
        self.emit(at, Mask(masked, tile, dirty, value))
        self._clean[masked] = clean | set(dirty) if value == 0 else frozenset()
        return masked

    def accumulator(
        self, node: Node, out: Tile, combiner: Combiner, at: Place, streamed: bool
    ) -> Accumulator:
        """What blocks of the stream or, where it is not `streamed`, chunks at a place are joined
        into, as `out`."""
        pieces = tuple(
            self.tile(node, out.axes, out.dtype)
            for a in out.axes if a.role is AxisRole.CHUNK for _ in range(a.blocks)
        )  # fmt: skip
        at_once = parts_at_once(prod(a.block for a in out.axes))
        made = Accumulator(out, combiner.op, combiner.identity(node.dtype), pieces, at_once)
        if streamed:
            self._accumulators.append(made)
            self._made_at[out] = Place(Section.EPILOGUE)
        else:
            self._inner.setdefault(at, []).append(made)
            self._made_at[out] = Place(at.section, at.level + 1)
        return made

    def store(self, at: Place, store: Store) -> None:
        """Write at a place: after every load of its part, since updates are in place."""
        if not at.looped:
            at = Place(at.section, _LAST)
        self._stores.setdefault(at, []).append(store)

    # -- the kernel -------------------------------------------------------------------------

    def finish(self, name: str, nodes: Sequence[Node], buffers: Sequence[Buffer]) -> TileKernel:
        """The kernel, with the buffers that it touches in the order of `buffers`."""
        for at, stores in self._stores.items():
            self._statements.setdefault(at, []).extend(stores)
        parts: dict[Section, list[Statement]] = {s: [] for s in Section}
        loops = []
        # Of one level, what the loop reads comes before it.
        for at in sorted(self._statements, key=lambda p: (p.section.value, p.level, p.looped)):
            part, found = parts[at.section], self._statements[at]
            if at.looped:
                loops.append(
                    Loop(
                        at.section.name.lower(), len(part), len(part) + len(found),
                        self.where.loop_axis(at), tuple(self._inner.get(at, ())),
                        self.where.is_unrolled(at),
                    )
                )  # fmt: skip
            part += found
        touched = {
            s.address.buffer
            for part in parts.values()
            for s in part
            if isinstance(s, (Load, Store))
        }
        blocks = self.where.blocks
        axes = list(blocks.axes.values())
        if blocks.wide is not None:
            chunk_place = next(i for i, a in enumerate(axes) if a.id == self.where.chunk)
            axes.insert(chunk_place + 1, blocks.wide)
        return TileKernel(
            name,
            tuple(axes),
            tuple(parts[Section.PREAMBLE]),
            tuple(parts[Section.BODY]),
            tuple(parts[Section.EPILOGUE]),
            tuple(self._accumulators),
            tuple(b.name for b in buffers if b.name in touched),
            tuple(nodes),
            tuple(loops),
            blocks.tuning,
            blocks.choice,
            blocks.choices,
        )
