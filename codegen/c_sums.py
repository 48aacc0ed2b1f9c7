"""C text of a nest's sums (and products, and extrema): the variables and arrays in which they are
taken, before, inside and behind its loops. How each is taken `partial_sums` has decided."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

from .c_expr import Expressions, extent, literal, local
from .c_vector import vector_name
from .c_writer import Writer
from .loops import Nest, PartialSum
from .spelling import C_TYPES, bare, spell_c
from .tile import Axis, Contract, Reduce, Tile


@dataclass(frozen=True)
class _OpenPart:
    """A partial sum whose loops are being printed: its variable, and the one that it joins."""

    part: PartialSum
    name: str
    to: str


class SumPrinter:
    """Prints what belongs to the sums of one nest.

    Args:
        vector_bytes: of a vector register.
    """

    def __init__(self, nest: Nest, expr: Expressions, out: Writer, vector_bytes: int) -> None:
        self.sums, self.expr, self.out = nest.sums, expr, out
        self.vector_bytes = vector_bytes
        self.inner = nest.axes[-1] if nest.axes else None
        self.joins = [s for s in nest.statements if isinstance(s, (Reduce, Contract))]
        self._parts: dict[Reduce | Contract, _OpenPart] = {}  # the innermost of each sum
        self._terms: dict[Reduce | Contract, Tile | None] = {}

    # -- around all loops -----------------------------------------------------------------------

    def begin(self) -> None:
        """Before the loops: results at the identity, and sums of the nest alone."""
        for s in self.joins:
            if s.into is None and s not in self.sums.afresh:
                self._start(s)
        for s in self.sums.aside:
            self._begin_sum(s, _aside(s), self._elements(s))

    def end(self) -> None:
        """Behind the loops: the sums of the nest alone join their accumulators."""
        for s in self.sums.aside:
            self._add_sum(s.out.name, _aside(s), self._elements(s))

    def _start(self, s: Reduce | Contract) -> None:
        if not s.out.axes:
            self.out.line(f"{s.out.name} = {_identity(s)};")
            return
        with ExitStack() as loops:
            for axis in self.expr.arrays[s.out].axes:
                loops.enter_context(self.out.loop(axis))
            self.out.line(f"{self.expr.place(s.out)} = {_identity(s)};")

    def _elements(self, s: Reduce | Contract) -> int | None:
        return self.expr.arrays[s.out].elements if s.out.axes else None

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

    # -- around a loop --------------------------------------------------------------------------

    def enter(self, depth: int, loops: ExitStack) -> None:
        """Begin the partial sums over the loops from `depth` on; they are joined behind them."""
        for part in self.sums.partial:
            if part.depth == depth:
                outer = self._parts.get(part.of)
                to = self._place(part.of)
                if part.elements is not None:
                    to = _aside(part.of) if part.of in self.sums.aside else part.of.out.name
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

    def turn(self, depth: int, axis: Axis, loops: ExitStack) -> None:
        """In a long loop, join partial sums every so often."""
        for made in self._parts.values():
            if made.part.depth == depth and made.part.span is not None:
                loops.callback(self._join_span, made, axis)

    def _join_span(self, made: _OpenPart, axis: Axis) -> None:
        assert made.part.elements is None
        with self.out.block(f"if (({local(axis)} + 1) % {made.part.span} == 0)"):
            self._add_sum(made.to, made.name, None)
            self.out.line(f"{made.name} = {_identity(made.part.of)};")

    # -- around the innermost loop --------------------------------------------------------------

    def begin_inner(self) -> None:
        """Variables for running sums, and arrays for terms."""
        for s in self.sums.running:
            start = _identity(s) if s in self.sums.apart else self.expr.place(s.out)
            self.out.line(f"{C_TYPES[s.out.dtype.name]} sum_{s.out.name} = {start};")
        if self.inner is not None:
            self._terms = {s: self._terms_of(s, self.inner) for s in self.sums.vectors}

    def end_inner(self) -> None:
        """Running sums and terms join what is outside."""
        for s in self.sums.running:
            target = self._place(s)
            if s not in self.sums.apart or s in self.sums.afresh:
                self.out.line(f"{target} = sum_{s.out.name};")
            else:
                self._join(target, s, f"sum_{s.out.name}")
        for s in self.sums.vectors:
            assert self.inner is not None
            self._total(s, self._terms[s], self.inner)

    def clause(self) -> str | None:
        """What an `omp simd` of the innermost loop says of the sums, which may be taken in any
        fixed order; None where it has other joins, and is left alone."""
        along = [s for s in self.joins if self.inner in s.axes]
        if any(_operator(s) != "add" for s in along):
            return None
        added = [self._within(s) for s in along if s not in self.sums.vectors]
        return f" reduction(+:{', '.join(added)})" if added else ""

    def _terms_of(self, s: Reduce | Contract, inner: Axis) -> Tile | None:
        """The array in which the terms of a sum lie anyhow; None where one is declared for them."""
        source = s.source if isinstance(s, Reduce) else None
        array = None if source is None else self.expr.arrays.get(source)
        in_order = array is not None and array.strides().get(inner) == 1
        if in_order and array is not None and array.tile.dtype is s.out.dtype:
            return source
        kind = C_TYPES[s.out.dtype.name]
        self.out.line(f"_Alignas(64) {kind} terms_{s.out.name}[{inner.block}];")
        return None

    def _total(self, s: Reduce | Contract, terms: Tile | None, inner: Axis) -> None:
        """Join the terms along the innermost axis."""
        dtype, target = s.out.dtype, self._place(s)
        lanes = self.vector_bytes // dtype.itemsize
        while lanes > 2 and lanes >= 2 * inner.block:
            lanes //= 2
        array = f"terms_{s.out.name}" if terms is None else f"&{self.expr.place(terms)}"
        joined = f"{vector_name(dtype, lanes)}_{_operator(s)}_all({array}, {extent(inner)})"
        with self.out.block("") if terms is not None else nullcontext():
            if terms is not None:
                self.out.line(f"const int64_t {local(inner)} = 0;")
            if s in self.sums.afresh:
                self.out.line(f"{target} = {joined};")
            else:
                self._join(target, s, joined)

    # -- inside ---------------------------------------------------------------------------------

    def statement(self, s: Reduce | Contract) -> None:
        """What one turn of the innermost loop adds to a sum."""
        value = self.expr.value
        text = value(s.source) if isinstance(s, Reduce) else f"{value(s.a)} * {value(s.b)}"
        if s not in self.sums.vectors:
            self._join(self._within(s), s, text)
        elif self._terms[s] is None and self.inner is not None:
            self.out.line(f"terms_{s.out.name}[{local(self.inner)}] = {text};")

    def _within(self, s: Reduce | Contract) -> str:
        """What a sum joins inside the innermost loop."""
        return f"sum_{s.out.name}" if s in self.sums.running else self._place(s)

    def _place(self, s: Reduce | Contract) -> str:
        """What it joins outside of the innermost loop."""
        if s in self._parts:
            made = self._parts[s]
            return made.name if made.part.elements is None else self.expr.place(s.out, made.name)
        return self.expr.place(s.out, _aside(s) if s in self.sums.aside else None)

    def _join(self, target: str, s: Reduce | Contract, text: str) -> None:
        if _operator(s) == "add":
            self.out.line(f"{target} += {text};")
        else:
            dtype = s.out.dtype
            self.out.line(f"{target} = {bare(spell_c(_operator(s), dtype, dtype, target, text))};")


def _aside(s: Reduce | Contract) -> str:
    return f"{s.out.name}_aside"


def _operator(s: Reduce | Contract) -> str:
    return s.op if isinstance(s, Reduce) else "add"


def _identity(s: Reduce | Contract) -> str:
    return literal(s.identity if isinstance(s, Reduce) else 0, s.out.dtype)
