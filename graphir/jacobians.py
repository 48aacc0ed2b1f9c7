"""`jacrev`, `jacfwd` and `hessian`: one product for a whole basis of directions at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

from .batching import batched, stand_in
from .calling import ArgNums, Copies, call, lifted, positions
from .differentiate import check_floating, pullback
from .errors import GraphirError
from .forward import pushforward
from .given import require_function
from .trees import argument_names, unflatten
from .value import Value, cast

Layout: TypeAlias = Literal["torch", "numerator"]


def jacrev(
    fn: Callable[..., Any],
    argnums: ArgNums = 0,
    has_aux: bool = False,
    *,
    layout: Layout = "torch",
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `fn`, by reverse mode: best for few outputs.

    Each array y of the result is replaced by the derivatives with respect to each array x of the
    arguments of `argnums`, in their structure, of shape `y.shape + x.shape`.

    Args:
        fn: returns a tree of floating arrays, or `(tree, aux)` with `has_aux`.
        argnums: which positional arguments, as for `grad`.
        has_aux: return `(jacobian, aux)`.
        layout: "numerator" is the textbook's numerator layout, in which x's axes are reversed:
            by an (n, k) matrix, a scalar has a derivative of shape (k, n).

    Raises:
        DTypeError: where the result or an argument of `argnums` is not floating.
        GraphirError: where `argnums` names an argument that is not there.
    """

    def columns(y: Value, wrt: Sequence[Value]) -> list[Value]:
        ct = stand_in(y, y.sizes)
        return batched(pullback([y], [ct], wrt), [(ct, identity(y))], y.sizes)

    def rows(outputs: Sequence[Value], wrt: Sequence[Value]) -> list[list[Value]]:
        return [columns(y, wrt) for y in outputs]

    return _jacobian(fn, argnums, has_aux, layout, rows)


def jacfwd(
    fn: Callable[..., Any],
    argnums: ArgNums = 0,
    has_aux: bool = False,
    *,
    layout: Layout = "torch",
) -> Callable[..., Any]:
    """`jacrev`, but by forward mode: best for few inputs."""

    def one(x: Value, outputs: Sequence[Value]) -> list[Value]:
        t = stand_in(x, x.sizes)
        moved = batched(pushforward(outputs, [x], [t]), [(t, identity(x))], x.sizes)
        return [_axes_last(y, x.ndim) for y in moved]

    def rows(outputs: Sequence[Value], wrt: Sequence[Value]) -> list[list[Value]]:
        by_argument = [one(x, outputs) for x in wrt]
        return [[column[i] for column in by_argument] for i in range(len(outputs))]

    return _jacobian(fn, argnums, has_aux, layout, rows)


def hessian(fn: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of `fn`: forward over reverse mode.

    For a scalar function of an array x they have the shape `x.shape + x.shape`. Arguments and
    errors are those of `jacrev`.
    """
    return jacfwd(jacrev(fn, argnums), argnums)


Rows: TypeAlias = Callable[[Sequence[Value], Sequence[Value]], list[list[Value]]]


def _jacobian(
    fn: Callable[..., Any], argnums: ArgNums, has_aux: bool, layout: Layout, rows: Rows
) -> Callable[..., Any]:
    require_function("a Jacobian", fn)
    if layout not in ("torch", "numerator"):
        raise GraphirError(
            f"there is no layout {layout!r}",
            hint='"torch" is y.shape + x.shape; "numerator" reverses x\'s axes',
        )

    def inline(first: Value, *args: Any, **kwargs: Any) -> Any:
        copies = Copies(first, fn, argnums, args)
        value, *aux = copies.call(kwargs, has_aux)
        outputs, _, tree = lifted(first, value)
        check_floating(outputs, copies.values)
        table = rows(outputs, copies.values)
        if layout == "numerator":
            table = [
                [_axes_reversed(j, x.ndim) for j, x in zip(row, copies.values, strict=True)]
                for row in table
            ]
        found = unflatten(tree, [copies.restore(row) for row in table])
        return (found, *aux) if has_aux else found

    @functools.wraps(fn, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        positions(argnums, len(args))
        names = argument_names(fn, len(args))
        return call(inline, args, kwargs, names=names, closure=fn)

    return wrapped


def identity(like: Value) -> Value:
    """The identity map of arrays such as `like`: shape `like.shape + like.shape`, 1 where both
    halves of the index agree."""
    rank, shape = like.ndim, (*like.sizes, *like.sizes)
    if not rank:
        return like.scalar(1, like.element)
    same: Value | None = None
    for axis, size in enumerate(like.sizes):
        place = type(like)(like.graph, like.graph.add("iota", size=size))
        left = place.apply("broadcast", shape=shape, dims=(axis,))
        right = place.apply("broadcast", shape=shape, dims=(axis + rank,))
        here = left.apply("eq", right)
        same = here if same is None else same.apply("logical_and", here)
    assert same is not None
    return cast(same, like.element)


def _axes_last(x: Value, count: int) -> Value:
    """`x` with its first `count` axes moved to the end."""
    order = (*range(count, x.ndim), *range(count))
    return x.apply("permute", order=order) if order != tuple(range(x.ndim)) else x


def _axes_reversed(x: Value, count: int) -> Value:
    """`x` with its last `count` axes in reverse order."""
    first = x.ndim - count
    order = (*range(first), *reversed(range(first, x.ndim)))
    return x.apply("permute", order=order) if count > 1 else x
