"""The verifier of the tile IR: what every kernel must satisfy, whatever made it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphir.dtypes import float32
from graphir.errors import GraphirError

from .program import Program, Role
from .tile import (
    Axis,
    AxisRole,
    Contract,
    Load,
    Loop,
    Map,
    Mask,
    Reduce,
    Statement,
    Store,
    Tile,
    TileKernel,
    defines,
    operands,
)


class KernelError(GraphirError):
    """A kernel that breaks a rule of the tile IR: a bug of graphir's."""


def verify_program(program: Program) -> None:
    """Check every kernel, and that buffers are written before they are read.

    Raises:
        KernelError: naming the kernel and the statement.
    """
    names = [b.name for b in program.buffers]
    if len(set(names)) != len(names):
        raise KernelError(f"{program.name}: two buffers share a name")
    inputs = {b.name for b in program.buffers if b.role is Role.INPUT}
    ready, updated = set(inputs), set[str]()
    for kernel in program.kernels:
        verify_kernel(kernel)
        if program.machine.padded:
            verify_masks(kernel)
        for name in {s.address.buffer for s in kernel.statements() if isinstance(s, Load)}:
            if name not in ready:
                raise KernelError(f"{kernel.name} reads {name} before it is written")
            if name in updated:
                raise KernelError(f"{kernel.name} reads {name} after its update")
        written = {s.address.buffer for s in kernel.statements() if isinstance(s, Store)}
        updated |= written & inputs
        ready |= written
    missing = [name for name in program.outputs if name not in ready]
    if missing:
        raise KernelError(f"{program.name}: no kernel writes {', '.join(missing)}")


def unsafe_updates(kernel: TileKernel) -> set[str]:
    """The buffers whose update in place another block or program may see too early, or make twice.

    An epilogue that one program runs comes after all loads but those of its own loops. Elsewhere a
    buffer may be read only at the elements that are written, by the program and in the block that
    write them.
    """
    unsafe = set()
    for part, statements in (("body", kernel.body), ("epilogue", kernel.epilogue)):
        for place, s in enumerate(statements):
            own = [kernel.stream, *kernel.grid] if part == "body" else [*kernel.grid]
            others: Iterable[Statement] = kernel.statements()
            loop = loop_at(kernel, part, place)
            if loop is not None:
                others = others if own else statements[loop.start :]
                own.append(loop.axis)
            if not isinstance(s, Store) or not own:
                continue
            loads = [
                x.address
                for x in others
                if isinstance(x, Load) and x.address.buffer == s.address.buffer
            ]
            if any(x != s.address for x in loads) or (loads and not set(own) <= set(s.axes)):
                unsafe.add(s.address.buffer)
    return unsafe


def verify_kernel(kernel: TileKernel) -> None:
    """Tiles are defined once, before they are read, and along the axes that their op says."""
    library = kernel.library
    if library is not None and {library.left.buffer, library.right.buffer, library.out.buffer} != {
        *kernel.buffers
    }:
        raise KernelError(f"{kernel.name} is more than the product that is left to a library")
    accumulators = {acc.tile for acc in kernel.accumulators}
    stream = kernel.stream
    defined: set[Tile] = set()
    if sum(a.role is AxisRole.STREAM for a in kernel.axes) > 1:
        raise KernelError(f"{kernel.name} streams two axes")
    unsafe = unsafe_updates(kernel)
    if unsafe:
        raise KernelError(f"{kernel.name} updates {', '.join(sorted(unsafe))} while it is read")
    for part, statements in (
        ("preamble", kernel.preamble),
        ("body", kernel.body),
        ("epilogue", kernel.epilogue),
    ):
        in_body: set[Tile] = set()
        in_loop: set[Tile] = set()
        # What the body defines is gone when the loop ends.
        here = in_body if part == "body" else defined
        if part == "epilogue":
            defined |= accumulators
        for place, statement in enumerate(statements):
            loop = loop_at(kernel, part, place)
            if loop is None or loop.start == place:
                in_loop = set()
            here.update(
                acc.tile
                for x in kernel.loops
                if x.part == part and x.stop == place
                for acc in x.accumulators
            )
            _check(kernel, statement, part, loop)
            for tile in operands(statement):
                if not (tile in defined or tile in in_body or tile in in_loop):
                    raise KernelError(f"{kernel.name}, {part}: {tile.name} is read too early")
            made = defines(statement)
            if made is None:
                continue
            if made in defined or made in in_body or made in in_loop:
                raise KernelError(f"{kernel.name}, {part}: {made.name} is defined twice")
            if stream in made.axes and part != "body":
                raise KernelError(f"{kernel.name}, {part}: {made.name} varies along the stream")
            if loop is None and any(a.role is AxisRole.CHUNK for a in made.axes):
                raise KernelError(f"{kernel.name}, {part}: {made.name} varies along the chunks")
            (here if loop is None else in_loop).add(made)


