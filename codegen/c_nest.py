"""C text of one loop nest: its loops, its statements, and how its sums are taken."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

from .c_expr import Expressions, extent, literal, local
from .c_vector import vector_name
from .c_writer import Writer
from .loops import FarAngles, Nest, PartialSum, Transposition
from .partial_sums import rounds
from .spelling import C_TYPES, bare, spell_c
from .tile import Axis, Contract, Load, Map, Reduce, Statement, Store, Tile


@dataclass(frozen=True)
class _OpenPart:
    """A partial sum whose loops are being printed: its variable, and the one that it joins."""

    part: PartialSum
    name: str
    to: str


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
        self._parts: dict[Reduce | Contract, _OpenPart] = {}  # the innermost of each sum

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
                    self._statement(copy, ())

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
            self.out.line(f"memcpy({to.format(name)}, {source.format(name)}, {size});")

    def _scan(self, found: FarAngles, statements: Sequence[Statement]) -> None:
        """Loops that compute the angles and nothing else."""
        with ExitStack() as loops:
            for axis in self.nest.axes:
                if axis is self.nest.axes[-1]:
                    self._vectorise(axis, (), [], found)
                loops.enter_context(self.out.loop(axis))
            self.expr.local = set()
            for s in statements:
                self._statement(s, ())
            self._ask(found, self.nest.axes[-1])
            self.expr.local = set()

    def _ask(self, found: FarAngles, inner: Axis) -> None:
        place = "far" if found.lanes == 1 else f"fars[{local(inner)}]"
        for angle in found.angles:
            larger = f"gr_larger{_suffix(found)}({place}, {self.expr.value(angle)})"
            self.out.line(f"{place} = {larger};")

    def _loops(self, *, far: bool = False, asked: FarAngles | None = None) -> None:
        joins = [s for s in self.nest.statements if isinstance(s, (Reduce, Contract))]
        inner = self.nest.axes[-1] if self.nest.axes else None
        running = [s for s in joins if inner in s.axes and s.out.axes and s not in self.nest.sums]
        # Joined along one axis only: its loop may start from the identity.
        whole = [s for s in joins if s.out.axes and s.axes == (inner,) and s.into is None]
        for join in joins:
            if join.into is None and join not in whole:
                self._start(join)
        for join in self.nest.aside:
            self._set_aside(join)
        apart = {s for s in running if s in whole or s.into is not None or rounds(s)}
        with ExitStack() as loops:
            for depth, axis in enumerate(self.nest.axes[:-1]):
                self._open_parts(depth, loops)
                loops.enter_context(self.out.loop(axis))
                self._spans(depth, axis, loops)
            self._open_parts(len(self.nest.axes) - 1, loops)
            for join in running:
                start = _identity(join) if join in apart else self.expr.place(join.out)
                self.out.line(f"{C_TYPES[join.out.dtype.name]} sum_{join.out.name} = {start};")
            terms = {s: self._terms(s, inner) for s in self.nest.sums} if inner is not None else {}
            with ExitStack() as innermost:
                if inner is not None:
                    sums = [
                        self._target(s, running)
                        for s in joins
                        if inner in s.axes and _operator(s) == "add" and s not in self.nest.sums
                    ]
                    if not far:
                        self._vectorise(inner, joins, sums, asked)
                    innermost.enter_context(self.out.loop(inner))
                self.expr.local = set()
                for s in self.nest.statements:
                    if s in self.nest.sums:
                        self._term(s, terms[s], inner)
                    else:
                        self._statement(s, running, far=far)
                if asked is not None and inner is not None:
                    self._ask(asked, inner)
                self.expr.local = set()
            for join in running:
                target = self._target(join, ())
                if join not in apart or (join in whole and join.into is None):
                    self.out.line(f"{target} = sum_{join.out.name};")
                else:
                    self._join(target, join.out, _operator(join), f"sum_{join.out.name}")
            for join in self.nest.sums:
                assert inner is not None
                target = self._target(join, ())
                self._total(join, terms[join], inner, target, starts=join in whole)
        for join in self.nest.aside:
            self._bring_in(join)

    def _set_aside(self, s: Reduce | Contract) -> None:
        """Begin a sum of the nest alone."""
        count = self.expr.arrays[s.out].elements if s.out.axes else None
        self._begin_sum(s, _aside(s), count)

    def _bring_in(self, s: Reduce | Contract) -> None:
        """Join a sum of the nest into its accumulator."""
        count = self.expr.arrays[s.out].elements if s.out.axes else None
        self._add_sum(s.out.name, _aside(s), count)

    def _begin_sum(self, s: Reduce | Contract, name: str, elements: int | None) -> None:
        kind = C_TYPES[s.out.dtype.name]
        if elements is None:
            self.out.line(f"{kind} {name} = {_identity(s)};")
            return
        self.out.line(f"_Alignas(64) {kind} {name}[{elements}];")
        with self.out.block(f"for (int64_t e = 0; e < {elements}; e++)"):
            self.out.line(f"{name}[e] = {_identity(s)};")

    def _add_sum(self, target: str, name: str, elements: int | None) -> None:
        if elements is None:
            self.out.line(f"{target} += {name};")
            return
        self.out.line("#pragma omp simd")
        with self.out.block(f"for (int64_t e = 0; e < {elements}; e++)"):
            self.out.line(f"{target}[e] += {name}[e];")

    def _open_parts(self, depth: int, loops: ExitStack) -> None:
        """Begin the partial sums over the loops from `depth` on; they are joined behind them."""
        for part in self.nest.partial:
            if part.depth == depth:
                outer = self._parts.get(part.of)
                to = self._target(part.of, ())
                if part.elements is not None:
                    to = _aside(part.of) if part.of in self.nest.aside else part.of.out.name
                made = _OpenPart(part, f"part{depth}_{part.of.out.name}", to)
                self._begin_sum(part.of, made.name, part.elements)
                loops.callback(self._close_part, made, outer)
                self._parts[part.of] = made

    def _close_part(self, made: _OpenPart, outer: _OpenPart | None) -> None:
        self._add_sum(made.to, made.name, made.part.elements)
        if outer is None:
            del self._parts[made.part.of]
        else:
            self._parts[made.part.of] = outer

    def _spans(self, depth: int, axis: Axis, loops: ExitStack) -> None:
        """In a long loop, join partial sums every so often."""
        for made in self._parts.values():
            if made.part.depth == depth and made.part.span is not None:
                loops.callback(self._join_span, made, axis)

    def _join_span(self, made: _OpenPart, axis: Axis) -> None:
        assert made.part.elements is None
        with self.out.block(f"if (({local(axis)} + 1) % {made.part.span} == 0)"):
            self._add_sum(made.to, made.name, None)
            self.out.line(f"{made.name} = {_identity(made.part.of)};")

    def _terms(self, s: Reduce | Contract, inner: Axis) -> Tile | None:
        """The array in which the terms of a sum lie anyhow; None where one is declared for them."""
        source = s.source if isinstance(s, Reduce) else None
        array = None if source is None else self.expr.arrays.get(source)
        in_order = array is not None and array.strides().get(inner) == 1
        if in_order and array is not None and array.tile.dtype is s.out.dtype:
            return source
        kind = C_TYPES[s.out.dtype.name]
        self.out.line(f"_Alignas(64) {kind} terms_{s.out.name}[{inner.block}];")
        return None

    def _term(self, s: Reduce | Contract, terms: Tile | None, inner: Axis | None) -> None:
        if terms is not None or inner is None:
            return
        value = self.expr.value
        text = value(s.source) if isinstance(s, Reduce) else f"{value(s.a)} * {value(s.b)}"
        self.out.line(f"terms_{s.out.name}[{local(inner)}] = {text};")

    def _total(
        self, s: Reduce | Contract, terms: Tile | None, inner: Axis, target: str, *, starts: bool
    ) -> None:
        """Join the terms along the innermost axis into `target`."""
        dtype = s.out.dtype
        lanes = self.vector_bytes // dtype.itemsize
        while lanes > 2 and lanes >= 2 * inner.block:
            lanes //= 2
        array = f"terms_{s.out.name}" if terms is None else f"&{self.expr.place(terms)}"
        joined = f"{vector_name(dtype, lanes)}_{_operator(s)}_all({array}, {extent(inner)})"
        with self.out.block("") if terms is not None else nullcontext():
            if terms is not None:
                self.out.line(f"const int64_t {local(inner)} = 0;")
            if starts:
                self.out.line(f"{target} = {joined};")
            else:
                self._join(target, s.out, _operator(s), joined)

    def _vectorise(
        self,
        inner: Axis,
        joins: Sequence[Reduce | Contract],
        sums: list[str],
        asked: FarAngles | None,
    ) -> None:
        """Ask for vectors, whose sums may be taken in any fixed order."""
        if any(inner in s.axes and _operator(s) != "add" for s in joins):
            return
        reduction = f" reduction(+:{', '.join(sums)})" if sums else ""
        if asked is not None and asked.lanes == 1:
            reduction += " reduction(max:far)"
        self.out.line(f"#pragma omp simd{reduction}")

    def _target(self, s: Reduce | Contract, running: Sequence[Reduce | Contract]) -> str:
        if s in running:
            return f"sum_{s.out.name}"
        if s in self._parts:
            made = self._parts[s]
            return made.name if made.part.elements is None else self.expr.place(s.out, made.name)
        return self.expr.place(s.out, _aside(s) if s in self.nest.aside else None)

    def _start(self, s: Reduce | Contract) -> None:
        """Set what a sum is joined into to the identity."""
        if not s.out.axes:
            self.out.line(f"{s.out.name} = {_identity(s)};")
            return
        with ExitStack() as loops:
            for axis in self.expr.arrays[s.out].axes:
                loops.enter_context(self.out.loop(axis))
            self.out.line(f"{self.expr.place(s.out)} = {_identity(s)};")

    def _statement(
        self, s: Statement, running: Sequence[Reduce | Contract], *, far: bool = False
    ) -> None:
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
                self.out.line(f"{first}{self.expr.element(address)} = {value(stored)};")
            case Reduce(out=out, source=source, op=op):
                self._join(self._target(s, running), out, op, value(source))
            case Contract(out=out, a=a, b=b):
                self._join(self._target(s, running), out, "add", f"{value(a)} * {value(b)}")

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

    def _join(self, target: str, out: Tile, op: str, text: str) -> None:
        if op == "add":
            self.out.line(f"{target} += {text};")
        else:
            self.out.line(f"{target} = {bare(spell_c(op, out.dtype, out.dtype, target, text))};")


def _aside(s: Reduce | Contract) -> str:
    return f"{s.out.name}_aside"


def _suffix(found: FarAngles) -> str:
    """Of the functions for the widest of the angles."""
    return "" if any(a.dtype.itemsize == 8 for a in found.angles) else "f"


def _operator(s: Reduce | Contract) -> str:
    return s.op if isinstance(s, Reduce) else "add"


def _identity(s: Reduce | Contract) -> str:
    return literal(s.identity if isinstance(s, Reduce) else 0, s.out.dtype)
