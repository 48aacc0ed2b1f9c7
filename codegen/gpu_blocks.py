"""Blocks of a GPU's kernels, from a model of its registers and shared memory.

The model counts what a thread has to keep: accumulators, its share of the tiles of a block, and its
part of a product's operands, which the matrix unit wants in registers. It knows nothing of the
compiler's order of things, so that it errs; `choices` therefore lists all blocks, and whoever has
a compiler at hand takes the first that needs no memory for registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from graphir.sizes import Dim, Size

from .machine import Chip, Machine
from .tile import Tuning
from .uses import Choice, Dot, Uses, power_of_two

_MOST = 8  # choices of one kernel
_MOST_PIECES = 8  # copies of an unrolled loop
_CHUNK = 32  # of an axis that a product of matrices sums over
_LONG_CHUNK = 256  # where there is no product
_PRODUCT_BLOCKS = ((128, 128, 8), (128, 64, 8), (64, 64, 4), (32, 64, 4), (32, 32, 4))
_GROUP = 8
_MANY = 1 << 10  # blocks of an axis whose size is known when the kernel runs
_FEW = 1024  # elements of a partial result that the last program reads of every other one
_FAN = 12  # about the root of the number of programs
_TILE = 8192  # elements of a block of rows that nothing uses twice: they hide memory's latency
_SHARED_OUT = 2048  # elements of a tile where programs share out its axes, without a product


def choices(uses: Uses, sizes: Mapping[int, Size], machine: Machine) -> list[Choice]:
    """All ways to choose the blocks of one kernel, the best by the model first."""
    chip = machine.chip
    assert chip is not None
    whole = {a: _whole(uses, a, sizes[a], machine) for a in uses.order if a != uses.walk.stream}
    if uses.walk.grid:
        if uses.dots and len(uses.walk.grid) == 2 and uses.walk.stream in uses.order:
            return _products(uses, whole, sizes, chip)
        return [_shared_out(uses, whole, sizes, machine)]
    if uses.walk.stream not in uses.order:
        return [Choice(whole, tuning=Tuning(_warps(uses.widest(whole, uses.tiles))))]
    found = list(_streamed(uses, whole, sizes, machine))
    fitting = [c for c in found if _shared_bytes(c, uses, chip) <= chip.shared_bytes]
    return sorted(fitting or found, key=lambda c: _rank(c, uses, whole, chip))[:_MOST]


def parts_at_once(elements: int) -> int:
    """How many partial results of so many elements are read at a time: to wait for each alone
    takes longer than all else where they are small."""
    return max(1, min(128, 4096 // elements))


def _whole(uses: Uses, a: int, size: Size, machine: Machine) -> int:
    extent = 64 if isinstance(size, Dim) else power_of_two(size)
    return max(extent, machine.dot_size) if a in uses.matrix_axes else extent


def _warps(elements: int) -> int:
    return 8 if elements >= 4096 else 4


# -- kernels that stream ----------------------------------------------------------------------


def _streamed(
    uses: Uses, whole: Mapping[int, int], sizes: Mapping[int, Size], machine: Machine
) -> Iterator[Choice]:
    """Every number of rows with every way to walk the longest other axis."""
    stream = _stream(uses)
    low, high = machine.block_rows
    size = sizes[stream]
    if isinstance(size, int):
        high = min(high, max(power_of_two(size), machine.dot_size))
    joined = sum(prod(whole.get(a, 1) for a in t) for t in uses.joined)
    fan = _FAN if joined > _FEW else 0
    chunks: list[tuple[int | None, int, int]] = [(None, 0, 0)]
    longest = max(whole, key=lambda a: whole[a], default=None)
    if longest is not None:
        fine = _CHUNK if uses.dots else _LONG_CHUNK
        wide = max(fine, whole[longest] // _MOST_PIECES)
        if wide < whole[longest]:
            chunks.append((longest, fine, wide))
    for chunked, fine, wide in chunks:
        rows = high
        while rows >= min(low, high):
            extent = {**whole, stream: rows}
            if chunked is not None:
                extent[chunked] = fine
            stages = 2 if uses.dots and chunked is None else 3
            for warps in (8, 4):
                tuning = Tuning(warps, stages, not uses.dots, fan=fan)
                yield Choice(extent, chunked, wide, tuning)
            rows //= 2


def _stream(uses: Uses) -> int:
    assert uses.walk.stream is not None
    return uses.walk.stream


def _rank(choice: Choice, uses: Uses, whole: Mapping[int, int], chip: Chip) -> tuple[float, ...]:
    """Smaller is better: within the limit, then in one piece, then of many rows."""
    warps, tile = choice.tuning.warps, _block(choice, uses)
    in_pieces = choice.chunked is not None
    if not uses.dots:
        over = max(0.0, tile - _TILE * warps // 8)
        return (over, in_pieces, -tile, abs(warps - _warps(tile)))
    over = max(0.0, _pressure(choice, uses, whole, chip) - _allowed(chip, warps))
    return (over, in_pieces, -choice.extent[_stream(uses)], abs(warps - _warps(tile)))


def _block(choice: Choice, uses: Uses) -> int:
    """Elements of the largest tile of a block of rows."""
    extent = _unrolled(choice)
    stream = _stream(uses)
    rows = uses.widest(extent, (t for t in (*uses.tiles, *uses.products) if stream in t))
    return rows * uses.itemsize // 4


def _unrolled(choice: Choice) -> dict[int, int]:
    """The extents in loops that are unrolled."""
    if choice.chunked is None:
        return dict(choice.extent)
    return {**choice.extent, choice.chunked: choice.wide}


def _pressure(choice: Choice, uses: Uses, whole: Mapping[int, int], chip: Chip) -> float:
    """What a thread has to keep. The weights are fitted to what compilers made of some kernels, so
    this is no count of registers."""
    threads = chip.warp * choice.tuning.warps
    kept = sum(prod(whole.get(a, 1) for a in t) for t in uses.joined) / threads
    operands = max(_operands(choice, uses, dot) for dot in uses.dots)
    scale = uses.itemsize / 4
    return scale * (_parts(uses, chip) * operands + 3 * kept) + 4 * _block(choice, uses) / threads


def _operands(choice: Choice, uses: Uses, dot: Dot) -> float:
    """Registers of a thread for both operands of a product, where warps share out rows only."""
    out, left, right = dot
    summed = next(a for a in left if a in right)
    joins_chunks = summed == choice.chunked and _stream(uses) in out
    extent = choice.extent if joins_chunks else _unrolled(choice)
    columns = extent[max(out, key=uses.order.index)]
    return extent[summed] * (16 + columns) / 32


def _parts(uses: Uses, chip: Chip) -> float:
    """How many registers an exact product takes for an operand's element: of float32 it takes two
    parts, which AMD's takes whole; of 16 bits two share a register."""
    if uses.narrow:
        return 0.5
    return 2 if chip.dots[0] == "tf32x3" else 1


