"""C text of one loop nest: its loops and its statements; `c_sums` prints its sums."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack

from .c_expr import Expressions, local
from .c_sums import SumPrinter
from .c_vector import vector_name
from .c_writer import Writer
from .loops import FarAngles, Nest, Transposition
from .spelling import C_TYPES, bare, spell_c
from .tile import Axis, Contract, Load, Map, Reduce, Statement, Store, Tile


class NestPrinter:
    """Prints one nest that is no blocked product.

    Args:
        vector_bytes: of a vector register.
        shared: the buffers that only the first thread writes.
    """

    def __init__(
        self,
        nest: Nest,
        expr: Expressions,
        out: Writer,
        vector_bytes: int,
        shared: Collection[str],
    ) -> None:
        self.nest, self.expr, self.out = nest, expr, out
        self.vector_bytes, self.shared = vector_bytes, shared

    def run(self) -> None:
        """The whole nest."""
        if self.nest.transposition is not None:
            self._transpose(self.nest.transposition)
        elif self.nest.far is not None and self.nest.axes:
            self._far(self.nest.far)
        else:
            self._loops(far=self.nest.far is not None)

    def _transpose(self, t: Transposition) -> None:
        """A copy by squares, then element by element what they leave."""
        (copy,) = self.nest.statements
        assert isinstance(copy, Map)
        kind = vector_name(copy.out.dtype, t.lanes)
        whole = {a: a.block // t.lanes * t.lanes for a in (t.read, t.written)}
        with ExitStack() as loops:
            for axis in self.nest.axes:
                if axis not in whole:
                    loops.enter_context(self.out.loop(axis))
            with ExitStack() as squares:
                for axis, end in whole.items():
                    n = axis.name
                    head = f"for (int64_t {n} = 0; {n} < {end}; {n} += {t.lanes})"
                    squares.enter_context(self.out.block(head))
                to, source = f"&{self.expr.place(copy.out)}", f"&{self.expr.value(copy.args[0])}"
                self.out.line(
                    f"{kind}_transpose({to}, {t.written_stride}, {source}, {t.read_stride});"
                )
            for axis, other in ((t.read, t.written), (t.written, t.read)):
                if whole[axis] == axis.block:
                    continue
                n, end = other.name, other.block if axis is t.read else whole[other]
                m = axis.name
                with (
                    self.out.block(f"for (int64_t {m} = {whole[axis]}; {m} < {axis.block}; {m}++)"),
                    self.out.block(f"for (int64_t {n} = 0; {n} < {end}; {n}++)"),
                ):
                    self._statement(copy)

    def _far(self, found: FarAngles) -> None:
        """The loops for near angles, and again for far ones where there are any."""
        # `far` is the size of the largest angle: some need the slow form of the loops.
        with self.out.block(""):
            suffix = _suffix(found)
            many = f"fars[{found.lanes}] = {{0}}, " if found.lanes > 1 else ""
            self.out.line(f"{'float' if suffix else 'double'} {many}far = 0;")
            if found.scan is None:
                self._copy_accumulators(found.restored, "before_{0}", "{0}", declare=True)
                self._loops(asked=found)
            else:
                self._scan(found, found.scan)
            if found.lanes > 1:
                joined = f"far = gr_larger{suffix}(far, fars[e])"
                self.out.line(f"for (int e = 0; e < {found.lanes}; e++) {joined};")
            if found.scan is not None:
                with self.out.block(f"if (!gr_far{suffix}(far))"):
                    self._loops()
            with self.out.block(f"if (gr_far{suffix}(far))"):
                self._copy_accumulators(found.restored, "{0}", "before_{0}")
                self._loops(far=True)

    def _copy_accumulators(
        self, tiles: Sequence[Tile], to: str, source: str, *, declare: bool = False
    ) -> None:
        for tile in tiles:
            kind, name = C_TYPES[tile.dtype.name] + " " if declare else "", tile.name
            if not tile.axes:
                self.out.line(f"{kind}{to.format(name)} = {source.format(name)};")
                continue
            elements = self.expr.arrays[tile].elements
            if declare:
                self.out.line(f"{kind}{to.format(name)}[{elements}];")
            size = elements * tile.dtype.itemsize
            self.out.line(f"__builtin_memcpy({to.format(name)}, {source.format(name)}, {size});")

    def _scan(self, found: FarAngles, statements: Sequence[Statement]) -> None:
        """Loops that compute the angles and nothing else."""
        with ExitStack() as loops:
            for axis in self.nest.axes:
                if axis is self.nest.axes[-1]:
                    self._vectorise("", found)
                loops.enter_context(self.out.loop(axis))
            self.expr.local = set()
            for s in statements:
                self._statement(s)
            self._ask(found, self.nest.axes[-1])
            self.expr.local = set()

    def _ask(self, found: FarAngles, inner: Axis) -> None:
        place = "far" if found.lanes == 1 else f"fars[{local(inner)}]"
        for angle in found.angles:
            larger = f"gr_larger{_suffix(found)}({place}, {self.expr.value(angle)})"
            self.out.line(f"{place} = {larger};")

    def _loops(self, *, far: bool = False, asked: FarAngles | None = None) -> None:
        sums = SumPrinter(self.nest, self.expr, self.out, self.vector_bytes)
        inner = self.nest.axes[-1] if self.nest.axes else None
        sums.begin()
        with ExitStack() as loops:
            for depth, axis in enumerate(self.nest.axes[:-1]):
                sums.enter(depth, loops)
                loops.enter_context(self.out.loop(axis))
                sums.turn(depth, axis, loops)
            sums.enter(len(self.nest.axes) - 1, loops)
            sums.begin_inner()
            with ExitStack() as innermost:
                if inner is not None:
                    if not far:
                        self._vectorise(sums.clause(), asked)
                    innermost.enter_context(self.out.loop(inner, self.nest.whole))
                self.expr.local = set()
                for s in self.nest.statements:
                    if isinstance(s, (Reduce, Contract)):
                        sums.statement(s)
                    else:
                        self._statement(s, far=far)
                if asked is not None and inner is not None:
                    self._ask(asked, inner)
                self.expr.local = set()
            sums.end_inner()
        sums.end()

    def _vectorise(self, clause: str | None, asked: FarAngles | None) -> None:
        """Ask for vectors, with what they may do to the sums; not where that is None."""
        if clause is None:
            return
        if asked is not None and asked.lanes == 1:
            clause += " reduction(max:far)"
        self.out.line(f"#pragma omp simd{clause}")

    def _statement(self, s: Statement, *, far: bool = False) -> None:
        value = self.expr.value
        match s:
            case Map(out=out, op=op, args=args):
                operands = [value(a) for a in args]
                if op == "where":
                    operands[1:] = self._read_anyway(out, args[1:], operands[1:])
                self._assign(out, bare(spell_c(op, out.dtype, args[-1].dtype, *operands, far=far)))
            case Load(out=out, address=address):
                self._assign(out, self.expr.read(address, out.dtype))
            case Store(value=stored, address=address):
                first = "if (thread == 0) " if address.buffer in self.shared else ""
                text = value(stored)
                if self.nest.whole is not None:
                    inner = self.nest.axes[-1]
                    text = f"{local(inner)} < {inner.block} ? {text} : 0"
                self.out.line(f"{first}{self.expr.element(address)} = {text};")

    def _read_anyway(self, out: Tile, tiles: Sequence[Tile], texts: Sequence[str]) -> list[str]:
        """Variables for what is read from memory: a loop that reads under a condition is not made
        into vectors."""
        found = list(texts)
        for k, (tile, text) in enumerate(zip(tiles, texts, strict=True)):
            if self.expr.in_memory(tile):
                found[k] = f"{out.name}_{k}"
                self.out.line(f"const {C_TYPES[tile.dtype.name]} {found[k]} = {text};")
        return found

    def _assign(self, out: Tile, text: str) -> None:
        if out not in self.expr.arrays:
            self.out.line(f"const {C_TYPES[out.dtype.name]} {out.name} = {text};")
            self.expr.local.add(out)
        else:
            self.out.line(f"{self.expr.place(out)} = {text};")


def _suffix(found: FarAngles) -> str:
    """Of the functions for the widest of the angles."""
    return "" if any(a.dtype.itemsize == 8 for a in found.angles) else "f"
