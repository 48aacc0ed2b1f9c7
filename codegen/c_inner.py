"""C text of an inner product: lanes along a summed axis. Each result's lanes are added up at its
end."""

from __future__ import annotations

from .c_expr import extent
from .c_product import ProductPrinter, pairwise
from .c_vector import vector_name
from .tile import AxisRole, Tile


class InnerPrinter(ProductPrinter):
    """Prints one product whose results are sums over the lanes."""

    def _with_rows(self, base: str, count: int) -> None:
        self._blocks(
            self.p.columns,
            self.p.column_block,
            lambda column, width: self._block(base, count, column, width),
        )

    def _block(self, base: str, rows: int, column: str, width: int) -> None:
        out = self.out
        with out.block(""):
            out.line(f"{self.type} sums[{rows}][{width}] = {{0}};")
            if self.p.by_rows:
                self._rows(base, rows)
            else:
                self._summed(0, 1, lambda chain: self._run(base, rows, column, width))
            if rows in (4, self.p.lanes) and rows > 1 and self._rows_in_order():
                with self._unrolled("q", width):
                    self._store_rows(base, rows, column)
            else:
                self._each(rows, width, lambda: self._store(base, column))

    def _rows(self, base: str, rows: int) -> None:
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

        ends = "" if self.last_row is None else f" && {base} + u <= {self.last_row}"
        with out.block(f"for (int u = 0; u < {rows}{ends}; u++)"):
            if p.rows is not None:
                out.position(p.rows, f"{base} + u")
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
            out.line(f"sums[u][0] = {pairwise([f'parts[{c}]' for c in range(chains)])};")

    def _rows_in_order(self) -> bool:
        """Whether results along the rows are neighbours in an array of their own."""
        p = self.p
        array = self.expr.arrays.get(p.statement.out)
        if array is None or p.rows is None or p.statement.into is not None:
            return False
        return p.lanes >= 4 and array.strides().get(p.rows) == 1

    def _store_rows(self, base: str, rows: int, column: str) -> None:
        out, p = self.out, self.p
        assert p.rows is not None
        out.position(p.rows, base)
        if p.columns is not None:
            out.position(p.columns, f"{column} + q")
        sums = ", ".join(f"sums[{u}][q]" for u in range(rows))
        kind = vector_name(p.statement.out.dtype, rows)
        place = self.expr.place(p.statement.out)
        out.line(f"{kind}_store(&{place}, {self.type}_sum{rows}({sums}));")

    def _run(self, base: str, rows: int, column: str, width: int) -> None:
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
                self._step(base, rows, column, width, {})
        if unknown:
            with out.block(f"if ({at} < {end})"):
                rest = f"{end} - {at}"
                self._step(base, rows, column, width, {p.left: rest, p.right: rest})
        elif over:
            tails = {t: str(over) for t in (p.left, p.right) if t not in p.padded}
            with out.block(""):
                self._step(base, rows, column, width, tails)

    def _step(self, base: str, rows: int, column: str, width: int, tails: dict[Tile, str]) -> None:
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

    def _store(self, base: str, column: str) -> None:
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
