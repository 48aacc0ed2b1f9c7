"""In which order the C target adds up rows, so that a long sum loses little to rounding.

One running sum of n numbers is off by up to n roundings. Here rows are added within a block, blocks
within a span, spans within a thread's share, and shares in the order of the threads: each of these
sums is short. (The error of sums in blocks: Higham, Accuracy and Stability of Numerical Algorithms,
2nd ed., section 4.2.)
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod

from .loops import Array, Nest, PartialSum, Sums
from .tile import Contract, Reduce, Tile, TileKernel

_VECTOR_JOINS = ("add", "maximum", "minimum")  # what whole vectors are joined by
_LEAST_SUMMED, _MOST_SUMMED = 8, 1024  # terms of a sum by vectors
_LEAST_PARTED = 16  # terms of a partial sum over inner loops
_BLOCKS_OF_A_SPAN = 64
_SPAN = 64  # turns of a long inner loop
_MOST_ASIDE = 1 << 12  # elements of a block's sums; they lie on the stack


def how_summed(nest: Nest, arrays: dict[Tile, Array]) -> Sums:
    """How the sums of a nest are taken, once its loops are in order."""
    inner = nest.axes[-1] if nest.axes else None
    joins = [s for s in nest.statements if isinstance(s, (Reduce, Contract))]
    vectors = _vector_sums(nest)
    running = tuple(s for s in joins if inner in s.axes and s.out.axes and s not in vectors)
    afresh = frozenset(s for s in joins if s.out.axes and s.axes == (inner,) and s.into is None)
    apart = frozenset(s for s in running if s in afresh or s.into is not None or _rounds(s))
    aside, partial = _sums_aside(nest, arrays), _partial_sums(nest, vectors, arrays)
    return Sums(running, vectors, afresh, apart, aside, partial)


def _vector_sums(nest: Nest) -> tuple[Reduce | Contract, ...]:
    """The sums of a nest that are worth adding by vectors, after its innermost loop.

    Left to the compiler, a sum's lanes are joined one after the other: longer than a short loop
    takes. A long loop would need too much memory for the terms.
    """
    if not nest.axes:
        return ()
    inner = nest.axes[-1]
    return tuple(
        s
        for s in nest.statements
        if isinstance(s, (Reduce, Contract))
        and (isinstance(s, Contract) or s.op in _VECTOR_JOINS)
        and s.out.dtype.name in ("float32", "float64")
        and inner in s.axes
        and _LEAST_SUMMED <= inner.block <= _MOST_SUMMED
    )


def _rounds(s: Reduce | Contract) -> bool:
    """Whether adding up loses something."""
    return s.out.dtype.is_float and (isinstance(s, Contract) or s.op == "add")


def _sums_aside(nest: Nest, arrays: dict[Tile, Array]) -> tuple[Reduce | Contract, ...]:
    """The sums of a nest that are kept apart from the accumulator until the nest is done.

    Those along the innermost loop alone are apart anyway: in a register, or as terms in memory.
    """
    inner = nest.axes[-1] if nest.axes else None
    return tuple(
        s
        for s in nest.statements
        if isinstance(s, (Reduce, Contract))
        and s.into is not None
        and _rounds(s)
        and s.axes != (inner,)
        and (not s.out.axes or arrays[s.out].elements <= _MOST_ASIDE)
    )


def _partial_sums(
    nest: Nest, vectors: Collection[Reduce | Contract], arrays: dict[Tile, Array]
) -> tuple[PartialSum, ...]:
    """Those of a nest's sums over several loops: of the inner ones, then of those around them, so
    that none has many terms. The outermost is the sum itself."""
    found: list[PartialSum] = []
    last = len(nest.axes) - 1
    for s in nest.statements:
        if not isinstance(s, (Reduce, Contract)) or not _rounds(s):
            continue
        summed = [depth for depth, axis in enumerate(nest.axes) if axis in s.axes]
        own = [depth for depth, axis in enumerate(nest.axes) if axis in s.out.axes]
        outside, terms = max(own, default=-1), 1
        for depth in reversed([d for d in summed if d > outside]):
            if depth == last and (s in vectors or s.out.axes):
                continue  # the innermost loop has a sum of its own
            terms *= nest.axes[depth].block
            if terms >= _LEAST_PARTED and depth > summed[0]:
                long = depth != last and nest.axes[depth].block > 2 * _SPAN
                found.append(PartialSum(s, depth, span=_SPAN if long else None))
                terms = 1
        if not own or len(summed) < 2 or min(own) < summed[0]:
            continue
        elements = arrays[s.out].elements
        terms = prod(nest.axes[depth].block for depth in summed[1:])
        if outside > summed[1] and terms >= _LEAST_PARTED and elements <= _MOST_ASIDE:
            found.append(PartialSum(s, summed[0] + 1, elements))
    return tuple(found)


def span_rows(kernel: TileKernel) -> int | None:
    """Rows that are added up before they join what came before; None where all are one span."""
    stream = kernel.stream
    if stream is None or not any(
        a.op == "add" and a.tile.dtype.is_float for a in kernel.accumulators
    ):
        return None
    rows = _BLOCKS_OF_A_SPAN * stream.block
    return None if isinstance(stream.size, int) and stream.size <= rows else rows
