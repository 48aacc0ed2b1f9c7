"""`compile(..., check=True)`: the reference evaluator runs beside the kernels.

Every call is computed twice. Where the results differ, the graph is compiled once more with each
of its nodes as an output, so that the first node whose value differs can be named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphir.dump import Naming
from graphir.errors import GraphirError
from graphir.evaluate import evaluate_nodes
from graphir.frontend.torch_arrays import as_array
from graphir.graph import Graph, Node
from graphir.rewrite import copy_graph

from .entry import Entry

Arrays = np.ndarray[Any, Any]
_RELATIVE = {"float16": 2e-2, "bfloat16": 2e-1, "float32": 1e-4, "float64": 1e-9}
_NOISE = 32.0  # times the rounding that the reference itself shows in the node's own precision


class CheckError(GraphirError):
    """A kernel's value differs from the reference, or a value turns NaN; `.node` is the first."""

    def __init__(self, graph: Graph, node: Node, message: str, hint: str) -> None:
        self.node = node
        text = Naming(graph)
        lines = graph.locations.get(node, [])
        what = f"{text.operand(node)} = {text.expression(node)} : {node.type}"
        super().__init__(f"{what}: {message}", hint=hint, location=lines[0] if lines else None)


def checked(
    entry: Entry, sizes: Mapping[str, int], ready: Callable[[list[Any]], Any]
) -> Callable[[list[Any]], Any]:
    """`ready`, which runs an entry on flattened arguments, with the evaluator beside it."""

    def run(leaves: list[Any]) -> Any:
        check_call(entry, list(leaves), sizes)
        return ready(leaves)

    return run


def check_call(entry: Entry, leaves: Sequence[Any], sizes: Mapping[str, int]) -> None:
    """Run once more and compare every output with the reference.

    Raises:
        CheckError: naming the first node that turns NaN, or that differs.
    """
    graph = entry.graph
    arguments = [np.asarray(_host(x)) for x in leaves]
    exact = evaluate_nodes(graph, arguments, wide=True)
    rounded = evaluate_nodes(graph, arguments)
    _refuse_nan(graph, rounded)
    executable = entry.build.executable
    outputs = executable.run(entry.memory(leaves), sizes)
    found = {
        node: executable.backend.read(m) for node, m in zip(graph.outputs, outputs, strict=True)
    }
    wrong = _first_wrong(graph.outputs, found, exact, rounded)
    if wrong is not None:
        _refuse_first(entry, leaves, sizes, arguments)
        # Alone, each node is right: it goes wrong only in the kernel as it was fused.
        raise _differs(entry, graph, wrong, found[wrong], exact[wrong])


def _refuse_first(
    entry: Entry, leaves: Sequence[Any], sizes: Mapping[str, int], arguments: Sequence[Arrays]
) -> None:
    """Compile once more with every node as an output, and raise at the first that differs."""
    every = copy_graph(entry.graph)
    every.outputs = [n for n in every.live() if n.op not in ("input", "constant")]
    build = replace(entry.build, graph=every, name=f"{entry.build.name}_check")
    values = build.executable.run(entry.memory(leaves), sizes)
    found = {
        node: build.executable.backend.read(m)
        for node, m in zip(every.outputs, values, strict=True)
    }
    exact = evaluate_nodes(every, arguments, wide=True)
    node = _first_wrong(every.outputs, found, exact, evaluate_nodes(every, arguments))
    if node is not None:
        raise _differs(entry, every, node, found[node], exact[node])


def _differs(entry: Entry, graph: Graph, node: Node, found: Arrays, exact: Arrays) -> CheckError:
    return CheckError(
        graph, node, f"the {entry.build.backend} kernel differs: {_worst(found, exact)}",
        "please report it with this function; backend='reference' computes it in NumPy meanwhile",
    )  # fmt: skip


def _host(x: Any) -> Any:
    return as_array(x) if hasattr(x, "detach") else x


def _refuse_nan(graph: Graph, values: Mapping[Node, Arrays]) -> None:
    """Raise at the first node that is NaN though nothing that it reads is."""
    for node, value in values.items():
        if not node.dtype.is_float or node.op in ("input", "constant") or not _nan(value):
            continue
        if any(x.dtype.is_float and _nan(values[x]) for x in node.inputs):
            continue
        place = tuple(int(i) for i in np.argwhere(np.isnan(value))[0])
        count = int(np.isnan(value).sum())
        operands = ", ".join(f"{np.min(values[x]):.6g} … {np.max(values[x]):.6g}"
                             for x in node.inputs if values[x].size)  # fmt: skip
        raise CheckError(
            graph, node, f"{count} of {value.size} elements turn NaN, the first at {place}; "
            f"operands lie in {operands}",
            "keep its operand where the function is defined, e.g. with torch.clamp or torch.where",
        )  # fmt: skip


def _nan(value: Arrays) -> bool:
    return bool(np.isnan(value).any())


def _first_wrong(
    nodes: Sequence[Node],
    found: Mapping[Node, Arrays],
    exact: Mapping[Node, Arrays],
    rounded: Mapping[Node, Arrays],
) -> Node | None:
    for node in sorted(set(nodes), key=lambda n: n.id):
        if not _close(node, found[node], exact[node], rounded[node]):
            return node
    return None


def _close(node: Node, found: Arrays, exact: Arrays, rounded: Arrays) -> bool:
    """Whether a kernel's value is the reference's up to rounding.

    What rounding does to this node is estimated by the reference in its own precision: sums of
    many numbers, and differences of near ones, may lie further off.
    """
    if found.shape != exact.shape:
        return False
    if not node.dtype.is_float:
        return bool(np.array_equal(found, rounded))
    a, b = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    # Where the node's own precision overflows, the kernel may too.
    sound = np.isfinite(rounded) & np.isfinite(b)
    if not np.array_equal(np.isfinite(a) | ~sound, np.ones_like(sound)):
        return False
    if not sound.any():
        return True
    scale = float(np.abs(b[sound]).max())
    noise = float(np.abs(np.asarray(rounded, np.float64)[sound] - b[sound]).max())
    limit = _RELATIVE[node.dtype.name] * scale + _NOISE * noise
    return bool(np.abs(a[sound] - b[sound]).max() <= limit)


def _worst(found: Arrays, exact: Arrays) -> str:
    if found.shape != exact.shape:
        return f"its shape is {found.shape}, not {exact.shape}"
    a, b = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    off = np.where(np.isfinite(a), np.abs(a - b), np.inf)
    place = np.unravel_index(int(np.nanargmax(off)), off.shape) if off.ndim else ()
    at = f" at {tuple(int(i) for i in place)}" if off.ndim else ""
    return f"{a[place]:.9g} instead of {b[place]:.9g}{at}"
