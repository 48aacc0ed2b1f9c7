"""The reference evaluator: what a graph means, in NumPy. Every executable path is tested
against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from . import dtypes
from .dtypes import DType, dtype_of
from .errors import DTypeError, GraphirError, ShapeError
from .frontend.torch_arrays import as_array
from .graph import Graph, IndexRange, Node
from .opdef import OPS, Array, widened_type
from .sizes import Dim, format_shape
from .sizes import evaluate as evaluate_size


def arguments_of(graph: Graph) -> list[Node]:
    """The inputs that a caller gives: those that are not captured arrays, in order."""
    return [node for node in graph.inputs if node not in graph.captured]


def evaluate(graph: Graph, arguments: Sequence[Any], *, wide: bool = False) -> list[Array]:
    """The graph's outputs for `arguments`.

    Args:
        arguments: NumPy arrays, torch tensors or numbers for `graph.inputs` in order, without
            the captured ones, which the graph holds itself.
        wide: compute every floating node in float64, whatever its dtype; floating arguments of
            any width are then taken as they are.

    Raises:
        ShapeError: where the number or the shapes of the arguments do not fit the graph.
        DTypeError: where an argument's dtype is not its input's.
        GraphirError: where an index lies outside the range that the graph promises.
    """
    values = evaluate_nodes(graph, arguments, wide=wide)
    # A movement may be a view of an argument; results are the caller's own.
    return [np.array(values[node], order="C") for node in graph.outputs]


def evaluate_nodes(
    graph: Graph,
    arguments: Sequence[Any],
    *,
    wide: bool = False,
) -> dict[Node, Array]:
    """The value of every node that the graph's outputs need.

    Raises:
        ShapeError, DTypeError, GraphirError: as `evaluate`.
    """
    given = _bind_arguments(graph, arguments, wide)
    sizes = bind_sizes(graph, [given[node].shape for node in arguments_of(graph)])
    ranges: dict[Node, list[IndexRange]] = {}
    for promise in graph.ranges:
        ranges.setdefault(promise.node, []).append(promise)
    values: dict[Node, Array] = {}
    # inf and nan follow IEEE, as in the kernels: nothing to warn of.
    with np.errstate(all="ignore"):
        for node in graph.live():
            if node in given:
                value = given[node]
            else:
                typed = replace(node, dtype=_computed_in(node.dtype, wide))
                operands = [values[x] for x in node.inputs]
                value = compute(typed, sizes, operands)
            for promise in ranges.get(node, ()):
                check_range(promise, value, graph.names.get(node, f"%{node.id}"))
            values[node] = value
    return values


def compute(node: Node, sizes: Mapping[str, int], operands: Sequence[Array]) -> Array:
    """The value of `node`. What is float16 or bfloat16 is computed in float32 and rounded once, as
    in torch."""
    narrow = widened_type(node) if node.op != "constant" else None
    if narrow is None:
        return np.asarray(OPS[node.op].evaluate(sizes, node, *operands), node.dtype.numpy)
    own = dtypes.float32 if node.dtype is narrow else node.dtype
    wide = [x.astype(np.float32) if x.dtype == narrow.numpy else x for x in operands]
    value = OPS[node.op].evaluate(sizes, replace(node, dtype=own), *wide)
    return np.asarray(np.asarray(value, own.numpy), node.dtype.numpy)


def bind_sizes(graph: Graph, shapes: Sequence[Sequence[int]]) -> dict[str, int]:
    """The number behind each symbol, from the shapes of the arguments (captured ones left out).

    Axes that are one symbol say what it is; sizes such as `n - 1` are then checked.

    Raises:
        ShapeError: where a shape contradicts its input or two inputs disagree, where an axis
            that varies is empty, or where no argument says what a symbol is.
    """
    arguments = arguments_of(graph)
    if len(shapes) != len(arguments):
        names = ", ".join(f"`{graph.names[node]}`" for node in arguments)
        raise ShapeError(f"{len(arguments)} arguments are expected ({names}), got {len(shapes)}")
    actual = list(zip(arguments, (tuple(s) for s in shapes), strict=True))
    actual += [(node, tuple(np.shape(array))) for node, array in graph.captured.items()]
    sizes: dict[str, int] = {}
    source: dict[str, Node] = {}
    for node, shape in actual:
        if len(shape) != node.ndim:
            raise _mismatch(graph, node, shape, f"it has {len(shape)} axes, not {node.ndim}")
        for axis, (expected, got) in enumerate(zip(node.shape, shape, strict=True)):
            if not (isinstance(expected, Dim) and expected.is_symbol):
                continue
            (name,) = expected.names
            if got < 1:
                raise _mismatch(graph, node, shape, f"its axis {axis} is empty")
            if sizes.setdefault(name, got) != got:
                other = graph.names[source[name]]
                raise _mismatch(
                    graph, node, shape, f"{name} is {sizes[name]} in `{other}` and {got} here"
                )
            source.setdefault(name, node)
    for node, shape in actual:
        unknown = {n for s in node.shape if isinstance(s, Dim) for n in s.names} - sizes.keys()
        if unknown:
            raise _mismatch(
                graph, node, shape, f"no argument has an axis of size {', '.join(sorted(unknown))}"
            )
        for axis, (expected, got) in enumerate(zip(node.shape, shape, strict=True)):
            if evaluate_size(expected, sizes) != got:
                raise _mismatch(graph, node, shape, f"its axis {axis} must be {expected}")
    return sizes


def _mismatch(graph: Graph, node: Node, shape: tuple[int, ...], why: str) -> ShapeError:
    return ShapeError(
        f"argument `{graph.names[node]}`: shape {format_shape(node.shape)} is expected, "
        f"got {format_shape(shape)}: {why}",
        hint="pass arrays of the shapes that the function was traced with",
    )


def check_range(promise: IndexRange, value: Array, name: str) -> None:
    """Raise unless `promise.low <= value < promise.high` for every element.

    Raises:
        GraphirError: naming the first index outside, and the user's line.
    """
    outside = (value < promise.low) | (value >= promise.high)
    if promise.ignored is not None:
        outside &= value != promise.ignored
    if outside.any():
        first = np.asarray(value)[outside].flat[0]
        raise GraphirError(
            f"`{name}`: index {first} is out of range: {promise.low} <= index < {promise.high}",
            hint="check the labels or ids, e.g. that they count from 0",
            location=promise.location,
        )


def _computed_in(dtype: DType, wide: bool) -> DType:
    return dtypes.float64 if wide and dtype.is_float else dtype


def _bind_arguments(graph: Graph, arguments: Sequence[Any], wide: bool) -> dict[Node, Array]:
    """Each input's array."""
    expected = arguments_of(graph)
    if len(arguments) != len(expected):
        bind_sizes(graph, [()] * len(arguments))
    values = dict(zip(expected, arguments, strict=True)) | graph.captured
    return {node: _as_array(value, node, graph.names[node], wide) for node, value in values.items()}


def _as_array(value: Any, node: Node, name: str, wide: bool) -> Array:
    if hasattr(value, "detach"):
        value = as_array(value)
    dtype = _computed_in(node.dtype, wide)
    if isinstance(value, (bool, int, float)):
        given = dtype_of(type(value))
        # A Python number has no width of its own, only a kind.
        fits = "bif".index(given.kind) <= "bif".index(node.dtype.kind)
    else:
        value = np.asarray(value)
        given = dtype_of(value.dtype)
        fits = given is node.dtype or (wide and given.is_float and node.dtype.is_float)
    if not fits:
        raise DTypeError(
            f"argument `{name}`: {node.dtype} is expected, got {given}",
            hint=f"convert it, e.g. x.astype('{node.dtype}')",
        )
    return np.asarray(value, dtype.numpy)
