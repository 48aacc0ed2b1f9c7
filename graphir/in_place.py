"""Writing in place, `x += y`: traced as a new value where nothing can tell, else an error.

Graphs have no writes. The name on the left gets a new value; whatever else refers to the memory
that the write would change (the same value under another name, a view, what it is a view of) must
not be read any more, and reading it is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import networkx as nx

from .errors import DTypeError, ShapeError, UnsupportedError
from .graph import Graph, Node
from .opdef import Kind
from .sizes import format_shape
from .value import Value, cast

# Ops whose result may share its operand's memory.
_VIEWS = frozenset({"slice", "permute", "reshape", "broadcast"})


@dataclass(eq=False)
class Overwritten:
    """What was written in one trace.

    Attributes:
        values: by id, which they keep by being held here.
        nodes: other views of the same memory.
    """

    values: dict[int, Value] = field(default_factory=dict)
    nodes: set[Node] = field(default_factory=set)

    def check(self, x: Value) -> None:
        """Raise where `x` is not what the user's memory would hold.

        Raises:
            UnsupportedError: with a way out.
        """
        if id(x) in self.values or x.node in self.nodes:
            raise UnsupportedError(
                "in-place",
                f"a value ({x.node.type}) is read under another name, or as a view, after a write "
                "in place changed it",
                hint="make a new value instead: x = x + y for x += y",
            )


def overwrite(
    symbol: str, before: Value, after: Value, known: Overwritten, *, array: bool
) -> Value:
    """The value of `x` after a write: `after`, of the shape and dtype of `before`.

    Args:
        symbol: as the user wrote it: `+=`.
        known: what was written in this trace so far.
        array: whether `before` is a NumPy array: its 0-d results are numbers, never written.

    Raises:
        ShapeError, DTypeError: where shape or dtype would change.
    """
    if before.weak or (array and before.ndim == 0 and before.node.op != "input"):
        return after
    if after.sizes != before.sizes:
        raise ShapeError(
            f"{symbol} would change the shape {format_shape(before.sizes)} to "
            f"{format_shape(after.sizes)}",
            hint="write x = x + y",
        )
    if "bif".index(after.element.kind) > "bif".index(before.element.kind):
        raise DTypeError(
            f"{symbol} would change the dtype {before.element} to {after.element}",
            hint="convert first, or write x = x + y",
        )
    result = cast(after, before.element)
    known.values[id(before)] = before
    known.nodes |= _sharing(before.graph, before.node) - {result.node}
    # Never the value before itself, which `x **= 1` would give.
    return type(result)(result.graph, result.node)


def _sharing(graph: Graph, node: Node) -> set[Node]:
    """The views that may share memory with `node`, and what it may be a view of."""
    root = node
    while root.op in _VIEWS and not _is_fresh(root):
        (root,) = root.inputs
    views = nx.subgraph_view(
        graph.nx, filter_node=lambda n: n is root or (n.op in _VIEWS and not _is_fresh(n))
    )
    found: set[Node] = set(nx.descendants(views, root))
    # The value that is written may have equals under other names, which are not.
    shares = root is not node and (root.kind is not Kind.SOURCE or root.op == "input")
    return found | {root} if shares else found


def _is_fresh(node: Node) -> bool:
    """Whether a view is of memory that nothing else has: a reduction that keeps its axes."""
    (x,) = node.inputs
    return (node.op == "reshape" and x.kind is Kind.REDUCTION) or x.op == "constant"
