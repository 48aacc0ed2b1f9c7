"""One compiled form of a function: traced, simplified and built for one signature, with how it runs
on arguments like those."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphir.codegen.machine import Precision
from graphir.errors import ShapeError
from graphir.evaluate import bind_sizes
from graphir.graph import Graph
from graphir.simplify import simplify
from graphir.tracing import Dynamic, Trace, trace
from graphir.trees import unflatten

from .arrays import check_ranges, is_array, leaves_of, to_memory, to_user
from .backends import Build, choose, device_of
from .debug import logs_launches, timed
from .executable import Memory
from .explain import Explanation, shortest
from .tuning import Tuned, check_tune, shortest_step, tuned

if TYPE_CHECKING:
    from .direct import DirectCall


@dataclass(eq=False)
class Entry:
    """One compiled form of a function: all but the function itself, which it does not keep alive.

    Attributes:
        traced: the trace that it came from.
        build: the simplified graph, and what runs it.
        tuning: what was chosen by measuring, on the first arguments.
    """

    traced: Trace
    build: Build
    tuning: Tuned | None = None

    @property
    def graph(self) -> Graph:
        """The simplified graph."""
        return self.build.graph

    def sizes(self, shapes: Sequence[tuple[int, ...]]) -> dict[str, int] | None:
        """The number behind each Dim, or None where these shapes need another entry."""
        try:
            return bind_sizes(self.graph, shapes)
        except ShapeError:
            return None

    def memory(self, leaves: Sequence[Any]) -> list[Memory]:
        """The memory of each of the graph's inputs."""
        given = iter(leaves)
        captured, backend = self.graph.captured, self.build.executable.backend
        return [
            to_memory(captured[x] if x in captured else next(given), x.dtype.numpy, backend)
            for x in self.graph.inputs
        ]

    def call(self, leaves: Sequence[Any], sizes: Mapping[str, int]) -> Any:
        """Run on the flattened arguments."""
        graph, executable = self.graph, self.build.executable
        memory = self.memory(leaves)
        if graph.ranges:
            check_ranges(graph, memory)
        tensor = self.traced.flavour == "torch"
        outputs = [
            m.item() if kind == "number" else to_user(m, tensor=tensor)
            for m, kind in zip(executable.run(memory, sizes), self.traced.out_kinds, strict=True)
        ]
        return unflatten(self.traced.out_spec, outputs)

    def prepare(
        self, leaves: Sequence[Any], sizes: Mapping[str, int]
    ) -> Callable[[list[Any]], Any]:
        """How to run on flattened arguments like these, and what to check at each call."""
        direct = self._direct(leaves, sizes)
        ranges, spec, captured = self.graph.ranges, self.traced.out_spec, self._captured
        numbers = [i for i, kind in enumerate(self.traced.out_kinds) if kind == "number"]
        single = spec.is_leaf()

        def call(leaves: list[Any]) -> Any:
            if direct is None:
                return self.call(leaves, sizes)
            if captured:
                leaves += captured
            if ranges:
                check_ranges(self.graph, leaves)
            outputs = direct(leaves)
            for i in numbers:
                outputs[i] = outputs[i].item()
            return outputs[0] if single else unflatten(spec, outputs)

        return call

    @property
    def _captured(self) -> list[Any]:
        """The arrays closed over: the last of the graph's inputs."""
        return [self.graph.captured[x] for x in self.graph.inputs if x in self.graph.captured]

    def _direct(self, leaves: Sequence[Any], sizes: Mapping[str, int]) -> DirectCall | None:
        """The fast way, where these arguments can be read where they lie."""
        if self.build.backend != "c" or logs_launches():
            return None
        from .direct import DirectCall

        inputs, dtypes = [*leaves, *self._captured], [x.dtype for x in self.graph.inputs]
        if not DirectCall.takes(inputs, dtypes):
            return None
        if self.graph.ranges and not all(map(is_array, inputs)):
            return None
        tensor = self.traced.flavour == "torch"
        return DirectCall(self.build.executable, inputs, dtypes, sizes, tensor=tensor)

    def explain(self, leaves: Sequence[Any], sizes: Mapping[str, int]) -> Explanation:
        """What was compiled, with what it costs on these flattened arguments."""
        share = self.build.executable.backend.share(dict(sizes))

        def measure() -> float:
            executable = self.build.executable
            call = executable.bind(self.memory(leaves), sizes)
            smallest = min(call.outputs, key=lambda m: m.nbytes, default=None)

            def run() -> None:
                call.run(0, 1)
                # A GPU runs on by itself until something is read.
                if smallest is not None:
                    executable.backend.read(smallest)

            return shortest(run)

        return Explanation(self.build, sizes, share, measure, tuning=self.tuning)

    def tune(self, tune: bool | Tuned, leaves: Sequence[Any], sizes: Mapping[str, int]) -> None:
        """Take the fastest of a few ways to run on flattened arguments like these."""
        check_tune(tune, self.build.backend)

        def measure(build: Build) -> float:
            trial = replace(self, build=build)
            executable = build.executable
            call = executable.bind(trial.memory(leaves), sizes)
            return shortest_step(executable.backend, call.run, 1)

        self.tuning = tuned(self.build, tune, sizes, measure)
        self.build = self.tuning.applied(self.build)


def compile_entry(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    name: str,
    backend: str,
    dynamic: Dynamic = None,
    threads: int | None = None,
    precision: Precision = "highest",
) -> Entry:
    """Trace `fn` on `args` and prepare it for a backend.

    Raises:
        GraphirError: where it cannot be traced or built.
    """
    leaves, _ = leaves_of(args)
    chosen = choose(backend, filter(is_array, leaves))
    with timed("trace", name):
        traced = trace(fn, args, dynamic=dynamic)
    device = device_of(leaves)
    with timed("simplify", name):
        graph = simplify(traced.graph)
    build = Build(
        graph, name, chosen, threads=threads, device=device, traced=traced.graph,
        precision=precision,
    )  # fmt: skip
    return Entry(traced, build)