def _allowed(chip: Chip, warps: int) -> int:
    """The pressure under which nothing had to go to memory."""
    if chip.backend == "hip":
        return 240 if warps <= 4 else 150
    # From sm_90 on large products take an operand from shared or tensor memory.
    return 418 if chip.arch in (90, 100) else 275


def _shared_bytes(choice: Choice, uses: Uses, chip: Chip) -> int:
    """Blocks in flight, and a product's operands on their way to the matrix unit."""
    if chip.backend == "hip" and not uses.dots:
        return 0  # they are in flight to registers
    stream = _stream(uses)
    block = uses.widest(choice.extent, (t for t in uses.tiles if stream in t))
    operands = max(
        (uses.widest(_unrolled(choice), dot[1:]) for dot in uses.dots), default=0
    )  # fmt: skip
    return uses.itemsize * (block * choice.tuning.stages + 2 * operands)


# -- kernels whose programs share out axes ----------------------------------------------------


def _shared_out(
    uses: Uses, whole: Mapping[int, int], sizes: Mapping[int, Size], machine: Machine
) -> Choice:
    """Blocks of the shared axes as large as a tile may be."""
    extent = {a: min(64, n) if a in uses.walk.grid else n for a, n in whole.items()}
    stream = uses.walk.stream if uses.walk.stream in uses.order else None
    if stream is not None:
        extent[stream] = _CHUNK if uses.dots else machine.block_rows[0]
    held = (*uses.tiles, *uses.products)
    while uses.widest(extent, held) > _SHARED_OUT:
        least = {a: machine.dot_size if a in uses.matrix_axes else 1 for a in uses.walk.grid}
        large = [a for a in uses.walk.grid if extent.get(a, 1) > least[a]]
        if not large:
            break
        extent[max(large, key=lambda a: extent[a])] //= 2
    if stream is not None and not uses.dots:
        along = uses.widest({**extent, stream: 1}, (t for t in held if stream in t))
        most = machine.block_rows[1]
        size = sizes[stream]
        if isinstance(size, int):
            most = min(most, power_of_two(size))
        while extent[stream] < most and 2 * extent[stream] * along <= _TILE:
            extent[stream] *= 2
    return Choice(extent, tuning=Tuning(_warps(uses.widest(extent, held)), 3))


def _products(
    uses: Uses, whole: Mapping[int, int], sizes: Mapping[int, Size], chip: Chip
) -> list[Choice]:
    """Blocks of a product of large matrices: large ones read less, small ones keep all
    multiprocessors busy."""
    stream = _stream(uses)
    first, second = uses.walk.grid
    found = []
    for rows, columns, warps in _PRODUCT_BLOCKS:
        extent = {**whole, stream: 2 * _CHUNK if uses.narrow else _CHUNK}
        for a, most in ((first, rows), (second, columns)):
            extent[a] = most if isinstance(sizes[a], Dim) else min(most, whole[a])
        found.append(Choice(extent, tuning=Tuning(warps, 3, group=_GROUP)))

    def rank(choice: Choice) -> tuple[float, ...]:
        programs = 1.0
        for a in uses.walk.grid:
            size = sizes[a]
            programs *= _MANY if isinstance(size, Dim) else size / choice.extent[a]
        idle = max(0.0, chip.processors - programs)
        area = choice.extent[first] * choice.extent[second] * uses.itemsize // 4
        over = max(0, int(area * _parts(uses, chip)) - 128 * 128)
        return (over, round(idle / chip.processors, 1), -area)

    return sorted(found, key=rank)
