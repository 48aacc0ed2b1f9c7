"""How the C target computes a contraction: which axis the vector lanes run along, and how many
rows and vectors of accumulators are held in registers.

Two forms cover every product. *Outer*: lanes run along a free axis; a block of (rows × vectors)
accumulators takes, for each summed position, one vector of one operand times scalars of the other.
*Inner*: lanes run along a summed axis; a block of (rows × columns) accumulators takes a vector of
each operand, and each accumulator's lanes are added up at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from .tile import Axis, AxisRole, Contract, Load, Map, Statement, Term, Tile

_SHORT_ROW = 4  # vectors: with longer rows, as many as a vector has lanes would be as many streams
_WIDEST = 64  # bytes of a vector, to move whose lanes takes as long as those of two half as wide
_ADD_UP = 9  # operations that add up the lanes of a vector
# An element that is later read across the lanes in which it was summed takes so many cycles, once
# in a step; a step is weighed as one of so many rows.
_ACROSS, _ROWS_OF_A_STEP = 1.0, 64

# The stride of a tile along an axis, where it lies in memory or an array; None where it does not.
Strides = Callable[[Tile, Axis], "int | None"]


@dataclass(frozen=True, eq=False)
class Product:
    """A contraction with its loops chosen.

    Attributes:
        vector: the axis of the lanes; summed in the inner form.
        inner: which form.
        rows: the free axis of the other operand (outer), or of the first (inner); None for one.
        row_block: rows of accumulators.
        columns: inner: the free axis of the second operand.
        column_block: outer: vectors of accumulators; inner: columns.
        outside: loops around everything, from the outermost.
        summed: the summed axes other than `vector`, from the outermost.
        left: the operand that varies along `rows`; `right` along `vector` and `columns`.
        padded: the operands of which whole vectors may be read, with zeros beyond the end.
        prefetched: whether the next rows of `right` are fetched while it uses these again.
        chains: independent partial sums over the innermost summed axis, to hide latency.
        side_by_side: inner: as many short rows as a vector has lanes are read at the same time.
        by_rows: inner: each row is read to its end before the next, in `chains` partial sums.
    """

    statement: Contract
    lanes: int
    vector: Axis
    inner: bool
    rows: Axis | None
    row_block: int
    columns: Axis | None
    column_block: int
    outside: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    left: Tile
    right: Tile
    chains: int
    padded: frozenset[Tile] = frozenset()
    prefetched: bool = False
    side_by_side: bool = False
    by_rows: bool = False

    @property
    def out_order(self) -> tuple[Axis, ...]:
        """The layout that the result wants, slowest first."""
        rest = tuple(a for a in self.statement.out.axes if a is not self.vector)
        return rest if self.inner else (*rest, self.vector)


def resolve(tile: Tile, inline: Mapping[Tile, Statement]) -> Tile | Load | None:
    """What a product's operand is: a tile in an array, a plain load, or (None) neither."""
    source = inline.get(tile)
    while isinstance(source, Map) and source.op == "copy":
        if set(source.args[0].axes) != set(tile.axes):
            return None
        tile = source.args[0]
        source = inline.get(tile)
    if source is None:
        return tile
    if isinstance(source, Load) and all(t.length is None for t in source.address.terms):
        return source
    return None


def load_stride(terms: Sequence[Term], axis: Axis) -> int | None:
    """Elements between neighbours along `axis`; None where they are not evenly spaced."""
    total = 0
    for term in terms:
        if term.at is not None and axis in term.at.axes:
            return None
        if term.axis is axis:
            if not isinstance(term.stride, int) or term.step != 1:
                return None
            total += term.stride
    return total


