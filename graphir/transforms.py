"""Functions of functions: `grad`, `value_and_grad`, `vjp` and `jvp`, as in torch.func.

A transformed function runs when called, on the reference evaluator; called with traced values,
e.g. inside a compiled function, it becomes part of their graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .calling import (
    ArgNums,
    Copies,
    call,
    first_value,
    lifted,
    matching,
    own_copy,
    positions,
    split_aux,
)
from .differentiate import gradients, pullback
from .errors import ShapeError
from .forward import pushforward
from .given import require_arguments, require_function
from .tracer import is_array
from .trees import argument_names, flatten, placed, unflatten
from .value import Value


def value_and_grad(
    fn: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns `(value, gradients)` of `fn`.

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

    require_function("value_and_grad", fn)

    def inline(first: Value, *args: Any, **kwargs: Any) -> Any:
        copies = Copies(first, fn, argnums, args)
        value, *aux = copies.call(kwargs, has_aux)
        output = _as_scalar(first, value)
        grads = copies.restore(gradients(output, copies.values))
        return (output, *aux) if has_aux else output, grads

    @functools.wraps(fn, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions(argnums, len(args))
        names = argument_names(fn, len(args))
        return call(inline, args, kwargs, names=names, closure=fn)

    return wrapped


def grad(fn: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradients of `fn`, or `(gradients, aux)` with `has_aux`.

    Arguments and errors are those of `value_and_grad`.
    """
    require_function("grad", fn)
    both = value_and_grad(fn, argnums, has_aux)

    @functools.wraps(fn, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, grads = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapped


def jvp(
    fn: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """`(fn(*primals), its derivative along tangents)`, by forward mode.

    Args:
        primals: the positional arguments, trees of floating arrays and numbers.
        tangents: the direction, of the same structure, shapes and dtypes.
        has_aux: `fn` returns `(value, aux)`, and the result ends in `aux`.

    Raises:
        ShapeError, DTypeError: where tangents and primals do not fit, or `fn` returns integers.
        UnsupportedError: where an op has no rule of forward mode.
    """
    require_function("jvp", fn)
    primals = require_arguments("jvp", "primals", primals)
    tangents = require_arguments("jvp", "tangents", tangents)
    names = argument_names(fn, len(primals))

    def inline(first: Value, primals: Any, tangents: Any) -> Any:
        leaves, labels, tree = flatten(tuple(primals), names)
        copies = [own_copy(first, x, name) for x, name in zip(leaves, labels, strict=True)]
        directions = matching("tangent", first, tuple(tangents), copies, tree)
        with placed(unflatten(tree, copies)) as given:
            value, *aux = split_aux(fn(*given), has_aux)
        outputs, _, out_tree = lifted(first, value)
        moved = pushforward(outputs, copies, directions)
        return (unflatten(out_tree, outputs), unflatten(out_tree, moved), *aux)

    result: tuple[Any, ...] = call(
        inline, (primals, tangents), {}, names=("primals", "tangents"), closure=fn
    )
    return result


def vjp(fn: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """`(fn(*primals), pull)`, where `pull(cotangents)` is the vector-Jacobian product.

    `pull` takes cotangents of the structure, shapes and dtypes of the result, and returns a tuple
    with a tree for each of the primals.

    Args:
        primals: the positional arguments, trees of floating arrays and numbers.
        has_aux: `fn` returns `(value, aux)`, and the result ends in `aux`.

    Raises:
        ShapeError, DTypeError: where cotangents do not fit (from `pull`), or `fn` returns
            integers.
    """
    require_function("vjp", fn)
    names = argument_names(fn, len(primals))
    everything = tuple(range(len(primals)))

    def forward(first: Value, *args: Any) -> tuple[Copies, list[Value], Any, list[Any]]:
        copies = Copies(first, fn, everything, args)
        value, *aux = copies.call({}, has_aux)
        outputs, _, tree = lifted(first, value)
        return copies, outputs, tree, aux

    def backward(
        first: Value, copies: Copies, outputs: list[Value], tree: Any, cotangents: Any
    ) -> Any:
        given = matching("cotangent", first, cotangents, outputs, tree)
        return copies.restore(pullback(outputs, given, copies.values))

    first = first_value(fn, primals)
    if first is not None:
        copies, outputs, tree, aux = forward(first, *primals)
        pull = functools.partial(backward, first, copies, outputs, tree)
        return (unflatten(tree, outputs), pull, *aux)

    def value_alone(first: Value, *args: Any) -> Any:
        _, outputs, tree, aux = forward(first, *args)
        return (unflatten(tree, outputs), *aux)

    def both(first: Value, cotangents: Any, *args: Any) -> Any:
        copies, outputs, tree, _ = forward(first, *args)
        return backward(first, copies, outputs, tree, cotangents)

    def pull_again(cotangents: Any) -> Any:
        args = (cotangents, *primals)
        return call(both, args, {}, names=("cotangents", *names), closure=fn)

    value, *rest = call(value_alone, primals, {}, names=names, closure=fn)
    return (value, pull_again, *rest)


def _as_scalar(first: Value, value: Any) -> Value:
    if isinstance(value, (Value, bool, int, float, np.generic)) or is_array(value):
        return first.lift(value)
    hint = "return a scalar, e.g. loss.mean(), or use has_aux=True for (loss, more)"
    raise ShapeError(
        f"a gradient needs a function that returns one scalar, got {type(value).__name__}",
        hint=hint,
    )
