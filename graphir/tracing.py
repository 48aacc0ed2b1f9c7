"""Tracing: a user's function, called once with traced values, becomes a Graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from .dtypes import dtype_of
from .errors import DTypeError, GraphirError, ShapeError, TraceError, UnsupportedError
from .frontend.torch_names import is_tensor
from .frontend.torch_sizes import sizes_seen
from .given import whole_numbers
from .graph import Graph, Node
from .sizes import Dim, Shape, Size
from .symbolic import NeedsNumber, SymbolicSize
from .tracer import Tracer, call_with_sizes, is_array, tracer_type
from .trees import argument_names, flatten, placed, unflatten
from .value import Deferred, Value

Kind: TypeAlias = Literal["array", "number"]
# None: the leading axis of every array after the first argument. Else argument names, or a
# mapping from an argument's or leaf's name to one axis or several.
Dynamic: TypeAlias = Mapping[str, int | Sequence[int]] | Sequence[str] | None

_LETTERS = ("n", "m", "k")


@dataclass(frozen=True)
class Leaf:
    """One flattened argument: what it is called, whether it is an array, and its input node."""

    name: str
    kind: Kind
    node: Node


@dataclass(frozen=True)
class Trace:
    """A traced function.

    Attributes:
        graph: what it computes; `graph.hints` has the sizes of this trace.
        in_spec, out_spec: the optree structures of the tuple of arguments and of the result.
        flavour: "torch" where an argument is a tensor, else "numpy".
        device: of the tensors; "cpu" for NumPy.
        leaves: the flattened arguments, in the order of the graph's inputs without captured ones.
        out_kinds: for each output, whether it is an array or a Python number.
        out_names: what to call each output, e.g. "output[0]".
    """

    graph: Graph
    in_spec: Any
    out_spec: Any
    flavour: Literal["torch", "numpy"]
    device: Any
    leaves: tuple[Leaf, ...]
    out_kinds: tuple[Kind, ...]
    out_names: tuple[str, ...]


def is_traced(*args: Any) -> bool:
    """Whether a traced value is among the leaves: the caller runs inside another trace."""
    return any(isinstance(x, Value) for x in flatten(args, "args")[0])


def trace(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    dynamic: Dynamic = None,
    names: Sequence[str] | None = None,
) -> Trace:
    """Call `fn` once with traced values in place of the arrays and numbers in `args`.

    Args:
        fn: a function of torch or NumPy functions.
        args: example arguments; trees of arrays and Python numbers.
        dynamic: which axes may have another size at the next call (see `Dynamic`).
        names: what to call the arguments; by default what `fn` calls them.

    Raises:
        UnsupportedError: for an argument that is neither an array nor a number.
        TraceError: for a result that is neither, or that belongs to another trace.
    """
    labels = tuple(names) if names is not None else argument_names(fn, len(args))
    static: dict[str, NeedsNumber] = {}
    while True:
        try:
            return _trace_once(fn, args, labels, dynamic, static)
        except NeedsNumber as need:
            fresh = need.names - static.keys()
            if not fresh:
                raise AssertionError(f"{need} is a number already") from need
            static.update(dict.fromkeys(fresh, need))


def trace_graph(fn: Callable[..., Any], *args: Any, dynamic: Dynamic = None) -> Graph:
    """The graph of `fn` at these arguments (the public `graphir.trace`)."""
    return trace(fn, args, dynamic=dynamic).graph


def _trace_once(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    labels: tuple[str, ...],
    dynamic: Dynamic,
    static: Mapping[str, NeedsNumber],
) -> Trace:
    flat, names, in_spec = flatten(args, labels)
    graph = Graph()
    tensors = [x for x in flat if is_tensor(x)]
    flavour: Literal["torch", "numpy"] = "torch" if tensors else "numpy"
    device = tensors[0].device if tensors else "cpu"
    make = tracer_type(flavour, device)
    axes = _dynamic_axes(flat, names, labels, dynamic)
    shapes = _name_sizes(graph, flat, axes, static)
    leaves = [
        _bind(graph, x, name, shape) for x, name, shape in zip(flat, names, shapes, strict=True)
    ]
    traced = [make(graph, leaf.node, weak=leaf.kind == "number") for leaf in leaves]
    try:
        with placed(unflatten(in_spec, traced)) as given, sizes_seen(call_with_sizes):
            result = fn(*given)
    except Exception as error:
        if make.needs:
            raise make.needs[-1] from None
        if isinstance(error, ValueError) and isinstance(error.__cause__, TraceError):
            # What NumPy makes of it where an element of its array is set to a traced value.
            raise TraceError(
                "a traced value cannot become an element of a NumPy array, which holds numbers: "
                "its number is known only when the kernel runs",
                hint="write into a traced array, e.g. np.zeros_like(x), or join values by np.stack",
                location=error.__cause__.location,
            ) from error
        if isinstance(error, GraphirError):
            error.graph = graph
        raise

    results, out_names, out_spec = flatten(result, "output")
    anchor = (
        make(graph, graph.inputs[0]) if graph.inputs else make(graph, graph.add("iota", size=1))
    )
    outputs = [_output(anchor, x, name) for x, name in zip(results, out_names, strict=True)]
    graph.outputs = [x.node for x in outputs]
    if not any(is_array(x) for x in flat) and any(map(is_tensor, graph.captured.values())):
        flavour = "torch"
    return Trace(
        graph,
        in_spec,
        out_spec,
        flavour,
        device,
        tuple(leaves),
        tuple("number" if x.weak else "array" for x in outputs),
        tuple(out_names),
    )


def _dynamic_axes(
    flat: Sequence[Any], names: Sequence[str], labels: Sequence[str], dynamic: Dynamic
) -> list[tuple[int, ...]]:
    """For each leaf, the axes whose size is a Dim."""
    owners = [next((label for label in labels if _belongs(name, label)), "") for name in names]
    if dynamic is None:
        return [
            (0,) if is_array(x) and x.ndim and owner != labels[0] else ()
            for x, owner in zip(flat, owners, strict=True)
        ]
    wanted = _axes_by_name(dynamic)
    for key in wanted:
        if key not in labels and key not in names:
            raise ShapeError(
                f"dynamic: there is no argument {key!r}",
                hint=f"the arguments are {', '.join(labels)}",
            )
    out: list[tuple[int, ...]] = []
    for x, name, owner in zip(flat, names, owners, strict=True):
        chosen = wanted.get(name, wanted.get(owner, ()))
        rank = x.ndim if is_array(x) else 0
        for axis in chosen:
            if not -rank <= axis < rank:
                raise ShapeError(f"dynamic: {name} has no axis {axis}", hint=f"it has {rank} axes")
        out.append(tuple(a % rank for a in chosen))
    return out


def _axes_by_name(dynamic: Any) -> dict[str, tuple[int, ...]]:
    """The axes of each name, as the user gave them."""
    if isinstance(dynamic, Mapping):
        given = {str(name): whole_numbers(axes) for name, axes in dynamic.items()}
    elif isinstance(dynamic, str):
        given = {dynamic: (0,)}
    elif isinstance(dynamic, (Sequence, Set)):
        given = {str(name): (0,) for name in dynamic}
    else:
        given = {"": None}  # as for a name whose axes are no numbers
    chosen = {name: axes for name, axes in given.items() if axes is not None}
    if len(chosen) < len(given):
        raise ShapeError(
            f"dynamic is names of arguments, or a mapping from them to axes, not {dynamic!r}",
            hint='for example dynamic={"x": 0}, or {"x": (0, 1)}',
        )
    return chosen


def _belongs(leaf: str, label: str) -> bool:
    return leaf == label or leaf.startswith((f"{label}[", f"{label}."))


def _name_sizes(
    graph: Graph,
    flat: Sequence[Any],
    axes: Sequence[tuple[int, ...]],
    static: Mapping[str, NeedsNumber],
) -> list[Shape]:
    """The leaves' shapes, equal sizes of dynamic axes as one Dim; fills hints and notes."""
    known: dict[int, str] = {}
    shapes: list[Shape] = []
    for x, chosen in zip(flat, axes, strict=True):
        shape: list[Size] = [int(s) for s in x.shape] if is_array(x) else []
        for axis in chosen:
            size = shape[axis]
            # An empty axis is no Dim: those are at least 1.
            if not isinstance(size, int) or size == 0:
                continue
            if size not in known:
                i = len(known)
                known[size] = _LETTERS[i] if i < len(_LETTERS) else f"n{i - len(_LETTERS) + 1}"
            if known[size] not in static:
                shape[axis] = Dim.symbol(known[size])
                graph.hints[known[size]] = size
        shapes.append(tuple(shape))
    for size, name in known.items():
        need = static.get(name)
        if need is not None:
            where = f" at {need.location}" if need.location else ""
            graph.notes.append(
                f"specialised to {name} = {size}: {need.reason}{where}; another size is traced "
                "and compiled anew"
            )
    return shapes