def _vectors(axis: Axis, lanes: int) -> int:
    return -(-axis.block // lanes)


def _block(extent: Axis | None, most: int, unknown: int) -> int:
    """Accumulators along an axis: a divisor of its extent where there is a good one."""
    if extent is None:
        return 1
    if extent.role is not AxisRole.TILE:
        return max(1, min(unknown, most))
    best = min(extent.block, most)
    for size in range(best, max(best // 2, 1) - 1, -1):
        if extent.block % size == 0:
            return size
    # Of blocks that do not come out even, all nearly as large: 4 + 3 rather than 6 + 1.
    return -(-extent.block // -(-extent.block // best))


def _holds(rows: Axis | None, lanes: int) -> bool:
    """Whether a vector of results along the rows is worth a block of its own."""
    return rows is not None and lanes in (8, 16) and rows.block >= lanes


def plan_product(
    s: Contract,
    lanes: int,
    accumulators: int,
    stride: Strides,
    out_stride: Strides,
    packable: Callable[[Tile], bool],
    read_along: Axis | None = None,
) -> Product | None:
    """The cheapest form of `s`; None where no form fits (odd strides, integers).

    Args:
        lanes: elements of a vector.
        accumulators: vectors of sums that are held in registers.
        stride: of an operand along an axis.
        out_stride: of the result; None where its layout is still free.
        packable: whether an operand may be copied to an array with another layout.
        read_along: the axis along which the result is read in order; None where any will do.
    """
    if not s.out.dtype.is_float or s.out.dtype.itemsize < 4:
        return None
    candidates = [
        p for p in _candidates(s, lanes, accumulators) if _fits(p, stride, out_stride, packable)
    ]

    def cost(p: Product) -> float:
        if read_along is None or p.out_order[-1] is read_along:
            return _cost(p)
        rows = prod(a.block for a in s.axes if a.role is AxisRole.STREAM)
        steps = max(1.0, rows / _ROWS_OF_A_STEP)
        return _cost(p) + _ACROSS * steps * prod(a.block for a in s.out.axes)

    return min(candidates, key=cost, default=None)


def _fits(p: Product, stride: Strides, out: Strides, packable: Callable[[Tile], bool]) -> bool:
    vectored = (p.left, p.right) if p.inner else (p.right,)
    if any(stride(t, p.vector) != 1 and not packable(t) for t in vectored):
        return False
    return p.inner or out(p.statement.out, p.vector) in (1, None)


def _narrow(lanes: int, vector: Axis) -> int:
    """Lanes of which a short axis fills more than half: wider vectors would be no fewer."""
    while lanes > 4 and lanes >= 2 * vector.block:
        lanes //= 2
    return lanes


def _half(lanes: int, vector: Axis, itemsize: int) -> int:
    """Lanes for rows that few of the widest vectors hold, each with a single result: the halves of
    a row are added by the product, where those of a vector are when its lanes are added up."""
    few = vector.block <= _SHORT_ROW * lanes
    return lanes // 2 if few and lanes * itemsize == _WIDEST else lanes


def _candidates(s: Contract, most: int, accumulators: int) -> list[Product]:
    found: list[Product] = []
    for left, right in ((s.a, s.b), (s.b, s.a)):
        free_left = [a for a in left.axes if a not in s.axes and a not in right.axes]
        free_right = [a for a in right.axes if a not in s.axes and a not in left.axes]
        both = [a for a in left.axes if a in right.axes and a not in s.axes]
        for vector in free_right:
            lanes = _narrow(most, vector)
            rows = max(free_left, key=lambda a: a.block, default=None)
            outside = [
                *both,
                *(a for a in free_left if a is not rows),
                *(a for a in free_right if a is not vector),
            ]
            wide = _vectors(vector, lanes)
            most_vectors = 4 if rows is not None else 8
            vectors = min(wide, most_vectors if accumulators > 12 else most_vectors // 2)
            vectors = max(
                v
                for v in range(1, vectors + 1)
                if wide % v == 0 or v <= vectors // 2 or v == vectors
            )
            block = _block(rows, min(accumulators // vectors, 12), 4 if vectors > 1 else 8)
            held = block * vectors
            chains = 1 if held >= 8 else (2 if held >= 4 else 4)
            found.append(
                Product(
                    s,
                    lanes,
                    vector,
                    False,
                    rows,
                    block,
                    None,
                    vectors,
                    _rows_first(outside),
                    _summed(s, None),
                    left,
                    right,
                    chains,
                )
            )
        for vector in s.axes:
            if vector not in left.axes or vector not in right.axes:
                continue
            lanes = _narrow(most, vector)
            if not (free_left and free_right):
                lanes = _half(lanes, vector, s.out.dtype.itemsize)
            rows = max(free_left, key=lambda a: a.block, default=None)
            columns = max(free_right, key=lambda a: a.block, default=None)
            outside = [
                *both,
                *(a for a in free_left if a is not rows),
                *(a for a in free_right if a is not columns),
            ]
            column_block = _block(columns, 6 if accumulators > 12 else 3, 4)
            row_block = _block(rows, accumulators // column_block, 4)
            short = _vectors(vector, lanes) <= _SHORT_ROW and lanes <= accumulators
            side_by_side = columns is None and short and _holds(rows, lanes)
            if columns is not None:
                row_block = min(row_block, 4)
            elif side_by_side:
                row_block = lanes
            found.append(
                Product(
                    s,
                    lanes,
                    vector,
                    True,
                    rows,
                    row_block,
                    columns,
                    column_block,
                    _rows_first(outside),
                    _summed(s, vector),
                    left,
                    right,
                    1,
                    side_by_side=side_by_side,
                )
            )
    return found


def _rows_first(axes: Sequence[Axis]) -> tuple[Axis, ...]:
    return tuple(sorted(axes, key=lambda a: a.role is not AxisRole.STREAM))


def _summed(s: Contract, vector: Axis | None) -> tuple[Axis, ...]:
    """Rows last: they are the longest loop."""
    rest = [a for a in s.axes if a is not vector]
    return tuple(sorted(rest, key=lambda a: a.role is AxisRole.STREAM))


def _cost(p: Product) -> float:
    """Cycles, by arithmetic and loads; the smaller of two equal ones by fewer loads."""
    every = {*p.statement.a.axes, *p.statement.b.axes}
    count = 1.0
    for axis in every - {p.vector}:
        count *= axis.block
    count *= _vectors(p.vector, p.lanes)
    block = p.row_block * p.column_block
    loads: float
    if p.inner:
        loads = p.row_block + p.column_block
        steps = _vectors(p.vector, p.lanes)
        for axis in p.summed:
            steps *= axis.block
        return count * (max(block, loads) / block + _ADD_UP / steps)
    loads = p.column_block + p.row_block / 2
    return count * max(block, loads) / block
