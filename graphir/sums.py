"""Rules of simplification about sums: negated ones, and those that have one term.

The derivative of a gather is a sum of which each row has one term, `where(index == position, v, 0)`
with a `v` that does not change along the row: the cotangent of softmax is of this form.
"""

from __future__ import annotations

from .graph import Node
from .rewrite import Builder, Rule, constant_value, filled


def _of_negated(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op != "neg":
        return None
    return b.add("neg", b.add("sum", *x.inputs, axes=node.attrs["axes"]))


def _of_one_term(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op != "where":
        return None
    mask, value, other = x.inputs
    hit, dims = _repeated(mask)
    if hit.op != "eq" or constant_value(other) != 0:
        return None
    for index, positions in (hit.inputs, hit.inputs[::-1]):
        counted = _counted_axis(positions)
        if counted is None or dims[counted] not in node.attrs["axes"]:
            continue
        axis = dims[counted]
        if not (_same_along(index, counted) and _same_along(value, axis)):
            continue
        term = _without(b, value, axis)
        kept = tuple(d - (d > axis) for d in dims if d != axis)
        place = b.add("broadcast", _without(b, index, counted), shape=term.shape, dims=kept)
        size = filled(b, place, x.shape[axis])
        none = filled(b, term, 0)
        found = b.add("where", b.add("lt", place, size), term, none)
        found = b.add("where", b.add("ge", place, filled(b, place, 0)), found, none)
        rest = tuple(a - (a > axis) for a in node.attrs["axes"] if a != axis)
        return b.add("sum", found, axes=rest)
    return None


def _repeated(x: Node) -> tuple[Node, tuple[int, ...]]:
    """What is repeated in `x`, and where in `x` its dimensions are; `x` itself if nothing is."""
    if x.op == "broadcast":
        return x.inputs[0], x.attrs["dims"]
    return x, tuple(range(x.ndim))


def _counted_axis(positions: Node) -> int | None:
    """The axis along which elements are 0, 1, …; None where they are not."""
    if positions.op == "iota":
        return 0
    if positions.op != "broadcast" or positions.inputs[0].op != "iota":
        return None
    return int(positions.attrs["dims"][0])


def _same_along(x: Node, axis: int) -> bool:
    """Whether `x` is seen not to change along an axis."""
    return x.op == "broadcast" and axis not in x.attrs["dims"]


def _without(b: Builder, x: Node, axis: int) -> Node:
    """`x` without an axis along which it is the same."""
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    dims = tuple(d - (d > axis) for d in x.attrs["dims"])
    return b.add("broadcast", *x.inputs, shape=shape, dims=dims)


SUMS = (
    Rule(
        "sum of -x",
        ("sum",),
        "every rounding is that of the other sign; a sum of 0 may have the other one",
        _of_negated,
    ),
    Rule(
        "sum of one term",
        ("sum",),
        "of what stands at one position, and 0 elsewhere, it is that; -0 instead of 0",
        _of_one_term,
    ),
)
