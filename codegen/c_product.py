"""C text of a blocked contraction: loops around a block of accumulators held in registers. Its two
forms, `c_outer` and `c_inner`, print what is inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .c_expr import Expressions, extent
from .c_vector import vector_name
from .c_writer import Writer
from .products import Product, resolve
from .spelling import C_TYPES, bare
from .tile import Axis, AxisRole, Load, Tile


class ProductPrinter:
    """Prints one product; a form says what is done with a block of rows.

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

    def _with_rows(self, base: str, count: int) -> None:
        raise NotImplementedError

    def _read_row(self, base: str) -> None:
        """Go to a row of the block to read it."""
        if self.p.rows is None:
            return
        row = f"{base} + u"
        if self.last_row is not None:
            row = f"{row} < {self.last_row} ? {row} : {self.last_row}"
        self.out.position(self.p.rows, row)

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

    def _element(self, tile: Tile) -> str:
        """The operand's element here, as an lvalue."""
        found = resolve(tile, self.expr.inline)
        if isinstance(found, Load):
            return self.expr.element(found.address)
        assert found is not None, "a product's operand lies in memory or in an array"
        return self.expr.place(found)


def pairwise(terms: Sequence[str]) -> str:
    """The sum of a power of two of terms, by pairs: no addition waits for more than it must."""
    while len(terms) > 1:
        terms = [f"({a} + {b})" for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return bare(terms[0])
