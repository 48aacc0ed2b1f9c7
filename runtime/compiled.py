"""`graphir.compile`: a function that is traced once a signature and then runs as kernels."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, TypeVar, overload

import optree

from graphir.codegen.machine import Precision
from graphir.errors import UnsupportedError
from graphir.evaluate import bind_sizes
from graphir.frontend.torch_modules import is_module
from graphir.given import require_function
from graphir.graph import Graph
from graphir.tracing import Dynamic
from graphir.trees import NAMESPACE
from graphir.value import Value

from .arrays import call_key, leaves_of, shape_of, signature
from .autograd import differentiable
from .backends import Kernel, check_options
from .check import checked
from .entry import Entry, compile_entry
from .explain import Explanation
from .tuning import Tuned, check_tune

P = ParamSpec("P")
R = TypeVar("R")

# A function whose every call needs new code would otherwise hold all of it for ever.
_MOST_ENTRIES = 64
_MOST_SHAPES = 4096


class Compiled(Generic[P, R]):
    """A function that runs as generated kernels. Made by `graphir.compile`.

    The first call with a signature (tree, kinds, dtypes, fixed sizes) compiles; sizes that vary
    (by default the leading axis of every array after the first argument) share what is compiled.

    Attributes:
        entries: what was compiled so far.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        backend: str = "auto",
        dynamic: Dynamic = None,
        threads: int | None = None,
        precision: Precision = "highest",
        tune: bool | Tuned = False,
        check: bool = False,
    ) -> None:
        require_function("compile", fn)
        check_options(backend, threads, precision)
        check_tune(tune, backend)
        self.tune = tune
        self.precision = precision
        self.check = check
        self.fn, self.backend, self.dynamic, self.threads = fn, backend, dynamic, threads
        self.entries: list[Entry] = []
        self._by_kind: dict[Hashable, list[Entry]] = {}
        self._by_shapes: dict[Hashable, tuple[Entry, dict[str, int]]] = {}
        self._ready: dict[Hashable, Callable[[list[Any]], R]] = {}
        # Reentrant: a function that is being traced may call another compiled one with numbers.
        self._lock = threading.RLock()
        functools.update_wrapper(self, fn, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run; while another function is traced, become part of its trace."""
        positional: Any = self._positional(args, kwargs) if kwargs else args
        leaves, tree = optree.tree_flatten(positional, namespace=NAMESPACE)
        key = call_key(tree, leaves)
        ready = self._ready.get(key)
        if ready is not None:
            return ready(leaves)
        leaves, tree = leaves_of(positional)
        if any(isinstance(x, Value) for x in leaves):
            return self.fn(*args, **kwargs)
        entry, sizes = self._find(positional, leaves, tree)
        ready = entry.prepare(leaves, sizes)
        if self.check:
            ready = checked(entry, sizes, ready)
        ready = differentiable(self, entry, leaves, tree, ready)
        if key is not None:
            if len(self._ready) >= _MOST_SHAPES:
                self._ready.clear()
            self._ready[key] = ready
        return ready(leaves)

    def graph(self, *args: Any) -> Graph:
        """The simplified graph for these arguments."""
        return self._entry(args).graph

    def kernels(self, *args: Any) -> tuple[Kernel, ...]:
        """The kernels for these arguments, with their text."""
        return self._entry(args).build.kernels

    def explain(self, *args: Any) -> Explanation:
        """What was compiled for these arguments, why so, and what it costs.

        Printing it measures a few calls with these arguments.
        """
        leaves, tree = leaves_of(args)
        entry, sizes = self._find(args, leaves, tree)
        return entry.explain(leaves, sizes)

    def tuning(self, *args: Any) -> Tuned | None:
        """What `tune` chose for these arguments."""
        return self._entry(args).tuning

    def alike(self, fn: Callable[..., Any], dynamic: Dynamic) -> Compiled[..., Any]:
        """Another function, compiled for the same backend, threads and precision."""
        return Compiled(
            fn, backend=self.backend, dynamic=dynamic, threads=self.threads,
            precision=self.precision,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<compiled {self._name}, {len(self.entries)} entries>"

    @property
    def _name(self) -> str:
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def _positional(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        if not kwargs:
            return args
        bound = inspect.signature(self.fn).bind(*args, **kwargs)
        if bound.kwargs:
            names = ", ".join(bound.kwargs)
            raise UnsupportedError(
                names,
                f"{self._name}: keyword-only arguments ({names}) are not supported",
                hint="make them positional",
            )
        return bound.args

    def _entry(self, args: tuple[Any, ...]) -> Entry:
        leaves, tree = leaves_of(args)
        return self._find(args, leaves, tree)[0]

    def _find(
        self, args: tuple[Any, ...], leaves: Sequence[Any], tree: Any
    ) -> tuple[Entry, dict[str, int]]:
        """The entry for these arguments, compiled where there is none, and its sizes."""
        kind = (tree, *map(signature, leaves))
        shapes = tuple(map(shape_of, leaves))
        found = self._by_shapes.get((kind, shapes))
        if found is None:
            with self._lock:
                found = self._match_or_compile(args, leaves, kind, shapes)
                if len(self._by_shapes) >= _MOST_SHAPES:
                    self._by_shapes.clear()
                self._by_shapes[kind, shapes] = found
        return found

    def _match_or_compile(
        self,
        args: tuple[Any, ...],
        leaves: Sequence[Any],
        kind: Hashable,
        shapes: tuple[tuple[int, ...], ...],
    ) -> tuple[Entry, dict[str, int]]:
        alike = self._by_kind.setdefault(kind, [])
        for entry in alike:
            sizes = entry.sizes(shapes)
            if sizes is not None:
                return entry, sizes
        entry = compile_entry(
            self.fn, args, name=self._name, backend=self.backend,
            dynamic=self.dynamic, threads=self.threads, precision=self.precision,
        )  # fmt: skip
        sizes = bind_sizes(entry.graph, shapes)
        if self.tune:
            entry.tune(self.tune, leaves, sizes)
        if len(alike) >= _MOST_ENTRIES:
            self.entries.remove(alike.pop(0))
        alike.append(entry)
        self.entries.append(entry)
        return entry, sizes


@overload
def compile(
    fn: Callable[P, R],
    *,
    backend: str = "auto",
    dynamic: Dynamic = None,
    threads: int | None = None,
    precision: Precision = "highest",
    tune: bool | Tuned = False,
    check: bool = False,
) -> Compiled[P, R]: ...


@overload
def compile(
    fn: None = None,
    *,
    backend: str = "auto",
    dynamic: Dynamic = None,
    threads: int | None = None,
    precision: Precision = "highest",
    tune: bool | Tuned = False,
    check: bool = False,
) -> Callable[[Callable[..., Any]], Compiled[..., Any]]: ...


def compile(
    fn: Callable[..., Any] | None = None,
    *,
    backend: str = "auto",
    dynamic: Dynamic = None,
    threads: int | None = None,
    precision: Precision = "highest",
    tune: bool | Tuned = False,
    check: bool = False,
) -> Any:
    """Compile a function of arrays, as a decorator or by a call.

    Args:
        fn: written with torch or NumPy functions and free of side effects: it is traced once for
            each signature, and numbers that it closes over are read then. Or a torch module,
            whose parameters are then arguments before the others.
        backend: "auto", "triton", "c", "interpret" or "reference".
        dynamic: the axes whose size varies from call to call; by default the leading axis of
            every array after the first argument.
        threads: for the C backend; by default what the work of a call is worth, at most the CPUs
            that this process may use.
        precision: of products of float32 matrices on a GPU's matrix unit, as torch names it:
            "highest" is accurate to float32, "high" rounds operands to tf32, "medium" to
            bfloat16. float64 is always exact, and the C backend computes in full anyway.
        tune: measure a few block sizes, and numbers of threads, at the first call with each kind
            of arguments, and take the fastest (kept on disk for the next time). Or what
            `compiled.tuning(*args)` gave, to run the same again.
        check: at each call run the reference evaluator beside the kernels, and raise a CheckError
            that names the first node that differs or turns NaN. Slow: for debugging.

    Raises:
        BackendError: for a backend or precision that there is none of, or a `tune` that measures
            nothing there.
    """
    if fn is None:
        return functools.partial(
            compile, backend=backend, dynamic=dynamic, threads=threads, precision=precision,
            tune=tune, check=check,
        )  # fmt: skip
    if is_module(fn):
        from .modules import CompiledModule

        return CompiledModule(
            fn, backend=backend, dynamic=dynamic, threads=threads, precision=precision, tune=tune,
            check=check,
        )  # fmt: skip
    return Compiled(
        fn, backend=backend, dynamic=dynamic, threads=threads, precision=precision, tune=tune,
        check=check,
    )  # fmt: skip
