"""A whole epoch in one launch: the loop over steps inside the kernel, the parameters on chip.

A step's kernel loads its parameters, and stores them at its end. Where every one of those loads
and stores is of the whole array, the array can instead be a tile that the loop over steps carries:
it is loaded before the first step and stored after the last. What no step changes (constants, the
numbers of the update) moves out of the loop as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from graphir.sizes import Dim, Size

from .program import Binding, Buffer, Program
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
    Term,
    Tile,
    TileKernel,
    defines,
    operands,
)
from .verify import verify_kernel, verify_masks


@dataclass(frozen=True)
class Held:
    """An array that stays on chip between steps.

    Attributes:
        buffer: where it lies before the first step and after the last.
        load: before the first step; its tile is what the loop carries.
        value: what the tile becomes at the end of a step.
        made: the statement that makes `value` of what the step computed, if one is needed.
        store: after the last step.
    """

    buffer: Buffer
    load: Load
    value: Tile
    made: Map | Mask | None
    store: Store


@dataclass(frozen=True)
class Epoch:
    """All steps of a launch as one kernel.

    Attributes:
        kernel: a step, without what is in `once` and without the loads and stores of `held`.
        once: what comes before the first step, the loads of `held` among it.
        held: the arrays that stay on chip.
        in_memory: names of carried buffers that do not: the next step reads what this one wrote.
    """

    kernel: TileKernel
    once: tuple[Statement, ...]
    held: tuple[Held, ...]
    in_memory: tuple[str, ...]

    @property
    def kept_bytes(self) -> int:
        """What a program keeps on chip throughout: held arrays and accumulators, padded."""
        tiles = [h.load.out for h in self.held] + [a.tile for a in self.kernel.accumulators]
        return sum(elements(t.axes) * t.dtype.itemsize for t in tiles)


def elements(axes: Iterable[Axis]) -> int:
    """How many elements a tile along these axes has, padding included."""
    total = 1
    for axis in axes:
        total *= axis.block
    return total


def why_not(program: Program) -> str | None:
    """Why the steps of `program` cannot be one kernel; None where they can."""
    if program.loop is None:
        return "there is no loop over steps"
    if len(program.kernels) != 1:
        return f"a step is {len(program.kernels)} kernels"
    (kernel,) = program.kernels
    if kernel.grid:
        return "its programs share out an axis of the step's own"
    if kernel.loops:
        return "it walks an axis that is too long to stay on chip"
    if any(isinstance(s, Store) for s in kernel.body):
        return "it writes within its pass"
    return None


def make_epoch(program: Program, *, hold: bool = True) -> Epoch:
    """The epoch of a program for which `why_not` has no reason.

    Args:
        hold: whether arrays may stay on chip.
    """
    (kernel,) = program.kernels
    assert program.loop is not None
    carried = [program.buffers[position] for _, position in program.loop.carry]
    found = [_hold(kernel, buffer) for buffer in carried] if hold else []
    held = [h for h in found if h is not None]
    names = {h.buffer.name for h in held}
    tiles: dict[Tile, Tile] = {}
    for h in held:
        for s in kernel.statements():
            if isinstance(s, Load) and s.address.buffer == h.buffer.name:
                tiles[s.out] = h.load.out
    written = {s.address.buffer for s in kernel.statements() if isinstance(s, Store)}
    loaded = {s.address.buffer for s in kernel.statements() if isinstance(s, Load)}
    in_memory = tuple(b.name for b in carried if b.name in (written & loaded) - names)

    once: list[Statement] = [h.load for h in held]
    still: set[Tile] = {h.load.out for h in held}
    # What is held changes from step to step, so nothing made of it is done once.
    changing = set(still)
    steps = {"start", "step", program.loop.dim}

    def split(statements: Iterable[Statement]) -> tuple[Statement, ...]:
        kept = []
        for s in statements:
            if isinstance(s, (Load, Store)) and s.address.buffer in names:
                continue
            s = substituted(s, tiles)
            if _same_each_step(s, still - changing, written, steps, program):
                once.append(s)
                made = defines(s)
                assert made is not None
                still.add(made)
            else:
                kept.append(s)
        return tuple(kept)

    preamble = split(kernel.preamble)
    body = tuple(substituted(s, tiles) for s in kernel.body)
    epilogue = split(kernel.epilogue)
    reduced = replace(kernel, preamble=preamble, body=body, epilogue=epilogue)
    taken = {s.out.name for s in kernel.statements() if not isinstance(s, Store)}
    held = [_with_value(h, tiles, taken) for h in held]
    epoch = Epoch(reduced, tuple(once), tuple(held), in_memory)
    _verify(epoch)
    return epoch


def _verify(epoch: Epoch) -> None:
    """A first step is a kernel like any other."""
    whole = replace(
        epoch.kernel,
        preamble=epoch.once + epoch.kernel.preamble,
        epilogue=epoch.kernel.epilogue + tuple(h.made for h in epoch.held if h.made is not None),
    )
    verify_kernel(whole)
    verify_masks(whole)


def _hold(kernel: TileKernel, buffer: Buffer) -> Held | None:
    """How the loop carries `buffer`; None where a step reads or writes parts of it, or nothing."""
    stores = [
        s for s in kernel.epilogue if isinstance(s, Store) and s.address.buffer == buffer.name
    ]
    loads = [
        s for s in kernel.statements() if isinstance(s, Load) and s.address.buffer == buffer.name
    ]
    if len(stores) != 1 or not loads or any(s in kernel.body for s in loads):
        return None
    (store,) = stores
    want = _places(store.address)
    if want is None or any(_places(s.address) != want for s in loads):
        return None
    first = loads[0]
    if first.out.axes != store.value.axes or first.out.axes != store.axes:
        return None
    return Held(buffer, first, store.value, None, store)


def _with_value(held: Held, tiles: Mapping[Tile, Tile], taken: set[str]) -> Held:
    """Beyond an axis' end the next value has the zeros that a load would give."""
    tile, source = held.load.out, tiles.get(held.value, held.value)
    name = f"{tile.name}_next"
    while name in taken:
        name += "_"
    following = Tile(name, tile.axes, tile.dtype, tile.node)
    ragged = tuple(a for a in tile.axes if a.ragged)
    made: Map | Mask | None = None
    if ragged:
        made = Mask(following, source, ragged, 0)
    elif source is not held.value:
        # Another array's old value: copied before that one changes.
        made = Map(following, "copy", (source,))
    store = replace(held.store, value=tile)
    return replace(held, value=following if made else source, made=made, store=store)


