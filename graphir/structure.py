"""Rules of simplification about axes: movement, reductions and contractions."""

from __future__ import annotations

from string import ascii_lowercase

import numpy as np

from . import dtypes
from .graph import Node
from .rewrite import Builder, Rule, filled
from .sizes import Dim, Shape, Size, evaluate, numel


def _broadcast(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    dims = node.attrs["dims"]
    if x.shape == node.shape and dims == tuple(range(x.ndim)):
        return x
    if x.op == "broadcast":
        through = tuple(dims[i] for i in x.attrs["dims"])
        return b.add("broadcast", *x.inputs, shape=node.shape, dims=through)
    return None


def _reshape(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    if x.op == "reshape":
        return b.add("reshape", *x.inputs, shape=node.shape)
    return None


def _reshape_of_broadcast(b: Builder, node: Node) -> Node | None:
    """Of a scalar, or one that only adds or drops axes of size 1 which the broadcast made."""
    (x,) = node.inputs
    if x.op != "broadcast":
        return None
    (small,) = x.inputs
    if small.ndim == 0:
        return b.add("broadcast", small, shape=node.shape, dims=())
    before = [i for i, s in enumerate(x.shape) if s != 1]
    after = [i for i, s in enumerate(node.shape) if s != 1]
    if 1 in small.shape or [x.shape[i] for i in before] != [node.shape[i] for i in after]:
        return None
    to = dict(zip(before, after, strict=True))
    dims = tuple(to[d] for d in x.attrs["dims"])
    return b.add("broadcast", small, shape=node.shape, dims=dims)


def _permute(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    order = node.attrs["order"]
    if order == tuple(range(x.ndim)):
        return x
    if x.op == "permute":
        through = tuple(x.attrs["order"][i] for i in order)
        return b.add("permute", *x.inputs, order=through)
    if x.op == "broadcast":
        return spread(b, x.inputs[0], tuple(order.index(d) for d in x.attrs["dims"]), node.shape)
    return None


def _slice(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    axis, start, step = (node.attrs[name] for name in ("axis", "start", "step"))
    if (start, step) == (0, 1) and node.shape == x.shape:
        return x
    if x.op != "broadcast":
        return None
    (small,) = x.inputs
    dims = x.attrs["dims"]
    if axis in dims:
        small = b.add("slice", small, **{**node.attrs, "axis": dims.index(axis)})
    return b.add("broadcast", small, shape=node.shape, dims=dims)


def spread(b: Builder, x: Node, places: tuple[int, ...], shape: Shape) -> Node:
    """`x` with its axis i at `places[i]` of `shape`, repeated along the other axes."""
    order = tuple(int(i) for i in np.argsort(places))
    if order != tuple(range(x.ndim)):
        x = b.add("permute", x, order=order)
    return b.add("broadcast", x, shape=shape, dims=tuple(sorted(places)))


# -- reductions --------------------------------------------------------------------------------


def _reduce_nothing(b: Builder, node: Node) -> Node | None:
    return None if node.attrs["axes"] else node.inputs[0]


def _reduce_twice(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op != node.op:
        return None
    inner = x.attrs["axes"]
    left = [i for i in range(x.inputs[0].ndim) if i not in inner]
    axes = tuple(sorted((*inner, *(left[i] for i in node.attrs["axes"]))))
    return b.add(node.op, *x.inputs, axes=axes)


def _reduce_reshaped(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op != "reshape" or node.ndim:
        return None
    (y,) = x.inputs
    return b.add(node.op, y, axes=tuple(range(y.ndim)))


def _reduce_permuted(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op != "permute":
        return None
    order, axes = x.attrs["order"], node.attrs["axes"]
    kept = tuple(d for i, d in enumerate(order) if i not in axes)
    reduced = b.add(node.op, *x.inputs, axes=tuple(sorted(order[i] for i in axes)))
    return b.add("permute", reduced, order=tuple(sorted(kept).index(d) for d in kept))


def _reduce_broadcast(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op != "broadcast":
        return None
    (small,) = x.inputs
    dims, axes = x.attrs["dims"], node.attrs["axes"]
    count = numel(x.shape[i] for i in axes if i not in dims)
    if not _positive(count) or (node.op == "sum" and not _counts(node, count)):
        return None
    inner = tuple(i for i, d in enumerate(dims) if d in axes)
    y = b.add(node.op, small, axes=inner)
    if node.op == "sum" and count != 1:
        y = b.add("mul", y, filled(b, y, count))
    kept = [i for i in range(x.ndim) if i not in axes]
    places = tuple(kept.index(d) for d in dims if d not in axes)
    return b.add("broadcast", y, shape=node.shape, dims=places)


def _positive(size: Size) -> bool:
    """Whether a size is at least 1 for certain: symbols are, differences may not be."""
    return all(c > 0 for _, c in size.terms) if isinstance(size, Dim) else size > 0


def _counts(node: Node, count: Size) -> bool:
    """Whether the dtype holds the number: 65,505 is infinity as a float16."""
    most = {dtypes.float16: 2048, dtypes.bfloat16: 256}.get(node.dtype)
    return most is None or (isinstance(count, int) and count <= most)


def _whole_size(b: Builder, node: Node) -> Node | None:
    size = node.attrs["size"]
    return None if isinstance(size, Dim) else b.graph.constant(evaluate(size, {}), node.dtype)


# -- contractions ------------------------------------------------------------------------------


def _contract_permuted(b: Builder, node: Node) -> Node | None:
    operands, labels = list(node.inputs), [node.attrs["lhs"], node.attrs["rhs"]]
    for i, x in enumerate(operands):
        if x.op == "permute":
            (operands[i],) = x.inputs
            named = dict(zip(x.attrs["order"], labels[i], strict=True))
            labels[i] = "".join(named[axis] for axis in range(x.ndim))
    if operands == list(node.inputs):
        return None
    return b.add("contract", *operands, lhs=labels[0], rhs=labels[1], out=node.attrs["out"])


def _contract_broadcast(b: Builder, node: Node) -> Node | None:
    for i, x in enumerate(node.inputs):
        if x.op == "broadcast":
            return _contract_repeated(b, node, i)
    return None


def _contract_repeated(b: Builder, node: Node, i: int) -> Node:
    """Without the labels along which operand `i` only repeats itself."""
    x, y = node.inputs[i], node.inputs[1 - i]
    labels = [node.attrs["lhs"], node.attrs["rhs"]]
    out: str = node.attrs["out"]
    dims = x.attrs["dims"]
    repeated = [label for axis, label in enumerate(labels[i]) if axis not in dims]
    labels[i] = "".join(labels[i][d] for d in dims)
    # Summed: only the other operand varies along it. Free: nothing does, until the end.
    summed = [r for r in repeated if r not in out]
    free = [r for r in repeated if r in out and r not in labels[1 - i]]
    y = b.add("sum", y, axes=tuple(k for k, r in enumerate(labels[1 - i]) if r in summed))
    labels[1 - i] = "".join(r for r in labels[1 - i] if r not in summed)
    inner = "".join(r for r in out if r not in free)
    operands = (x.inputs[0], y) if i == 0 else (y, x.inputs[0])
    product = b.add("contract", *operands, lhs=labels[0], rhs=labels[1], out=inner)
    return b.add("broadcast", product, shape=node.shape, dims=tuple(out.index(r) for r in inner))


def _contract_nothing(b: Builder, node: Node) -> Node | None:
    lhs, rhs, out = (node.attrs[name] for name in ("lhs", "rhs", "out"))
    if not set(lhs) | set(rhs) <= set(out):
        return None
    x, y = (
        spread(b, operand, tuple(out.index(r) for r in labels), node.shape)
        for operand, labels in zip(node.inputs, (lhs, rhs), strict=True)
    )
    return b.add("mul", x, y)


def _sum_of_product(b: Builder, node: Node) -> Node | None:
    (x,) = node.inputs
    if x.op != "mul" or not x.dtype.is_float or x.ndim > len(ascii_lowercase):
        return None
    letters = ascii_lowercase[: x.ndim]
    operands, labels = [], []
    for y in x.inputs:
        dims = y.attrs["dims"] if y.op == "broadcast" else tuple(range(y.ndim))
        operands.append(y.inputs[0] if y.op == "broadcast" else y)
        labels.append("".join(letters[d] for d in dims))
    out = "".join(r for i, r in enumerate(letters) if i not in node.attrs["axes"])
    shared = set(labels[0]) & set(labels[1])
    # A matrix product sums over what both have and keeps something that one of them has alone;
    # else it is a sum of an elementwise product, which fuses as that.
    if (
        set(letters) - set(out) <= shared
        and shared < set(letters)
        and (set(labels[0]) | set(labels[1]) == set(letters))
    ):
        return b.add("contract", *operands, lhs=labels[0], rhs=labels[1], out=out)
    return None


REDUCTIONS = ("sum", "amax", "amin")

STRUCTURE = (
    Rule(
        "broadcast", ("broadcast",), "one repetition after another is one; none is none", _broadcast
    ),
    Rule("reshape", ("reshape",), "only the last shape counts", _reshape),
    Rule(
        "reshape of broadcast", ("reshape",), "axes of size 1 hold one copy", _reshape_of_broadcast
    ),
    Rule("permute", ("permute",), "orders compose; equal copies may be made after it", _permute),
    Rule(
        "slice",
        ("slice",),
        "all of an axis is the axis; a part of equal copies is fewer copies",
        _slice,
    ),
    Rule("reduce nothing", REDUCTIONS, "without axes there is nothing to join", _reduce_nothing),
    Rule(
        "reduce twice",
        REDUCTIONS,
        "the order of a reduction is not fixed before the kernel",
        _reduce_twice,
    ),
    Rule(
        "reduce reshaped", REDUCTIONS, "over all axes, the shape does not matter", _reduce_reshaped
    ),
    Rule("reduce permuted", REDUCTIONS, "the same elements, under other axes", _reduce_permuted),
    Rule(
        "reduce broadcast",
        REDUCTIONS,
        "the extremum of copies is the copy; n copies sum to n*x, rounded once instead of n - 1 "
        "times",
        _reduce_broadcast,
    ),
    Rule("size", ("size",), "a size that is known is a constant", _whole_size),
    Rule("contract permuted", ("contract",), "labels say which axis is which", _contract_permuted),
    Rule(
        "contract broadcast",
        ("contract",),
        "x*y1 + x*y2 is x*(y1 + y2), rounded once instead of twice; other repeated axes can "
        "wait till after it",
        _contract_broadcast,
    ),
    Rule(
        "contract nothing",
        ("contract",),
        "without a sum it is an elementwise product",
        _contract_nothing,
    ),
    Rule("sum of product", ("sum",), "a contraction is the sum of a product", _sum_of_product),
)
