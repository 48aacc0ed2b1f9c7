"""C text of a blocked contraction: loops around a block of accumulators held in registers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from .c_expr import Expressions, extent, local, size_text
from .c_vector import vector_name
from .products import Product, resolve
from .spelling import C_TYPES
from .tile import Axis, AxisRole, Load, Tile


@dataclass(frozen=True)
class _Span:
    """A run of the vector axis: `count` vectors from `base`; the last holds `tail` lanes if set.

    `ragged` is how many lanes of the last vector belong to the axis.
    """

    base: str
    count: int
    tail: str | None = None
    ragged: int | None = None


class Writer:
    """Collects lines with their indentation."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0

    def line(self, text: str) -> None:
        """One line at the present depth."""
        self.lines.append("    " * self.depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """`head {`, what is written inside, `}`."""
        self.line(head + " {" if head else "{")
        self.depth += 1
        yield
        self.depth -= 1
        self.line("}")

    @contextmanager
    def loop(self, axis: Axis) -> Iterator[None]:
        """A loop over every position of an axis in the block."""
        n = local(axis)
        with self.block(f"for (int64_t {n} = 0; {n} < {extent(axis)}; {n}++)"):
            self.absolute(axis)
            yield

    def absolute(self, axis: Axis) -> None:
        """The position from the axis' start, where the loop counts within a block."""
        if axis.role is not AxisRole.TILE:
            self.line(f"const int64_t {axis.name} = {axis.name}0 + {local(axis)};")

    def position(self, axis: Axis, text: str) -> None:
        """Fix an axis at a position within the block."""
        self.line(f"const int64_t {local(axis)} = {text};")
        self.absolute(axis)


class ProductPrinter:
    """Prints one product.

    Args:
        again: the condition under which its accumulator holds something to add to; "" for always.
    """

    def __init__(self, product: Product, expr: Expressions, out: Writer, again: str = "") -> None:
        self.p, self.expr, self.out = product, expr, out
        self.again = again
        self.type = vector_name(product.statement.out.dtype, product.lanes)
        self.last_row: str | None = None
        self.scalar = C_TYPES[product.statement.out.dtype.name]

    def run(self) -> None:
        """The whole product, inside braces of its own."""
        with self.out.block(""):
            self._outside(0)

    def _outside(self, depth: int) -> None:
        if depth < len(self.p.outside):
            with self.out.loop(self.p.outside[depth]):
                self._outside(depth + 1)
        else:
            self._blocks(self.p.rows, self.p.row_block, self._with_rows)

    def _blocks(self, axis: Axis | None, size: int, body: Callable[[str, int], None]) -> None:
        """`body(base, count)` for blocks of an axis, then for what is left over."""
        if axis is None:
            body("0", 1)
            return
        base = f"{axis.name}b"
        if axis.role is AxisRole.TILE:
            whole = axis.block // size * size
            if whole == size:
                body("0", size)
            elif whole:
                with self.out.block(
                    f"for (int64_t {base} = 0; {base} < {whole}; {base} += {size})"
                ):
                    body(base, size)
            if axis.block % size:
                body(str(whole), axis.block % size)
            return
        end = extent(axis)
        with self.out.block(""):
            self.out.line(f"int64_t {base} = 0;")
            rest = min(size, 4)
            shared = axis is self.p.rows and axis.block % rest == 0
            for count in (size,) if size > rest or not shared else ():
                with self.out.block(f"for (; {base} + {count} <= {end}; {base} += {count})"):
                    body(base, count)
            if shared:
                # The last block may be short: it takes the last row once more, in place of code
                # of its own, and its results beyond the end are never read.
                with self.out.block(f"for (; {base} < {end}; {base} += {rest})"):
                    self.last_row = f"{end} - 1"
                    body(base, rest)
                    self.last_row = None
            elif size > 1:
                with self.out.block(f"for (; {base} < {end}; {base}++)"):
                    body(base, 1)

    def _read_row(self, base: str) -> None:
        """Go to a row of the block to read it."""
        if self.p.rows is None:
            return
        row = f"{base} + u"
        if self.last_row is not None:
            row = f"{row} < {self.last_row} ? {row} : {self.last_row}"
        self.out.position(self.p.rows, row)

    def _with_rows(self, base: str, count: int) -> None:
        if self.p.inner:
            self._blocks(
                self.p.columns,
                self.p.column_block,
                lambda column, width: self._inner_block(base, count, column, width),
            )
        else:
            self._spans(lambda span: self._outer_block(base, count, span))

    # -- outer: lanes along a free axis -------------------------------------------------------

    def _spans(self, body: Callable[[_Span], None]) -> None:
        axis, lanes, width = self.p.vector, self.p.lanes, self.p.column_block
        base = f"{axis.name}b"
        in_memory = self.p.right not in self.p.padded
        if axis.role is not AxisRole.TILE:
            end = extent(axis)
            stop = f"{base} + {lanes} <= {end}" if in_memory else f"{base} < {end}"
            with self.out.block(""):
                self.out.line(f"int64_t {base} = 0;")
                with self.out.block(f"for (; {stop}; {base} += {lanes})"):
                    body(_Span(base, 1))
                if in_memory:
                    with self.out.block(f"if ({base} < {end})"):
                        body(_Span(base, 1, tail=f"{end} - {base}"))
            return
        over = axis.block % lanes
        vectors = -(-axis.block // lanes)
        # The last vector needs care where it is only partly the axis'.
        plain = vectors - 1 if over else vectors
        whole = plain // width * width
        if whole == width:
            body(_Span("0", width))
        elif whole:
            with self.out.block(
                f"for (int64_t {base} = 0; {base} < {whole * lanes}; {base} += {width * lanes})"
            ):
                body(_Span(base, width))
        if vectors > whole:
            tail = str(over) if over and in_memory else None
            body(_Span(str(whole * lanes), vectors - whole, tail, over or None))

    def _outer_block(self, base: str, rows: int, span: _Span) -> None:
        out, p = self.out, self.p
        chains = p.chains if p.summed else 1
        with out.block(""):
            out.line(f"{self.type} sums[{chains}][{rows}][{span.count}] = {{0}};")
            self._summed(0, chains, lambda chain: self._outer_step(chain, base, rows, span))
            if self.again:
                with out.block(f"if ({self.again})"):
                    self._each(rows, span.count, lambda: self._outer_add(base, span))
            self._each(rows, span.count, lambda: self._outer_store(base, rows, span, chains))

    def _summed(self, depth: int, chains: int, body: Callable[[str], None]) -> None:
        """Loops over the summed axes; the innermost in `chains` partial sums."""
        summed = self.p.summed
        if depth == len(summed):
            body("0")
            return
        axis = summed[depth]
        if depth < len(summed) - 1 or chains == 1:
            with self.out.loop(axis):
                self._summed(depth + 1, chains, body)
            return
        base, end = f"{axis.name}b", extent(axis)
        self.out.line(f"int64_t {base} = 0;")
        with (
            self.out.block(f"for (; {base} + {chains} <= {end}; {base} += {chains})"),
            self._unrolled("c", chains),
        ):
            self.out.position(axis, f"{base} + c")
            body("c")
        with self.out.block(f"for (; {base} < {end}; {base}++)"):
            self.out.position(axis, base)
            body("0")

    def _outer_step(self, chain: str, base: str, rows: int, span: _Span) -> None:
        out, p = self.out, self.p
        out.line(f"{self.type} right[{span.count}];")
        full = span.count - 1 if span.tail else span.count
        if full:
            with self._unrolled("q", full):
                out.position(p.vector, f"{span.base} + {p.lanes} * q")
                out.line(f"right[q] = {self.type}_load(&{self._element(p.right)});")
                out.line("KEEP(right[q]);")
                self._prefetch(p.right)
        if span.tail:
            with out.block(""):
                out.position(p.vector, f"{span.base} + {p.lanes * full}")
                out.line(
                    f"right[{full}] = {self.type}_tail(&{self._element(p.right)}, {span.tail});"
                )
        with self._unrolled("u", rows):
            self._read_row(base)
            out.line(f"const {self.scalar} left = {self.expr.value(p.left)};")
            out.line(
                f"UNROLL for (int q = 0; q < {span.count}; q++) "
                f"sums[{chain}][u][q] += left * right[q];"
            )

    def _outer_place(self, base: str, span: _Span) -> str:
        """Where the vector of results of row u, column q lies."""
        out, p = self.out, self.p
        if p.rows is not None:
            out.position(p.rows, f"{base} + u")
        out.position(p.vector, f"{span.base} + {p.lanes} * q")
        return f"&{self.expr.place(p.statement.out)}"

    def _outer_add(self, base: str, span: _Span) -> None:
        """Take up what the blocks before this one summed, all vectors under one condition."""
        place = self._outer_place(base, span)
        self.out.line(f"sums[0][u][q] += {self.type}_load({place});")

    def _outer_store(self, base: str, rows: int, span: _Span, chains: int) -> None:
        out, p = self.out, self.p
        place = self._outer_place(base, span)
        out.line(f"{self.type} sum = sums[0][u][q];")
        for chain in range(1, chains):
            out.line(f"sum += sums[{chain}][u][q];")
        if span.ragged:
            out.line(f"if (q == {span.count - 1}) sum = {self.type}_keep(sum, {span.ragged});")
        if p.statement.into is not None and not self.again:
            out.line(f"sum += {self.type}_load({place});")
        out.line(f"{self.type}_store({place}, sum);")

    def _each(self, rows: int, columns: int, body: Callable[[], None]) -> None:
        with self._unrolled("u", rows), self._unrolled("q", columns):
            body()

    @contextmanager
    def _unrolled(self, name: str, count: int) -> Iterator[None]:
        """A loop that the compiler unrolls; a plain scope where it runs once."""
        head = f"UNROLL for (int {name} = 0; {name} < {count}; {name}++)"
        with self.out.block(head if count > 1 else ""):
            if count == 1:
                self.out.line(f"const int {name} = 0;")
            yield

    def _prefetch(self, tile: Tile) -> None:
        """Fetch the same place `ahead` rows further on."""
        found = resolve(tile, self.expr.inline)
        if not self.p.prefetched or not isinstance(found, Load):
            return
        for term in found.address.terms:
            if term.axis is not None and term.axis.role is AxisRole.STREAM:
                stride = size_text(term.stride)
                self.out.line(f"PREFETCH(&{self._element(tile)} + ahead * {stride});")
                return
            axis = None if term.at is None else self._gathered_by(term.at)
            if axis is not None:
                self.out.line(f"const int64_t next = {axis.name} + ahead;")
                with self.out.block(""):
                    # Unlike a prefetch, the read of the row's number must stay in bounds.
                    self.out.line(f"const int64_t {axis.name} = next < beyond ? next : beyond - 1;")
                    self.out.line(f"PREFETCH(&{self._element(tile)});")
                return

    def _gathered_by(self, tile: Tile) -> Axis | None:
        """The stream whose place in memory the numbers of rows are read from."""
        found = resolve(tile, self.expr.inline)
        if not isinstance(found, Load) or len(found.address.terms) != 1:
            return None
        axis = found.address.terms[0].axis
        return axis if axis is not None and axis.role is AxisRole.STREAM else None

    def _element(self, tile: Tile) -> str:
        """The operand's element here, as an lvalue."""
        found = resolve(tile, self.expr.inline)
        if isinstance(found, Load):
            return self.expr.element(found.address)
        assert found is not None, "a product's operand lies in memory or in an array"
        return self.expr.place(found)

    # -- inner: lanes along a summed axis -----------------------------------------------------

    def _inner_block(self, base: str, rows: int, column: str, width: int) -> None:
        out = self.out
        with out.block(""):
            out.line(f"{self.type} sums[{rows}][{width}] = {{0}};")
            if self.p.by_rows:
                self._inner_rows(base, rows)
            else:
                self._summed(0, 1, lambda chain: self._inner_run(base, rows, column, width))
            if rows in (4, self.p.lanes) and rows > 1 and self._rows_in_order():
                with self._unrolled("q", width):
                    self._inner_store_rows(base, rows, column)
            else:
                self._each(rows, width, lambda: self._inner_store(base, column))

    def _inner_rows(self, base: str, rows: int) -> None:
        """One row after the other, each in several partial sums."""
        out, p = self.out, self.p
        n, at, chains = p.vector.block, f"{p.vector.name}b", p.chains
        vectors = n // p.lanes

        def step(chain: str, place: str, tail: int | None = None) -> None:
            out.position(p.vector, place)
            sides = [
                f"{self.type}_load(&{self._element(t)})"
                if tail is None or t in p.padded
                else f"{self.type}_tail(&{self._element(t)}, {tail})"
                for t in (p.left, p.right)
            ]
            out.line(f"parts[{chain}] += {' * '.join(sides)};")

        with out.block(f"for (int u = 0; u < {rows}; u++)"):
            self._read_row(base)
            out.line(f"{self.type} parts[{chains}] = {{0}};")
            whole = vectors // chains * chains
            stride = chains * p.lanes
            with (
                out.block(f"for (int64_t {at} = 0; {at} < {whole * p.lanes}; {at} += {stride})"),
                self._unrolled("c", chains),
            ):
                step("c", f"{at} + {p.lanes} * c")
            for chain in range(vectors - whole):
                with out.block(""):
                    step(str(chain), str((whole + chain) * p.lanes))
            if n % p.lanes:
                with out.block(""):
                    step(str(chains - 1), str(vectors * p.lanes), n % p.lanes)
            pairs = [f"parts[{c}]" for c in range(chains)]
            while len(pairs) > 1:
                pairs = [f"({a} + {b})" for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
            out.line(f"sums[u][0] = {pairs[0]};")

    def _rows_in_order(self) -> bool:
        """Whether results along the rows are neighbours in an array of their own."""
        p = self.p
        array = self.expr.arrays.get(p.statement.out)
        if array is None or p.rows is None or p.statement.into is not None:
            return False
        return p.lanes >= 4 and array.strides().get(p.rows) == 1

    def _inner_store_rows(self, base: str, rows: int, column: str) -> None:
        out, p = self.out, self.p
        assert p.rows is not None
        out.position(p.rows, base)
        if p.columns is not None:
            out.position(p.columns, f"{column} + q")
        sums = ", ".join(f"sums[{u}][q]" for u in range(rows))
        kind = vector_name(p.statement.out.dtype, rows)
        place = self.expr.place(p.statement.out)
        out.line(f"{kind}_store(&{place}, {self.type}_sum{rows}({sums}));")

    def _inner_run(self, base: str, rows: int, column: str, width: int) -> None:
        out, p = self.out, self.p
        axis, lanes = p.vector, p.lanes
        at = f"{axis.name}b"
        unknown = axis.role is not AxisRole.TILE
        over = axis.block % lanes
        end = extent(axis)
        stop = f"{at} + {lanes} <= {end}"
        if axis.role is AxisRole.TILE:
            whole = axis.block // lanes * lanes
            stop = f"{at} < {whole}"
        out.line(f"int64_t {at} = 0;")
        if unknown or axis.block >= lanes:
            with out.block(f"for (; {stop}; {at} += {lanes})"):
                self._inner_step(base, rows, column, width, {})
        if unknown:
            with out.block(f"if ({at} < {end})"):
                rest = f"{end} - {at}"
                self._inner_step(base, rows, column, width, {p.left: rest, p.right: rest})
        elif over:
            tails = {t: str(over) for t in (p.left, p.right) if t not in p.padded}
            with out.block(""):
                self._inner_step(base, rows, column, width, tails)

    def _inner_step(
        self, base: str, rows: int, column: str, width: int, tails: dict[Tile, str]
    ) -> None:
        out, p = self.out, self.p

        def vector(tile: Tile) -> str:
            if tile in tails:
                return f"{self.type}_tail(&{self._element(tile)}, {tails[tile]})"
            return f"{self.type}_load(&{self._element(tile)})"

        out.position(p.vector, f"{p.vector.name}b")
        out.line(f"{self.type} right[{width}];")
        with self._unrolled("q", width):
            if p.columns is not None:
                out.position(p.columns, f"{column} + q")
            out.line(f"right[q] = {vector(p.right)};")
            out.line("KEEP(right[q]);")
        with self._unrolled("u", rows):
            self._read_row(base)
            out.line(f"const {self.type} left = {vector(p.left)};")
            out.line(f"UNROLL for (int q = 0; q < {width}; q++) sums[u][q] += left * right[q];")

    def _inner_store(self, base: str, column: str) -> None:
        out, p = self.out, self.p
        if p.rows is not None:
            out.position(p.rows, f"{base} + u")
        if p.columns is not None:
            out.position(p.columns, f"{column} + q")
        place, joins = self.expr.place(p.statement.out), p.statement.into is not None
        if joins and self.again:
            out.line(f"{self.scalar} sum = {self.type}_sum(sums[u][q]);")
            out.line(f"if ({self.again}) sum += {place};")
            out.line(f"{place} = sum;")
        else:
            out.line(f"{place} {'+=' if joins else '='} {self.type}_sum(sums[u][q]);")