def _places(address: Address) -> frozenset[tuple[Size, int]] | None:
    """The stride along each axis, where the address is strides and nothing else."""
    if address.offset != 0:
        return None
    found = set()
    for t in address.terms:
        plain = t.at is None and t.shift == 0 and t.step == 1 and t.length is None
        if not plain or t.axis is None or t.axis.role is not AxisRole.TILE:
            return None
        found.add((t.stride, t.axis.id))
    return frozenset(found)


def _same_each_step(
    s: Statement, known: set[Tile], written: set[str], steps: set[str], program: Program
) -> bool:
    """Whether a statement gives the same in every step, so that it is done once."""
    match s:
        case Load(address=address):
            buffer = program.buffer(address.buffer)
            sizes = [address.offset, *(t.stride for t in address.terms)]
            sizes += [t.length for t in address.terms if t.length is not None]
            if buffer.binding is not Binding.WHOLE or buffer.name in written:
                return False
            # The permutation is new in each epoch, and read at the step's own place.
            if any(steps & set(x.names) for x in sizes if isinstance(x, Dim)):
                return False
        case SizeOf(size=size):
            if isinstance(size, Dim) and steps & set(size.names):
                return False
        case Fill() | Position() | Map() | Mask():
            pass
        case Reduce(into=into) | Contract(into=into):
            if into is not None:
                return False
        case _:
            return False
    made = defines(s)
    if made is None or any(a.role is AxisRole.STREAM for a in made.axes):
        return False
    return all(x in known for x in operands(s))


def substituted(s: Statement, tiles: Mapping[Tile, Tile]) -> Statement:
    """The statement with other tiles as its operands."""

    def new(tile: Tile) -> Tile:
        return tiles.get(tile, tile)

    def moved(address: Address) -> Address:
        def term(t: Term) -> Term:
            return t if t.at is None else replace(t, at=new(t.at))

        return replace(address, terms=tuple(map(term, address.terms)))

    match s:
        case Map(args=args):
            return replace(s, args=tuple(map(new, args)))
        case Mask(source=source) | Reduce(source=source):
            return replace(s, source=new(source))
        case Contract(a=a, b=b):
            return replace(s, a=new(a), b=new(b))
        case Store(value=value, address=address):
            return replace(s, value=new(value), address=moved(address))
        case Load(address=address):
            return replace(s, address=moved(address))
        case _:
            return s


def reblocked(kernel: TileKernel, rows: int) -> TileKernel:
    """The kernel in blocks of so many rows of its streamed axis."""
    stream = kernel.stream
    assert stream is not None
    axis = replace(stream, block=rows)
    tiles: dict[Tile, Tile] = {}

    def axes(found: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(axis if a is stream or a == stream else a for a in found)

    def moved(s: Statement) -> Statement:
        s = substituted(s, tiles)
        match s:
            case Load() | Store():
                terms = tuple(
                    replace(t, axis=axis) if t.axis == stream else t for t in s.address.terms
                )
                s = replace(s, address=replace(s.address, terms=terms))
            case Mask() | Reduce() | Contract():
                s = replace(s, axes=axes(s.axes))
            case _:
                pass
        if isinstance(s, Store):
            return replace(s, axes=axes(s.axes))
        if stream in s.out.axes:
            tiles[s.out] = replace(s.out, axes=axes(s.out.axes))
            s = replace(s, out=tiles[s.out])
        return s

    return replace(
        kernel,
        axes=axes(kernel.axes),
        preamble=tuple(map(moved, kernel.preamble)),
        body=tuple(map(moved, kernel.body)),
        epilogue=tuple(map(moved, kernel.epilogue)),
    )
