"""C text of an outer product: lanes along a free axis. For each summed position a vector of one
operand is multiplied by scalars of the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .c_expr import extent, size_text
from .c_product import ProductPrinter, pairwise
from .products import resolve
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


class OuterPrinter(ProductPrinter):
    """Prints one product whose results lie along the lanes."""

    def _with_rows(self, base: str, count: int) -> None:
        self._spans(lambda span: self._block(base, count, span))

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

    def _block(self, base: str, rows: int, span: _Span) -> None:
        out, p = self.out, self.p
        chains = p.chains if p.summed else 1
        with out.block(""):
            out.line(f"{self.type} sums[{chains}][{rows}][{span.count}] = {{0}};")
            self._summed(0, chains, lambda chain: self._step(chain, base, rows, span))
            if self.again:
                with out.block(f"if ({self.again})"):
                    self._each(rows, span.count, lambda: self._add(base, span))
            self._each(rows, span.count, lambda: self._store(base, rows, span, chains))

    def _step(self, chain: str, base: str, rows: int, span: _Span) -> None:
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

    def _place(self, base: str, span: _Span) -> str:
        """Where the vector of results of row u, column q lies."""
        out, p = self.out, self.p
        if p.rows is not None:
            out.position(p.rows, f"{base} + u")
        out.position(p.vector, f"{span.base} + {p.lanes} * q")
        return f"&{self.expr.place(p.statement.out)}"

    def _add(self, base: str, span: _Span) -> None:
        """Take up what the blocks before this one summed, all vectors under one condition."""
        place = self._place(base, span)
        self.out.line(f"sums[0][u][q] += {self.type}_load({place});")

    def _store(self, base: str, rows: int, span: _Span, chains: int) -> None:
        out, p = self.out, self.p
        place = self._place(base, span)
        total = pairwise([f"sums[{chain}][u][q]" for chain in range(chains)])
        out.line(f"{self.type} sum = {total};")
        if span.ragged:
            out.line(f"if (q == {span.count - 1}) sum = {self.type}_keep(sum, {span.ragged});")
        if p.statement.into is not None and not self.again:
            out.line(f"sum += {self.type}_load({place});")
        out.line(f"{self.type}_store({place}, sum);")

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
