"""Graphs built by hand, node by node, and graphs as functions.

    >>> import numpy as np
    >>> from graphir.graph import Graph
    >>> graph = Graph()
    >>> x, w = graph.input("x", ("n", 2)), graph.input("w", (2,))
    >>> residual = graph.op("contract", x, w, lhs="nd", rhs="d", out="n") - 1.0
    >>> graph.output((residual * residual).sum())
    >>> [node.op for node in graph.live()]
    ['input', 'input', 'contract', 'constant', 'broadcast', 'sub', 'mul', 'sum']
    >>> graph(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 1.0]))
    array(40.)

What `input` and `op` give takes Python's operators and the functions of torch or NumPy. A graph is
a function wherever one is expected: `graphir.grad(graph, argnums=1)`, `graphir.compile(graph)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .calling import call
from .dtypes import dtype_of
from .errors import DTypeError, GraphirError, ShapeError
from .evaluate import arguments_of
from .graph import Graph, Node
from .sizes import Dim, Size, format_shape
from .symbolic import require_equal
from .tracer import tracer_type
from .value import Value, cast

# Two sizes that are named must not look equal, nor like a size that is a number.
_FIRST_HINT = 7919


def add_input(graph: Graph, name: str, shape: Sequence[int | str], dtype: Any) -> Value:
    """A new argument of `graph` (the public `Graph.input`).

    Args:
        shape: numbers, and names for sizes that are known only when the graph runs.
        dtype: as NumPy or torch write it. The value has the methods of that library's arrays.

    Raises:
        GraphirError: for a name that is taken.
    """
    if name in graph.names.values():
        raise GraphirError(f"there is an input `{name}` already", hint="give each its own name")
    sizes: list[Size] = []
    for size in shape:
        if isinstance(size, str):
            graph.hints.setdefault(size, _FIRST_HINT + len(graph.hints))
            sizes.append(Dim.symbol(size))
        else:
            sizes.append(int(size))
    flavour = "torch" if type(dtype).__module__ == "torch" else "numpy"
    node = graph.add_input(tuple(sizes), dtype_of(dtype), name)
    return tracer_type(flavour, "cpu")(graph, node)


def add_op(op: str, values: Sequence[Value], attrs: Mapping[str, Any]) -> Value:
    """One node: the primitive `op` on `values`, exactly as it stands.

    Raises:
        ShapeError, DTypeError: where the op does not take them.
    """
    first, *rest = values
    return first.apply(op, *rest, **attrs)


def set_outputs(graph: Graph, values: Sequence[Any]) -> None:
    """Add `values` to the results of `graph`.

    Raises:
        GraphirError: for a value of another graph.
    """
    for value in values:
        if not isinstance(value, Value) or value.graph is not graph:
            raise GraphirError(
                f"an output must be a value of this graph, got {value!r}",
                hint="compute it from what graph.input returned",
            )
        graph.outputs.append(value.node)


def call_graph(graph: Graph, args: Sequence[Any]) -> Any:
    """The results of `graph` for these arguments: one, or a tuple of several.

    With traced values among them the graph becomes part of their trace.

    Raises:
        ShapeError, DTypeError: where the arguments do not fit.
    """
    arguments = arguments_of(graph)
    names = [graph.names[node] for node in arguments]
    if len(args) != len(arguments):
        raise ShapeError(
            f"the graph takes {len(arguments)} arguments ({', '.join(names)}), got {len(args)}"
        )
    if not graph.outputs:
        raise GraphirError("the graph has no outputs", hint="name them: graph.output(value)")

    def inline(first: Value, *args: Any) -> Any:
        given = dict(zip(arguments, map(first.lift, args), strict=True))
        given |= {node: first.lift(array) for node, array in graph.captured.items()}
        outputs = _inlined(graph, first, given)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return call(inline, tuple(args), {}, names=names)


def _inlined(graph: Graph, first: Value, given: Mapping[Node, Value]) -> list[Value]:
    """The outputs of `graph` in the graph of `first`."""
    sizes: dict[str, Size] = {}
    known: dict[Node, Node] = {}
    for node, value in given.items():
        value = cast(value, node.dtype) if value.weak else value
        _bind(graph.names[node], node, value, sizes)
        known[node] = value.node
    target: Graph = first.graph
    for node in graph.live():
        if node in known:
            continue
        with target.located(graph.locations.get(node, []), backward=node in graph.backward):
            attrs = {name: _substituted(x, sizes) for name, x in node.attrs.items()}
            known[node] = target.add(node.op, *(known[x] for x in node.inputs), **attrs)
    return [type(first)(target, known[node]) for node in graph.outputs]


def _bind(name: str, node: Node, value: Value, sizes: dict[str, Size]) -> None:
    """Find out what the named sizes of an input are.

    Raises:
        ShapeError, DTypeError: where the value is of another type.
    """
    message = (
        f"argument `{name}`: shape {format_shape(node.shape)} is expected, "
        f"got {format_shape(value.sizes)}"
    )
    hint = "pass arrays of the shapes that the graph was built for"
    if value.ndim != node.ndim:
        raise ShapeError(message, hint=hint)
    if value.element is not node.dtype:
        raise DTypeError(f"argument `{name}`: {node.dtype} is expected, got {value.element}")
    for expected, got in zip(node.shape, value.sizes, strict=True):
        if isinstance(expected, Dim) and expected.is_symbol:
            (symbol,) = expected.names
            sizes.setdefault(symbol, got)
        found = _substituted(expected, sizes)
        require_equal(message, found, got, value.graph.hints, hint)


def _substituted(x: Any, sizes: Mapping[str, Size]) -> Any:
    """`x`, an attribute, with the named sizes replaced."""
    if isinstance(x, tuple):
        return tuple(_substituted(item, sizes) for item in x)
    if not isinstance(x, Dim):
        return x
    total: Size = 0
    for monomial, factor in x.terms:
        product: Size = factor
        for name in monomial:
            product = product * sizes[name]
        total = total + product
    return total
