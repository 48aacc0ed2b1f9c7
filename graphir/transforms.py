"""Functions of functions: `grad` and `value_and_grad`, named and called as in torch.func."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import optree

from .differentiate import gradients
from .errors import DTypeError, GraphirError, ShapeError
from .evaluate import evaluate
from .graph import Graph
from .tracing import trace
from .trees import NAMESPACE, argument_names, flatten, unflatten
from .value import Value


def value_and_grad(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns `(value, gradients)` of `fn`.

    It runs when called, on the reference evaluator; called with traced values, e.g. inside a
    compiled function, it becomes part of their graph.

    Args:
        fn: returns a floating scalar, or `(scalar, aux)` with `has_aux`.
        argnums: which positional arguments to differentiate with respect to. Each is an array,
            a number or a tree of them; a tuple gives a tuple of gradients.
        has_aux: return `((value, aux), gradients)`.

    Raises:
        ShapeError: where the value is not a scalar.
        DTypeError: where a leaf of an argument of `argnums` is not floating, by name.
        GraphirError: where `argnums` names an argument that is not there.
    """

    @functools.wraps(fn, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        def inline(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
            return _value_and_grad(fn, argnums, has_aux, args, kwargs)

        if _first_value(fn, args, kwargs) is not None:
            return inline(args, kwargs)
        return _evaluate_now(fn, inline, args, kwargs)

    return wrapped


def grad(
    fn: Callable[..., Any], argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the gradients of `fn`, or `(gradients, aux)` with `has_aux`.

    Arguments and errors are those of `value_and_grad`.
    """
    both = value_and_grad(fn, argnums, has_aux)

    @functools.wraps(fn, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapped


def _value_and_grad(
    fn: Callable[..., Any],
    argnums: int | tuple[int, ...],
    has_aux: bool,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """Trace `fn` into the graph of its arguments, and its gradients after it."""
    positions = _positions(argnums, len(args))
    first = _first_value(fn, args, kwargs)
    if first is None:
        raise GraphirError("a gradient needs an array or a number among the arguments")
    names = argument_names(fn, len(args))
    wrt: list[Value] = []
    trees = []
    copied = list(args)
    for position in positions:
        leaves, labels, tree = flatten(args[position], names[position])
        copies = [_own_copy(first, x, name) for x, name in zip(leaves, labels, strict=True)]
        wrt += copies
        trees.append(tree)
        copied[position] = unflatten(tree, copies)
    value, *aux = _split(fn(*copied, **kwargs), has_aux)
    output = _as_output(first, value)
    found = iter(gradients(output, wrt))
    grads = [unflatten(tree, [next(found) for _ in range(tree.num_leaves)]) for tree in trees]
    return (
        (output, *aux) if has_aux else output,
        grads[0] if isinstance(argnums, int) else tuple(grads),
    )


def _own_copy(first: Value, leaf: Any, name: str) -> Value:
    """A stand-in for an argument, so that other uses of the same value do not count as its."""
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


def _as_output(first: Value, value: Any) -> Value:
    if isinstance(value, (Value, bool, int, float)):
        return first.lift(value)
    hint = "return a scalar, e.g. loss.mean(), or use has_aux=True for (loss, more)"
    raise ShapeError(
        f"a gradient needs a function that returns one scalar, got {type(value).__name__}",
        hint=hint,
    )


def _split(result: Any, has_aux: bool) -> tuple[Any, ...]:
    if not has_aux:
        return (result,)
    if not isinstance(result, tuple) or len(result) != 2:
        raise ShapeError(
            f"has_aux=True needs a function that returns (value, aux), got {type(result).__name__}"
        )
    return result


def _positions(argnums: int | tuple[int, ...], count: int) -> list[int]:
    given = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    if not given or any(not -count <= i < count for i in given):
        raise GraphirError(
            f"argnums={argnums} does not name an argument: there are {count} positional ones",
            hint=f"use numbers from 0 to {count - 1}" if count else None,
        )
    return [i % count for i in given]


def _first_value(*trees: Any) -> Value | None:
    """The first traced value among the leaves, or among what the functions there close over."""
    leaves, _, _ = flatten(trees, "args")
    closed = [c for leaf in leaves for c in _closed_over(leaf)]
    return next((x for x in (*leaves, *closed) if isinstance(x, Value)), None)


def _closed_over(fn: Any) -> list[Any]:
    """The leaves of the variables of enclosing functions that `fn` uses."""
    if not inspect.isroutine(fn):
        return []
    cells = getattr(inspect.unwrap(fn), "__closure__", None) or ()
    contents: Any = []
    for cell in cells:
        # A variable that is not assigned yet has an empty cell.
        with contextlib.suppress(ValueError):
            contents.append(cell.cell_contents)
    leaves: list[Any] = optree.tree_leaves(contents, namespace=NAMESPACE)
    return leaves


def _evaluate_now(
    fn: Callable[..., Any],
    inline: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """Trace `inline` with arrays and numbers and evaluate it; the results are of their kind."""

    def flat(*given: Any) -> Any:
        return inline(given[: len(args)], dict(zip(kwargs, given[len(args) :], strict=True)))

    everything = (*args, *kwargs.values())
    traced = trace(flat, everything, dynamic=(), names=(*argument_names(fn, len(args)), *kwargs))
    outputs: list[Any] = list(evaluate(traced.graph, flatten(everything, "args")[0]))
    if traced.flavour == "torch":
        # An argument is a tensor, so torch is there; this module itself never imports it.
        torch = sys.modules["torch"]
        outputs = [torch.from_numpy(x).to(traced.device) for x in outputs]
    outputs = [
        x.item() if kind == "number" else x
        for x, kind in zip(outputs, traced.out_kinds, strict=True)
    ]
    return unflatten(traced.out_spec, outputs)
