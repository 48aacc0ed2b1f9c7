"""Compiled functions under torch's autograd: backward is graphir's own compiled VJP.

The VJP is a compiled function itself, so it is differentiable in turn: second derivatives work.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from graphir.calling import cotangent_function
from graphir.frontend.torch_autograd import call_tracked, is_tracked, refuse_arrays
from graphir.sizes import Dim
from graphir.trees import argument_names, leaf_names, unflatten

from .arrays import is_tensor
from .entry import Entry

if TYPE_CHECKING:
    from .compiled import Compiled

Run = Callable[[list[Any]], Any]


def differentiable(
    compiled: Compiled[..., Any], entry: Entry, leaves: Sequence[Any], tree: Any, run: Run
) -> Run:
    """`run`, the calls of one signature, as torch's autograd sees them.

    What autograd may track are tensors among the arguments and those that the function closes
    over.

    Args:
        leaves, tree: the flattened arguments of some call, and their structure.
        run: from the flattened arguments to the result.

    Raises (when called):
        UnsupportedError: where a tensor is tracked and the results are NumPy arrays.
    """
    graph = entry.graph
    wanted = [i for i, x in enumerate(leaves) if is_tensor(x) and x.requires_grad]
    closed = [x for x in map(graph.captured.get, graph.inputs) if is_tensor(x)]
    if not wanted and not closed:
        return run
    pulls: dict[Hashable, Compiled[..., Any]] = {}

    def call(leaves: list[Any]) -> Any:
        own = [x for x in closed if is_tracked(x)]
        if not own and not any(is_tracked(leaves[i]) for i in wanted):
            return run(leaves)
        if entry.traced.flavour != "torch":
            raise refuse_arrays(repr(compiled))
        key = tuple(map(id, own))
        if key not in pulls:
            pulls[key] = _compiled_vjp(compiled, entry, tree, wanted, own)
        return call_tracked(run, pulls[key], leaves, tree, closed)

    return call


def _compiled_vjp(
    compiled: Compiled[..., Any],
    entry: Entry,
    tree: Any,
    wanted: Sequence[int],
    closed: Sequence[Any],
) -> Compiled[..., Any]:
    """`cotangent_function`, compiled for the same sizes as the entry."""
    fn, graph = compiled.fn, entry.graph
    pull = cotangent_function(fn, wanted, closed)
    names = (*argument_names(fn, len(tree.children())), "cotangents")
    if len(set(names)) == len(names) and all(map(str.isidentifier, names)):
        positional = inspect.Parameter.POSITIONAL_ONLY
        parameters = [inspect.Parameter(name, positional) for name in names]
        pull.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    ends = [
        y
        for y, kind in zip(graph.outputs, entry.traced.out_kinds, strict=True)
        if kind == "array" and y.dtype.is_float
    ]
    nodes = [*(x for x in graph.inputs if x not in graph.captured), *ends]
    stand_ins = (*unflatten(tree, range(len(nodes) - len(ends))), [0] * len(ends))
    varying = [tuple(i for i, s in enumerate(x.shape) if isinstance(s, Dim)) for x in nodes]
    dynamic = dict(zip(leaf_names(pull, stand_ins), varying, strict=True))
    return compiled.alike(pull, dynamic)
