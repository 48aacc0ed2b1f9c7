"""The functions of a kernel in C from its loop IR: clear, pass, join and finish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack, nullcontext

from .c_expr import Expressions, extent, literal, local, size_text
from .c_product import ProductPrinter, Writer
from .c_vector import vector_name
from .loops import FarAngles, LoopKernel, Nest, Part, Transposition
from .products import Product
from .program import BATCH, ROWS, Program
from .spelling import C_TYPES, bare, spell_c
from .tile import Accumulator, Axis, Contract, Load, Map, Reduce, Statement, Store, Tile


def size_lines(program: Program) -> list[str]:
    """Declarations of every size that expressions may name."""
    lines = [f"const int64_t {name} = sizes[{i}];" for i, name in enumerate(program.sizes)]
    if program.loop is not None:
        dim = program.loop.dim
        lines.append(f"const int64_t start = step * {BATCH};")
        lines.append(f"const int64_t {dim} = {ROWS} - start < {BATCH} ? {ROWS} - start : {BATCH};")
    return lines


def aligned(size: int) -> int:
    """Bytes rounded up to whole cache lines."""
    return -(-size // 64) * 64


class KernelPrinter(Writer):
    """Prints one kernel.

    Args:
        zeros_before: bytes of zeroed arrays of the kernels before this one.
        own: buffers of which each thread has a copy, which its `finish` brings up to date; what
            else `finish` writes is written by the first thread alone. None where only the first
            thread runs `finish`.
    """

    def __init__(
        self,
        program: Program,
        loops: LoopKernel,
        zeros_before: int,
        own: frozenset[str] | None = None,
    ) -> None:
        super().__init__()
        self.own, self.finishing = own, False
        self.program, self.loops, self.kernel = program, loops, loops.kernel
        self.arrays = loops.arrays()
        self.expr = Expressions(self.arrays)
        self.kept: dict[Tile, int] = {}
        self.kept_bytes = 0
        for tile, array in loops.kept.items():
            self.kept[tile] = self.kept_bytes
            self.kept_bytes += aligned(array.elements * tile.dtype.itemsize)
        self.heap: dict[Tile, str] = {}
        self.scratch_bytes, self.zero_bytes = 0, zeros_before
        for tile, array in self.arrays.items():
            size = aligned(array.elements * tile.dtype.itemsize)
            if tile in self.kept:
                continue
            if tile in loops.zeroed:
                self.heap[tile] = f"scratch + {self.zero_bytes}"
                self.zero_bytes += size
            elif not array.on_stack:
                self.heap[tile] = f"scratch + ZEROED + {self.scratch_bytes}"
                self.scratch_bytes += size

    # -- the functions of a kernel ----------------------------------------------------------

    def text(self) -> str:
        """The kernel's functions: clear, pass, join and finish, as far as they are needed."""
        name, kernel = self.kernel.name, self.kernel
        if kernel.accumulators:
            self._clear_function()
            self._join_function()
        if kernel.stream is not None:
            with self.block(f"static void {name}_pass(PARAMETERS)"):
                self._pass(kernel.stream)
        if kernel.epilogue:
            self.finishing = True
            with self.block(f"static void {name}_finish(PARAMETERS)"):
                self._declare(kernel.epilogue)
                self._declare_accumulators(scalars=False)
                self._declare_arrays(self.loops.epilogue)
                self._part(self.loops.epilogue)
        return "\n".join(self.lines) + "\n"

    def _pass(self, stream: Axis) -> None:
        kernel = self.kernel
        self._declare(kernel.body + kernel.preamble)
        self._declare_accumulators(scalars=True)
        self._declare_arrays(self.loops.preamble)
        self._part(self.loops.preamble)
        self._declare_arrays(self.loops.body)
        fresh = [acc for acc in kernel.accumulators if acc.tile in self.loops.fresh]
        if fresh:
            with self.block("if (begin >= end)"):
                for acc in fresh:
                    self._clear(acc)
        i = stream.name
        with self.block(f"for (int64_t {i}0 = begin; {i}0 < end; {i}0 += {stream.block})"):
            self.line(
                f"const int64_t m_{i} = end - {i}0 < {stream.block} ? end - {i}0 : {stream.block};"
            )
            if any(n.product is not None and n.product.prefetched for n in self.loops.body.nests):
                self._rows_ahead(stream)
            self._part(self.loops.body)
        for acc in kernel.accumulators:
            if not acc.tile.axes:
                self.line(f"*{self._kept_pointer(acc)} = {acc.tile.name};")

    def _rows_ahead(self, stream: Axis) -> None:
        """How far away this thread's next block is, and where rows end: for prefetches."""
        i, loop = stream.name, self.program.loop
        in_loop = loop is not None and not self.kernel.grid
        following = f"{BATCH} + begin - {i}0" if in_loop else str(stream.block)
        self.line(
            f"const int64_t ahead = {i}0 + {stream.block} < end ? {stream.block} : {following};"
        )
        self.line(f"const int64_t beyond = {f'{ROWS} - start' if in_loop else 'end'};")

    # -- declarations -----------------------------------------------------------------------

    def _declare(self, statements: Iterable[Statement]) -> None:
        """Pointers to the buffers that the statements touch, sizes, and the grid's block."""
        statements = list(statements)
        written = {s.address.buffer for s in statements if isinstance(s, Store)}
        read = {s.address.buffer for s in statements if isinstance(s, Load)}
        for k, buffer in enumerate(self.program.buffers):
            if buffer.name in written | read:
                constant = "" if buffer.name in written else "const "
                kind = f"{constant}{C_TYPES[buffer.dtype.name]}"
                self.line(f"{kind} *restrict const {buffer.name}_ptr = buffers[{k}];")
        for text in size_lines(self.program):
            self.line(text)
        for k, axis in enumerate(self.kernel.grid):
            n, size = axis.name, size_text(axis.size)
            self.line(f"const int64_t {n}0 = block[{k}];")
            self.line(
                f"const int64_t m_{n} = {size} - {n}0 < {axis.block} ? {size} - {n}0 : "
                f"{axis.block};"
            )

    def _kept_pointer(self, acc: Accumulator) -> str:
        return f"({C_TYPES[acc.tile.dtype.name]} *)(kept + {self.kept[acc.tile]})"

    def _declare_accumulators(self, *, scalars: bool) -> None:
        for acc in self.kernel.accumulators:
            kind, place = C_TYPES[acc.tile.dtype.name], self._kept_pointer(acc)
            if acc.tile.axes:
                self.line(f"{kind} *restrict const {acc.tile.name} = {place};")
            else:
                constant = "" if scalars else "const "
                self.line(f"{constant}{kind} {acc.tile.name} = *{place};")

    def _declare_arrays(self, part: Part) -> None:
        for tile, array in part.arrays.items():
            if tile in self.kept:
                continue
            kind = C_TYPES[tile.dtype.name]
            if not array.axes:
                self.line(f"{kind} {tile.name};")
            elif tile in self.heap:
                self.line(f"{kind} *restrict const {tile.name} = ({kind} *)({self.heap[tile]});")
            else:
                self.line(f"_Alignas(64) {kind} {tile.name}[{array.elements}];")

    def _clear_function(self) -> None:
        with self.block(f"static void {self.kernel.name}_clear(char *kept)"):
            for acc in self.kernel.accumulators:
                if acc.tile not in self.loops.fresh:
                    self._clear(acc)

    def _clear(self, acc: Accumulator) -> None:
        count = self.arrays[acc.tile].elements
        with self.block(f"for (int64_t e = 0; e < {count}; e++)"):
            value = literal(acc.identity, acc.tile.dtype)
            self.line(f"({self._kept_pointer(acc)})[e] = {value};")

    def _join_function(self) -> None:
        """`kept = a op b`; `kept` may be `a`."""
        head = f"static void {self.kernel.name}_join(char *kept, const char *a, const char *b)"
        with self.block(head):
            for acc in self.kernel.accumulators:
                kind, offset = C_TYPES[acc.tile.dtype.name], self.kept[acc.tile]
                self.line("#pragma omp simd")
                with self.block(f"for (int64_t e = 0; e < {self.arrays[acc.tile].elements}; e++)"):
                    for side in "ab":
                        place = f"((const {kind} *)({side} + {offset}))[e]"
                        self.line(f"const {kind} {side}_e = {place};")
                    joined = spell_c(acc.op, acc.tile.dtype, acc.tile.dtype, "a_e", "b_e")
                    self.line(f"({self._kept_pointer(acc)})[e] = {bare(joined)};")

    # -- nests ------------------------------------------------------------------------------

    def _part(self, part: Part) -> None:
        self.expr.inline.update(part.inline)
        for nest in part.nests:
            if nest.product is not None:
                ProductPrinter(nest.product, self.expr, self, self._again(nest.product)).run()
            elif nest.transposition is not None:
                self._transpose(nest, nest.transposition)
            else:
                self._nest(nest)

    def _again(self, product: Product) -> str:
        """When a product adds to its accumulator: always, or in all blocks but the first."""
        stream = self.kernel.stream
        if stream is None or product.statement.out not in self.loops.fresh:
            return ""
        return f"{stream.name}0 != begin"

    def _transpose(self, nest: Nest, t: Transposition) -> None:
        """A copy by squares, then element by element what they leave."""
        (copy,) = nest.statements
        assert isinstance(copy, Map)
        kind = vector_name(copy.out.dtype, t.lanes)
        whole = {a: a.block // t.lanes * t.lanes for a in (t.read, t.written)}
        with ExitStack() as loops:
            for axis in nest.axes:
                if axis not in whole:
                    loops.enter_context(self.loop(axis))
            with ExitStack() as squares:
                for axis, end in whole.items():
                    n = axis.name
                    head = f"for (int64_t {n} = 0; {n} < {end}; {n} += {t.lanes})"
                    squares.enter_context(self.block(head))
                to, source = f"&{self.expr.place(copy.out)}", f"&{self.expr.value(copy.args[0])}"
                self.line(f"{kind}_transpose({to}, {t.written_stride}, {source}, {t.read_stride});")
            for axis, other in ((t.read, t.written), (t.written, t.read)):
                if whole[axis] == axis.block:
                    continue
                n, end = other.name, other.block if axis is t.read else whole[other]
                m = axis.name
                with (
                    self.block(f"for (int64_t {m} = {whole[axis]}; {m} < {axis.block}; {m}++)"),
                    self.block(f"for (int64_t {n} = 0; {n} < {end}; {n}++)"),
                ):
                    self._statement(copy, nest, ())

    def _nest(self, nest: Nest) -> None:
        found = nest.far
        if found is None or not nest.axes:
            self._loops(nest, far=found is not None)
            return
        # `far` is the size of the largest angle: some need the slow form of the loops.
        with self.block(""):
            suffix = _suffix(found)
            many = f"fars[{found.lanes}] = {{0}}, " if found.lanes > 1 else ""
            self.line(f"{'float' if suffix else 'double'} {many}far = 0;")
            if found.scan is None:
                self._copy_accumulators(found.restored, "before_{0}", "{0}", declare=True)
                self._loops(nest, asked=found)
            else:
                self._scan(nest, found, found.scan)
            if found.lanes > 1:
                joined = f"far = gr_larger{suffix}(far, fars[e])"
                self.line(f"for (int e = 0; e < {found.lanes}; e++) {joined};")
            if found.scan is not None:
                with self.block(f"if (!gr_far{suffix}(far))"):
                    self._loops(nest)
            with self.block(f"if (gr_far{suffix}(far))"):
                self._copy_accumulators(found.restored, "{0}", "before_{0}")
                self._loops(nest, far=True)

    def _copy_accumulators(
        self, tiles: Sequence[Tile], to: str, source: str, *, declare: bool = False
    ) -> None:
        for tile in tiles:
            kind, name = C_TYPES[tile.dtype.name] + " " if declare else "", tile.name
            if not tile.axes:
                self.line(f"{kind}{to.format(name)} = {source.format(name)};")
                continue
            elements = self.arrays[tile].elements
            if declare:
                self.line(f"{kind}{to.format(name)}[{elements}];")
            size = elements * tile.dtype.itemsize
            self.line(f"memcpy({to.format(name)}, {source.format(name)}, {size});")

    def _scan(self, nest: Nest, found: FarAngles, statements: Sequence[Statement]) -> None:
        """Loops that compute the angles and nothing else."""
        with ExitStack() as loops:
            for axis in nest.axes:
                if axis is nest.axes[-1]:
                    self._vectorise(axis, (), [], found)
                loops.enter_context(self.loop(axis))
            self.expr.local = set()
            for s in statements:
                self._statement(s, nest, ())
            self._ask(found, nest.axes[-1])
            self.expr.local = set()

    def _ask(self, found: FarAngles, inner: Axis) -> None:
        place = "far" if found.lanes == 1 else f"fars[{local(inner)}]"
        for angle in found.angles:
            larger = f"gr_larger{_suffix(found)}({place}, {self.expr.value(angle)})"
            self.line(f"{place} = {larger};")

    def _loops(self, nest: Nest, *, far: bool = False, asked: FarAngles | None = None) -> None:
        joins = [s for s in nest.statements if isinstance(s, (Reduce, Contract))]
        inner = nest.axes[-1] if nest.axes else None
        running = [s for s in joins if inner in s.axes and s.out.axes and s not in nest.sums]
        # Joined along one axis only: its loop may start from the identity.
        whole = [s for s in joins if s.out.axes and s.axes == (inner,) and s.into is None]
        for join in joins:
            if join.into is None and join not in whole:
                self._start(join)
        for join in nest.aside:
            self._set_aside(join)
        with ExitStack() as loops:
            for axis in nest.axes[:-1]:
                loops.enter_context(self.loop(axis))
            for join in running:
                apart = join in whole or join.into is not None
                start = _identity(join) if apart else self.expr.place(join.out)
                self.line(f"{C_TYPES[join.out.dtype.name]} sum_{join.out.name} = {start};")
            terms = {s: self._terms(s, inner) for s in nest.sums} if inner is not None else {}
            with ExitStack() as innermost:
                if inner is not None:
                    sums = [
                        self._target(s, nest, running)
                        for s in joins
                        if inner in s.axes and _operator(s) == "add" and s not in nest.sums
                    ]
                    if not far:
                        self._vectorise(inner, joins, sums, asked)
                    innermost.enter_context(self.loop(inner))
                self.expr.local = set()
                for s in nest.statements:
                    if s in nest.sums:
                        self._term(s, terms[s], inner)
                    else:
                        self._statement(s, nest, running, far=far)
                if asked is not None and inner is not None:
                    self._ask(asked, inner)
                self.expr.local = set()
            for join in running:
                target = self._target(join, nest, ())
                if join.into is None:
                    self.line(f"{target} = sum_{join.out.name};")
                else:
                    self._join(target, join.out, _operator(join), f"sum_{join.out.name}")
            for join in nest.sums:
                assert inner is not None
                target = self._target(join, nest, ())
                self._total(join, terms[join], inner, target, starts=join in whole)
        for join in nest.aside:
            self._bring_in(join)

    def _set_aside(self, s: Reduce | Contract) -> None:
        """Begin a sum of the nest alone."""
        name, kind = _aside(s), C_TYPES[s.out.dtype.name]
        if not s.out.axes:
            self.line(f"{kind} {name} = {_identity(s)};")
            return
        count = self.arrays[s.out].elements
        self.line(f"_Alignas(64) {kind} {name}[{count}];")
        with self.block(f"for (int64_t e = 0; e < {count}; e++)"):
            self.line(f"{name}[e] = {_identity(s)};")

    def _bring_in(self, s: Reduce | Contract) -> None:
        """Join a sum of the nest into its accumulator."""
        if not s.out.axes:
            self.line(f"{s.out.name} += {_aside(s)};")
            return
        self.line("#pragma omp simd")
        with self.block(f"for (int64_t e = 0; e < {self.arrays[s.out].elements}; e++)"):
            self.line(f"{s.out.name}[e] += {_aside(s)}[e];")

    def _terms(self, s: Reduce | Contract, inner: Axis) -> Tile | None:
        """The array in which the terms of a sum lie anyhow; None where one is declared for them."""
        source = s.source if isinstance(s, Reduce) else None
        array = None if source is None else self.arrays.get(source)
        in_order = array is not None and array.strides().get(inner) == 1
        if in_order and array is not None and array.tile.dtype is s.out.dtype:
            return source
        kind = C_TYPES[s.out.dtype.name]
        self.line(f"_Alignas(64) {kind} terms_{s.out.name}[{inner.block}];")
        return None

    def _term(self, s: Reduce | Contract, terms: Tile | None, inner: Axis | None) -> None:
        if terms is not None or inner is None:
            return
        value = self.expr.value
        text = value(s.source) if isinstance(s, Reduce) else f"{value(s.a)} * {value(s.b)}"
        self.line(f"terms_{s.out.name}[{local(inner)}] = {text};")

    def _total(
        self, s: Reduce | Contract, terms: Tile | None, inner: Axis, target: str, *, starts: bool
    ) -> None:
        """Join the terms along the innermost axis into `target`."""
        dtype = s.out.dtype
        lanes = self.loops.vector_bytes // dtype.itemsize
        while lanes > 2 and lanes >= 2 * inner.block:
            lanes //= 2
        array = f"terms_{s.out.name}" if terms is None else f"&{self.expr.place(terms)}"
        joined = f"{vector_name(dtype, lanes)}_{_operator(s)}_all({array}, {extent(inner)})"
        with self.block("") if terms is not None else nullcontext():
            if terms is not None:
                self.line(f"const int64_t {local(inner)} = 0;")
            if starts:
                self.line(f"{target} = {joined};")
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
        self.line(f"#pragma omp simd{reduction}")

    def _target(
        self, s: Reduce | Contract, nest: Nest, running: Sequence[Reduce | Contract]
    ) -> str:
        if s in running:
            return f"sum_{s.out.name}"
        return self.expr.place(s.out, _aside(s) if s in nest.aside else None)

    def _start(self, s: Reduce | Contract) -> None:
        """Set what a sum is joined into to the identity."""
        if not s.out.axes:
            self.line(f"{s.out.name} = {_identity(s)};")
            return
        with ExitStack() as loops:
            for axis in self.arrays[s.out].axes:
                loops.enter_context(self.loop(axis))
            self.line(f"{self.expr.place(s.out)} = {_identity(s)};")

    def _statement(
        self, s: Statement, nest: Nest, running: Sequence[Reduce | Contract], *, far: bool = False
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
                alone = self.own is not None and address.buffer not in self.own
                first = "if (thread == 0) " if alone and self.finishing else ""
                self.line(f"{first}{self.expr.element(address)} = {value(stored)};")
            case Reduce(out=out, source=source, op=op):
                self._join(self._target(s, nest, running), out, op, value(source))
            case Contract(out=out, a=a, b=b):
                self._join(self._target(s, nest, running), out, "add", f"{value(a)} * {value(b)}")

    def _read_anyway(self, out: Tile, tiles: Sequence[Tile], texts: Sequence[str]) -> list[str]:
        """Variables for what is read from memory: a loop that reads under a condition is not made
        into vectors."""
        found = list(texts)
        for k, (tile, text) in enumerate(zip(tiles, texts, strict=True)):
            if "[" in text:
                found[k] = f"{out.name}_{k}"
                self.line(f"const {C_TYPES[tile.dtype.name]} {found[k]} = {text};")
        return found

    def _assign(self, out: Tile, text: str) -> None:
        if out not in self.arrays:
            self.line(f"const {C_TYPES[out.dtype.name]} {out.name} = {text};")
            self.expr.local.add(out)
        else:
            self.line(f"{self.expr.place(out)} = {text};")

    def _join(self, target: str, out: Tile, op: str, text: str) -> None:
        if op == "add":
            self.line(f"{target} += {text};")
        else:
            self.line(f"{target} = {bare(spell_c(op, out.dtype, out.dtype, target, text))};")


def _aside(s: Reduce | Contract) -> str:
    return f"{s.out.name}_aside"


def _suffix(found: FarAngles) -> str:
    """Of the functions for the widest of the angles."""
    return "" if any(a.dtype.itemsize == 8 for a in found.angles) else "f"


def _operator(s: Reduce | Contract) -> str:
    return s.op if isinstance(s, Reduce) else "add"


def _identity(s: Reduce | Contract) -> str:
    return literal(s.identity if isinstance(s, Reduce) else 0, s.out.dtype)
