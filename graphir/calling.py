"""How a transformed function runs: inside a trace as part of it, else at once on arrays."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optree

from .differentiate import pullback
from .errors import DTypeError, GraphirError, ShapeError
from .evaluate import evaluate
from .frontend.torch_arrays import as_tensor
from .frontend.torch_autograd import call_tracked, is_tracked, refuse_arrays
from .frontend.torch_names import is_tensor
from .given import whole_numbers
from .graph import Graph
from .sizes import format_shape
from .symbolic import require_equal
from .tracing import Trace, trace
from .trees import NAMESPACE, argument_names, flatten, placed, unflatten
from .value import Value, cast

ArgNums = int | tuple[int, ...]


def call(
    inline: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    names: Sequence[str],
    closure: Any = None,
) -> Any:
    """`inline(first, *args, **kwargs)`, where `first` is some value of the trace to write into.

    With traced values among the arguments it runs in their trace; without, in a trace of its own,
    which the reference evaluator then computes.

    Args:
        names: what to call the positional arguments.
        closure: the user's function, which may close over traced values.
    """
    first = first_value(closure, args, kwargs)
    if first is not None:
        return inline(first, *args, **kwargs)

    def flat(*given: Any) -> Any:
        keywords = dict(zip(kwargs, given[len(args) :], strict=True))
        start = first_value(given)
        if start is None:
            raise GraphirError("a derivative needs an array or a number among the arguments")
        return inline(start, *given[: len(args)], **keywords)

    return _evaluate_now(flat, (*args, *kwargs.values()), (*names, *kwargs))


def _evaluate_now(fn: Callable[..., Any], args: tuple[Any, ...], names: Sequence[str]) -> Any:
    """Trace `fn` and evaluate it; the results are of the arguments' kind.

    Where torch's autograd tracks a tensor, it sees the call and can go back through it.
    """
    traced = trace(fn, args, dynamic=(), names=names)
    leaves, _, tree = flatten(args, names)
    closed = [x for x in traced.graph.captured.values() if is_tensor(x)]
    wanted = [i for i, x in enumerate(leaves) if is_tracked(x)]
    own = [x for x in closed if is_tracked(x)]
    run = functools.partial(_evaluated, traced)
    if not wanted and not own:
        return run(leaves)
    if traced.flavour != "torch":
        raise refuse_arrays(getattr(fn, "__name__", "the function"))

    def pull(*given: Any) -> Any:
        return _evaluate_now(cotangent_function(fn, wanted, own), given, (*names, "cotangents"))

    return call_tracked(run, pull, leaves, tree, closed)


def _evaluated(traced: Trace, leaves: Sequence[Any]) -> Any:
    outputs: list[Any] = list(evaluate(traced.graph, leaves))
    if traced.flavour == "torch":
        outputs = [as_tensor(x).to(traced.device) for x in outputs]
    outputs = [
        x.item() if kind == "number" else x
        for x, kind in zip(outputs, traced.out_kinds, strict=True)
    ]
    return unflatten(traced.out_spec, outputs)


def cotangent_function(
    fn: Callable[..., Any], wanted: Sequence[int], closed: Sequence[Any]
) -> Callable[..., Any]:
    """`(*args, cotangents) -> a tuple of cotangents`, to be traced.

    Args:
        wanted: the leaves of the arguments to give cotangents for.
        closed: the arrays that `fn` closes over to give cotangents for, after them.
    """

    def pull(*given: Any) -> tuple[Any, ...]:
        *args, cotangents = given
        first = first_value(given)
        assert first is not None
        leaves = flatten(tuple(args), "args")[0]
        with placed(tuple(args)) as own:
            outputs, _, _ = lifted(first, fn(*own))
        ends = [y for y in outputs if y.element.is_float and not y.weak]
        found = matching("cotangent", first, cotangents, ends, flatten(ends, "ends")[2])
        wrt = [leaves[i] for i in wanted] + [first.lift(x) for x in closed]
        return tuple(pullback(ends, found, wrt))

    pull.__name__ = f"{getattr(fn, '__name__', type(fn).__name__)}_vjp"
    return pull


def first_value(*trees: Any) -> Value | None:
    """The first traced value among the leaves, or among what the functions there close over."""
    seen: set[int] = set()
    waiting: list[Any] = flatten(trees, "args")[0]
    while waiting:
        leaf = waiting.pop(0)
        if isinstance(leaf, Value):
            return leaf
        if id(leaf) not in seen:
            seen.add(id(leaf))
            waiting += optree.tree_leaves(_closed_over(leaf), namespace=NAMESPACE)
    return None


def _closed_over(fn: Any) -> Any:
    """The variables of enclosing functions that `fn` uses, or what a partial holds."""
    if isinstance(fn, functools.partial):
        return [fn.func, fn.args, fn.keywords]
    if not inspect.isroutine(fn):
        return []
    contents: Any = []
    for cell in getattr(inspect.unwrap(fn), "__closure__", None) or ():
        # A variable that is not assigned yet has an empty cell.
        with contextlib.suppress(ValueError):
            contents.append(cell.cell_contents)
    return contents


def own_copy(first: Value, leaf: Any, name: str) -> Value:
    """A stand-in for an argument, so that other uses of the same value do not count as its.

    Raises:
        DTypeError: where it is not floating.
    """
    x = first.lift(leaf)
    if not x.element.is_float:
        raise DTypeError(
            f"`{name}` is {x.element}: only floating arguments have gradients",
            hint="convert it, e.g. x.float(), or leave it out of what is differentiated",
        )
    graph: Graph = x.graph
    # The number of nodes grows with each copy, so no two copies share a tag.
    y = x.apply("copy", weak=x.weak, tag=len(graph.nx))
    if x.node not in graph.names:
        graph.names[y.node] = name
    return y


class Copies:
    """Arguments with copies of their own in place of those to differentiate by.

    Attributes:
        values: the copies, in order.
        trees: the structure of each chosen argument.
    """

    def __init__(
        self, first: Value, fn: Callable[..., Any], argnums: ArgNums, args: Sequence[Any]
    ) -> None:
        names = argument_names(fn, len(args))
        self.values: list[Value] = []
        self.trees: list[Any] = []
        self._fn, self._args = fn, list(args)
        self._single = isinstance(argnums, int)
        for position in positions(argnums, len(args)):
            leaves, labels, tree = flatten(args[position], names[position])
            copies = [own_copy(first, x, name) for x, name in zip(leaves, labels, strict=True)]
            self.values += copies
            self.trees.append(tree)
            self._args[position] = unflatten(tree, copies)

    def call(self, kwargs: Mapping[str, Any], has_aux: bool) -> tuple[Any, ...]:
        """`(value,)` of the function at the copies, or `(value, aux)`."""
        with placed(tuple(self._args)) as args:
            return split_aux(self._fn(*args, **kwargs), has_aux)

    def restore(self, leaves: Sequence[Any]) -> Any:
        """One entry for each copy, as the trees of the chosen arguments."""
        rest = iter(leaves)
        built = [unflatten(t, [next(rest) for _ in range(t.num_leaves)]) for t in self.trees]
        return built[0] if self._single else tuple(built)


def positions(argnums: ArgNums, count: int) -> list[int]:
    """`argnums` as positions from 0.

    Raises:
        GraphirError: where one names an argument that is not there, or is no whole number.
    """
    given = whole_numbers(argnums)
    if given is None:
        raise GraphirError(
            f"argnums must be the number of an argument, or several, got {argnums!r}",
            hint="use e.g. argnums=0, or argnums=(0, 1)",
        )
    if not given or any(not -count <= i < count for i in given):
        raise GraphirError(
            f"argnums={argnums} does not name an argument: there are {count} positional ones",
            hint=f"use numbers from 0 to {count - 1}" if count else None,
        )
    return [i % count for i in given]


def split_aux(result: Any, has_aux: bool) -> tuple[Any, ...]:
    """`(value,)`, or `(value, aux)` with `has_aux`.

    Raises:
        ShapeError: where `result` is not such a pair.
    """
    if not has_aux:
        return (result,)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ShapeError(
            f"has_aux=True needs a function that returns (value, aux), got {type(result).__name__}"
        )
    return result


def lifted(first: Value, result: Any) -> tuple[list[Value], list[str], Any]:
    """The leaves of a result as traced values, their names, and the structure."""
    leaves, names, tree = flatten(result, "output")
    return [first.lift(x) for x in leaves], names, tree


def matching(what: str, first: Value, given: Any, like: Sequence[Value], tree: Any) -> list[Value]:
    """The leaves of `given`, each a value of the type of its partner in `like`.

    Args:
        what: "cotangent" or "tangent".
        tree: the structure that `given` must have.

    Raises:
        ShapeError, DTypeError: where structure, shape or dtype differ.
    """
    leaves, names, own = flatten(given, f"{what}s")
    if own != tree:
        raise ShapeError(
            f"the {what}s must have the structure of the values they belong to: {tree}, got {own}",
            hint=f"give one {what} for each value, in the same tuple, list or dict",
        )
    found = []
    for leaf, name, x in zip(leaves, names, like, strict=True):
        t = first.lift(leaf)
        message = (
            f"`{name}` must have the shape {format_shape(x.sizes)} of its value, "
            f"got {format_shape(t.sizes)}"
        )
        hint = f"a {what} has the shape and dtype of the value it belongs to"
        if t.ndim != x.ndim:
            raise ShapeError(message, hint=hint)
        for s, size in zip(t.sizes, x.sizes, strict=True):
            require_equal(message, s, size, x.graph.hints, hint)
        if t.weak or x.weak:
            t = cast(t, x.element)
        if t.element is not x.element:
            raise DTypeError(f"`{name}` must be {x.element} as its value, got {t.element}",
                             hint="convert it, e.g. t.to(x.dtype)")  # fmt: skip
        found.append(t)
    return found