def _bind(graph: Graph, x: Any, name: str, shape: Shape) -> Leaf:
    if isinstance(x, (bool, int, float)) and not isinstance(x, np.generic):
        return Leaf(name, "number", graph.add_input((), dtype_of(type(x)), name, weak=True))
    if isinstance(x, np.generic) or is_array(x):
        try:
            dtype = dtype_of(x.dtype)
        except DTypeError as error:
            raise DTypeError(f"argument {name}: {error.message}", hint=error.hint) from None
        weak = isinstance(x, np.generic)
        node = graph.add_input(shape, dtype, name, weak=weak)
        return Leaf(name, "number" if weak else "array", node)
    if isinstance(x, Value):
        raise TraceError(
            f"argument {name} is a traced value of another trace",
            hint="call the function itself inside a trace",
        )
    raise UnsupportedError(
        f"argument {name}",
        f"argument {name} is a {type(x).__name__}; arrays, numbers and trees of them are expected",
        hint="fix it before, e.g. with functools.partial or a closure",
    )


def _output(anchor: Tracer, x: Any, name: str) -> Value:
    if isinstance(x, Value):
        if x.graph is not anchor.graph:
            raise TraceError(
                f"{name} is a traced value of another trace",
                hint="return only what this call computed",
            )
        return anchor.lift(x)
    if is_array(x) or isinstance(x, (bool, int, float, np.generic, SymbolicSize, Deferred)):
        return anchor.lift(x)
    raise TraceError(
        f"{name} is a {type(x).__name__}; arrays and numbers are expected",
        hint="return arrays, numbers, or dicts, lists and tuples of them",
    )


__all__ = [
    "Dynamic",
    "Leaf",
    "Trace",
    "Tracer",
    "is_traced",
    "trace",
    "trace_graph",
]
