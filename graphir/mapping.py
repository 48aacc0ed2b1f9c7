"""`vmap`: a function of one example as a function of a batch of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import optree

from .batching import batched, stand_in
from .calling import call, lifted
from .errors import GraphirError, ShapeError
from .given import require_function
from .layout import move_axis
from .random import Examples, examples
from .selection import iota
from .sizes import Size
from .symbolic import require_equal
from .trees import NAMESPACE, argument_names, flatten, placed, unflatten
from .value import Value


def vmap(
    fn: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: Literal["error", "same", "different"] = "error",
) -> Callable[..., Any]:
    """`fn` mapped over an axis of its arguments, as in torch.func: no loop, one graph.

    Args:
        fn: a function of one example.
        in_dims: which axis of the arguments counts the examples: one for all, or a tuple with one
            for each argument, each an int, None (the same for every example) or a tree of them.
        out_dims: where that axis goes in the results: one for all, or a tree of them.
        randomness: what random numbers drawn inside from one seed are: refused ("error"), the
            "same" for every example, or "different" ones, as one draw for all examples would give
            them. Those from a seed that is mapped over are its own.

    Keyword arguments are the same for every example.

    Raises:
        ShapeError: where there is no such axis, or the arguments differ in the number of examples.
        UnsupportedError: where an op has no batching rule, and for random numbers by default.
        GraphirError: for another `randomness`.
    """
    require_function("vmap", fn)
    if randomness not in ("error", "same", "different"):
        raise GraphirError(
            f"vmap: there is no randomness {randomness!r}",
            hint='use "error", "same" or "different"',
        )

    def inline(first: Value, *args: Any, **kwargs: Any) -> Any:
        names = argument_names(fn, len(args))
        leaves, labels, tree = flatten(args, names)
        dims = _spread_dims("in_dims", in_dims, args)
        if all(dim is None for dim in dims):
            raise ShapeError(
                f"vmap: in_dims={in_dims!r} maps over no argument",
                hint="give the axis of at least one argument that counts the examples",
            )
        many: list[Value | None] = [
            None if dim is None else _examples_first(first.lift(x), dim, name)
            for x, dim, name in zip(leaves, dims, labels, strict=True)
        ]
        size = _common_size(many, labels)
        pairs = [(stand_in(x, x.sizes[1:]), x) for x in many if x is not None]
        singles = iter([*pairs])
        everyone = iota(first, size)
        pairs.append((stand_in(everyone, ()), everyone))
        given_nodes = frozenset(one.node for one, _ in pairs)
        drawn = Examples(randomness, pairs[-1][0], size, given_nodes)
        one = [x if many[i] is None else next(singles)[0] for i, x in enumerate(leaves)]
        with placed(unflatten(tree, one)) as given, examples(drawn):
            results, out_names, out_tree = lifted(first, fn(*given, **kwargs))
        ends = _spread_dims("out_dims", out_dims, unflatten(out_tree, results))
        mapped = batched(results, pairs, (size,))
        moved = [
            _examples_at(y, end, name) for y, end, name in zip(mapped, ends, out_names, strict=True)
        ]
        return unflatten(out_tree, moved)

    @functools.wraps(fn, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        names = argument_names(fn, len(args))
        return call(inline, args, kwargs, names=names, closure=fn)

    return wrapped


def _spread_dims(what: str, dims: Any, tree: Any) -> list[int | None]:
    """One axis for each leaf of `tree`, of which `dims` is a prefix.

    Raises:
        ShapeError: where `dims` has another structure.
    """
    if dims is None or (isinstance(dims, int) and not isinstance(dims, bool)):
        return [dims] * len(flatten(tree, "args")[0])
    if optree.tree_is_leaf(dims, namespace=NAMESPACE) or optree.tree_is_leaf(
        tree, namespace=NAMESPACE
    ):
        raise _other_structure(what, dims)
    parts = _children(dims)
    inside = _children(tree)
    if parts.keys() != inside.keys():
        raise _other_structure(what, dims)
    return [dim for key, x in inside.items() for dim in _spread_dims(what, parts[key], x)]


def _children(tree: Any) -> dict[Any, Any]:
    children, _, entries, _ = optree.tree_flatten_one_level(tree, namespace=NAMESPACE)
    return dict(zip(entries, children, strict=True))


def _other_structure(what: str, dims: Any) -> ShapeError:
    values = "arguments" if what == "in_dims" else "results"
    return ShapeError(
        f"vmap: {what}={dims!r} does not have the structure of the {values}",
        hint=f"give an int, or a tuple with an int or None for each of the {values}",
    )


def _examples_first(x: Value, dim: int, name: str) -> Value:
    if not -x.ndim <= dim < x.ndim:
        raise ShapeError(
            f"vmap: `{name}` has {x.ndim} axes, so none is axis {dim} to map over",
            hint="in_dims=None for an argument that is the same for every example",
        )
    return move_axis(x, dim, 0)


def _examples_at(x: Value, dim: int | None, name: str) -> Value:
    if dim is None or not -x.ndim <= dim < x.ndim:
        raise ShapeError(
            f"vmap: out_dims={dim} is no place for the mapped axis of {name}, of {x.ndim} axes",
            hint="out_dims counts the axes of the result, the mapped one among them",
        )
    return move_axis(x, 0, dim)


def _common_size(many: list[Value | None], labels: list[str]) -> Size:
    found = [(x.sizes[0], name, x) for x, name in zip(many, labels, strict=True) if x is not None]
    size, first, _ = found[0]
    for other, name, x in found[1:]:
        require_equal(
            f"vmap: `{first}` has {size} examples and `{name}` has {other}", size, other,
            x.graph.hints, "map over axes of one size; in_dims=None leaves an argument whole",
        )  # fmt: skip
    return size
