"""Rewrites that give every node a form that some kernel can compute."""

from __future__ import annotations

from collections.abc import Collection

from graphir import dtypes
from graphir.graph import Graph, Node
from graphir.opdef import Kind, widened_type
from graphir.ops.elementwise import zeros_like
from graphir.rewrite import rebuild
from graphir.simplify import simplify
from graphir.sizes import Dim
from graphir.value import Value

from .axes import in_memory
from .machine import Machine
from .uses import unheld

# A slice of a computed value along an axis up to this long is a masked sum in the tile; longer
# ones go through memory.
_SELECT_LIMIT = 128


# What `_replace` and `_widened` may find another form for.
_NARROW = frozenset({dtypes.bfloat16, dtypes.float16})
_REPLACED = frozenset({"slice", "embed", "scatter_add", "copy", "stop_gradient"})


def prepare(graph: Graph) -> Graph:
    """`graph` with slices inside tiles as selects, scatters as sums, bfloat16 as a format of memory
    alone, and sums of float16 in float32."""
    live = graph.live()
    if any(node.op in _REPLACED for node in live):
        graph = rebuild(graph, _replace)
    if any(node.dtype in _NARROW for node in live):
        graph = rebuild(graph, _widened)
    return simplify(graph)


def split_sums(graph: Graph, machine: Machine) -> Graph:
    """`graph` with reductions over several axes that no tile holds done one after another.

    It comes last: simplification would join them again.
    """

    def replace(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        if not _is_split(node, machine):
            return None
        if node.kind is Kind.REDUCTION:
            return _one_by_one(new, node, operands[0], machine)
        a, b = operands
        return _single_sum(new, node, a, b, machine)

    split = any(_is_split(node, machine) for node in graph.live())
    return rebuild(graph, replace) if split else graph


def _is_split(node: Node, machine: Machine) -> bool:
    """Whether a node sums over several axes that have to be summed alone."""
    if node.kind is Kind.REDUCTION:
        return len(_alone(node.inputs[0], node.attrs["axes"], machine)) > 1
    if node.kind is Kind.CONTRACTION:
        sizes = _letters(node)
        summed = sizes.keys() - set(node.attrs["out"])
        return len(unheld(sizes, machine, summed) & summed) > 1
    return False


def _alone(operand: Node, axes: Collection[int], machine: Machine) -> list[int]:
    return sorted(unheld(dict(enumerate(operand.shape)), machine, axes).intersection(axes))


def _letters(node: Node) -> dict[str, int | Dim]:
    """The size of each letter of a contraction."""
    sides = zip((node.attrs["lhs"], node.attrs["rhs"]), node.inputs, strict=True)
    return {c: size for labels, x in sides for c, size in zip(labels, x.shape, strict=True)}


def _replace(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
    match node.op:
        case "slice" | "embed" if _in_tile(operands[0], node):
            return _select(new, node, operands[0])
        case "scatter_add":
            return _scatter(new, node, *operands)
        case "copy" | "stop_gradient":
            return operands[0]
    return None


# What takes the half types as they stand: it moves or chooses elements.
_MOVES = frozenset({"where", "take", "copy", "stop_gradient", "custom_vjp"})


def _widened(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
    """What computes with float16 or bfloat16 does so in float32 and rounds its result once."""
    narrow = widened_type(node)
    if narrow is None:
        return None
    if node.kind in (Kind.SOURCE, Kind.MOVEMENT) or node.op in _MOVES:
        return None
    wide = [new.add("cast", x, dtype=dtypes.float32) if x.dtype is narrow else x for x in operands]
    if node.op != "cast":
        made = new.add(node.op, *wide, **node.attrs)
    elif node.dtype is not narrow:
        return new.add("cast", *wide, dtype=node.dtype)
    else:
        made = new.add("cast", *wide, dtype=dtypes.float32)
    return new.add("cast", made, dtype=narrow) if node.dtype is narrow else made


def _in_tile(x: Node, node: Node) -> bool:
    axis = node.attrs["axis"]
    sizes = (x.shape[axis], node.shape[axis])
    return not in_memory(x) and all(isinstance(s, int) and s <= _SELECT_LIMIT for s in sizes)


def _iota_along(x: Value, size: int | Dim, shape: tuple[int | Dim, ...], axis: int) -> Value:
    """0, 1, … along `axis` of `shape`, in the graph of `x`."""
    graph = x.graph
    iota = Value(graph, graph.add("iota", size=size))
    return iota.apply("broadcast", shape=shape, dims=(axis,))


def _select(new: Graph, node: Node, operand: Node) -> Node:
    """out[.., j, ..] = the sum over i of x[.., i, ..] where i and j are the same element."""
    x = Value(new, operand)
    axis, start, step = (node.attrs[k] for k in ("axis", "start", "step"))
    many, few = (x.sizes[axis], node.shape[axis])
    wide = (*x.sizes[: axis + 1], few, *x.sizes[axis + 1 :])
    source = _iota_along(x, many, wide, axis)
    target = _iota_along(x, few, wide, axis + 1)
    place, counted = (source, target) if node.op == "slice" else (target, source)
    hit = place.apply("eq", (counted * step + start))
    dims = tuple(i for i in range(len(wide)) if i != axis + 1)
    spread = x.apply("broadcast", shape=wide, dims=dims)
    total = "amax" if x.element is dtypes.bool_ else "sum"
    return hit.apply("where", spread, zeros_like(spread)).apply(total, axes=(axis,)).node


def _scatter(new: Graph, node: Node, source: Node, places: Node) -> Node:
    """out[v, ..] = the sum over i of x[i, ..] where index[i] = v, in the order of i."""
    x, index = Value(new, source), Value(new, places)
    size = node.attrs["size"]
    wide = (*index.sizes, size, *x.sizes[index.ndim :])
    hit = (
        index.apply("broadcast", shape=wide, dims=tuple(range(index.ndim)))
        .apply("cast", dtype=dtypes.int64)
        .apply("eq", _iota_along(x, size, wide, index.ndim))
    )
    dims = tuple(i for i in range(len(wide)) if i != index.ndim)
    spread = x.apply("broadcast", shape=wide, dims=dims)
    picked = hit.apply("where", spread, zeros_like(spread))
    return picked.apply("sum", axes=tuple(range(index.ndim))).node


def _one_by_one(new: Graph, node: Node, operand: Node, machine: Machine) -> Node:
    """The innermost of the axes alone, then the next one; the last takes the short ones along."""
    axes = set(node.attrs["axes"])
    alone = _alone(operand, axes, machine)
    for a in reversed(alone[1:]):
        operand = new.add(node.op, operand, axes=(a,))
        axes = {b - (b > a) for b in axes if b != a}
    return new.add(node.op, operand, axes=tuple(sorted(axes)))


def _single_sum(new: Graph, node: Node, a: Node, b: Node, machine: Machine) -> Node:
    """A contraction over several such axes is a product, then sums one after another."""
    lhs, rhs, out = (node.attrs[k] for k in ("lhs", "rhs", "out"))
    sizes = _letters(node)
    letters = out + "".join(c for c in sizes if c not in out)
    shape = tuple(sizes[c] for c in letters)
    sides = [
        Value(new, x)
        .apply("permute", order=tuple(labels.index(c) for c in letters if c in labels))
        .apply(
            "broadcast", shape=shape, dims=tuple(i for i, c in enumerate(letters) if c in labels)
        )
        for labels, x in ((lhs, a), (rhs, b))
    ]
    product = sides[0].apply("mul", sides[1])
    total = new.add("sum", product.node, axes=tuple(range(len(out), len(letters))))
    return _one_by_one(new, total, product.node, machine)