def loop_at(kernel: TileKernel, part: str, place: int) -> Loop | None:
    """The loop over chunks that holds a statement."""
    loops = (x for x in kernel.loops if x.part == part and x.start <= place < x.stop)
    return next(loops, None)


def verify_masks(kernel: TileKernel) -> None:
    """Where tiles are padded, what is joined holds the combiner's identity beyond an axis' end."""
    padding: dict[Tile, dict[Axis, float | int | bool]] = {}
    for statement in kernel.statements():
        match statement:
            case Load(out=out):
                padding[out] = dict.fromkeys(out.axes, 0)
            case Map(out=out, op="copy", args=(x,)):
                padding[out] = dict(padding.get(x, {}))
            case Mask(out=out, source=source, axes=axes, value=value):
                # It writes over the corners that two axes share.
                kept = {a: v for a, v in padding.get(source, {}).items() if v == value}
                padding[out] = kept | dict.fromkeys(axes, value)
            case Reduce(out=out, source=source, axes=axes, identity=identity):
                _check_padding(kernel, out, axes, identity, padding.get(source, {}))
            case Contract(out=out, a=a, b=b, axes=axes):
                for x in (a, b):
                    mine = [axis for axis in axes if axis in x.axes]
                    _check_padding(kernel, out, mine, 0, padding.get(x, {}))


def _check_padding(
    kernel: TileKernel,
    out: Tile,
    axes: Iterable[Axis],
    identity: float | int | bool,
    found: Mapping[Axis, float | int | bool],
) -> None:
    for axis in axes:
        if axis.ragged and (axis not in found or found[axis] != identity):
            raise KernelError(f"{kernel.name}: {out.name} joins what lies beyond {axis.name}'s end")


def _check(kernel: TileKernel, statement: Statement, part: str, loop: Loop | None) -> None:
    match statement:
        case Map(out=out, args=args):
            extra = {a for t in args for a in t.axes} - set(out.axes)
            if extra:
                raise KernelError(f"{kernel.name}: {out.name} drops axes of its arguments")
        case Reduce(out=out, source=source, axes=axes):
            if set(out.axes) != set(source.axes) - set(axes) or not set(axes) <= set(source.axes):
                raise KernelError(f"{kernel.name}: {out.name} reduces the wrong axes")
        case Contract(out=out, a=a, b=b, axes=axes):
            every = {*a.axes, *b.axes}
            if set(out.axes) != every - set(axes) or not set(axes) <= every:
                raise KernelError(f"{kernel.name}: {out.name} contracts the wrong axes")
            sums = float32 if statement.dot and a.dtype.itemsize == 2 else a.dtype
            if a.dtype is not b.dtype or out.dtype is not sums:
                raise KernelError(
                    f"{kernel.name}: {out.name} is {out.dtype}, of {a.dtype} and {b.dtype}"
                )
        case Mask(out=out, source=source):
            if out.axes != source.axes:
                raise KernelError(f"{kernel.name}: a mask changes axes")
        case Store(value=value, axes=axes):
            if set(value.axes) != set(axes):
                raise KernelError(f"{kernel.name}: a store of {value.name} lacks axes")
        case _:
            pass
    into = statement.into if isinstance(statement, (Reduce, Contract)) else None
    if into is None or (loop is not None and into in loop.accumulators):
        return
    if part != "body" or into not in kernel.accumulators:
        raise KernelError(f"{kernel.name}: {into.tile.name} is joined outside of the stream")
    if into.pieces and (loop is None or not loop.unrolled):
        raise KernelError(f"{kernel.name}: {into.tile.name} is joined outside of its chunks")
