"""Names for axes: which dimensions of which nodes run together.

Every op says which dimensions of its operands are which of its result; union-find joins them into
axes. An edge along which two dimensions of one node would become one axis (X @ X.T, W + W.T), or
which moves elements in a way that no axis describes (a slice, a reshape), is cut: the operand is
then read from memory, by an address of the consumer's own axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from graphir.graph import Graph, Node
from graphir.opdef import Kind
from graphir.sizes import Shape, Size

# Ops whose tile is that of their operand, so that they take no statement, unless the edge is cut.
ALIASES = frozenset({"broadcast", "permute", "reshape", "copy", "stop_gradient"})


@dataclass
class AxisMap:
    """The axes of a graph.

    Attributes:
        of: for each node the axis of each of its dimensions.
        ports: for each edge (consumer, operand) the axis of each dimension of the operand as the
            consumer sees it; -1 for a dimension that is indexed rather than walked.
        cuts: the edges whose operand must be in memory, with the reason.
        size: the size of each axis.
    """

    of: dict[Node, tuple[int, ...]] = field(default_factory=dict)
    ports: dict[tuple[Node, int], tuple[int, ...]] = field(default_factory=dict)
    cuts: dict[tuple[Node, int], str] = field(default_factory=dict)
    size: dict[int, Size] = field(default_factory=dict)

    def space(self, node: Node) -> tuple[int, ...]:
        """The axes that computing `node` walks: its own, then those it reduces."""
        axes = list(self.of[node])
        if node.kind in (Kind.REDUCTION, Kind.CONTRACTION):
            for position in range(len(node.inputs)):
                axes += [a for a in self.ports[node, position] if a not in axes]
        return tuple(axes)

    def reduced(self, node: Node) -> tuple[int, ...]:
        """The axes that `node` sums away."""
        return self.space(node)[node.ndim :]

    def is_alias(self, node: Node) -> bool:
        """Whether the tile of `node` is its operand's."""
        return node.op in ALIASES and (node, 0) not in self.cuts

    def is_repeat(self, node: Node) -> bool:
        """Whether a node is nothing but another one, repeated along more axes."""
        return node.op == "broadcast" and (node, 0) not in self.cuts


class _Classes:
    """Union-find over dimensions that refuses to join two dimensions of one node."""

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.members: list[set[Node]] = []

    def new(self, node: Node | None) -> int:
        self.parent.append(len(self.parent))
        self.members.append(set() if node is None else {node})
        return len(self.parent) - 1

    def find(self, x: int) -> int:
        while self.parent[x] != x:
            self.parent[x] = self.parent[self.parent[x]]
            x = self.parent[x]
        return x

    def union_all(self, pairs: Iterable[tuple[int, int]]) -> Node | None:
        """Join every pair, or none of them and return the node that would fold onto itself."""
        pairs = list(pairs)
        joined: dict[int, int] = {}
        parts: dict[int, list[set[Node]]] = {}

        def root(x: int) -> int:
            x = self.find(x)
            while x in joined:
                x = joined[x]
            return x

        for x, y in pairs:
            a, b = root(x), root(y)
            if a == b:
                continue
            left = parts.get(a, [self.members[a]])
            right = parts.get(b, [self.members[b]])
            for one in left:
                for other in right:
                    small, large = sorted((one, other), key=len)
                    shared = [n for n in small if n in large]
                    if shared:
                        return min(shared, key=lambda n: n.id)
            joined[b] = a
            parts[a] = left + right
        for x, y in pairs:
            self._union(x, y)
        return None

    def _union(self, x: int, y: int) -> None:
        a, b = self.find(x), self.find(y)
        if a == b:
            return
        if len(self.members[a]) < len(self.members[b]):
            a, b = b, a
        self.parent[b] = a
        self.members[a] |= self.members[b]
        self.members[b] = set()


def same_up_to_ones(a: Shape, b: Shape) -> list[tuple[int, int]] | None:
    """The pairs of equal dimensions where two shapes differ by sizes of 1 only, else None."""
    left = [i for i, s in enumerate(a) if s != 1]
    right = [i for i, s in enumerate(b) if s != 1]
    if [a[i] for i in left] != [b[i] for i in right]:
        return None
    return list(zip(left, right, strict=True))


def _relation(node: Node, position: int) -> tuple[list[tuple[int, int | str]], str | None]:
    """How dimensions of an operand are dimensions (or summed labels) of the node.

    Returns pairs (operand's dimension, node's dimension or a label), and for an edge that reads
    through memory the reason.
    """
    x = node.inputs[position]
    every: list[tuple[int, int | str]] = [(i, i) for i in range(x.ndim)]
    match node.op:
        case "broadcast":
            return list(enumerate(node.attrs["dims"])), None
        case "permute":
            return [(source, i) for i, source in enumerate(node.attrs["order"])], None
        case "reshape":
            pairs = same_up_to_ones(x.shape, node.shape)
            if pairs is None:
                return [], "a reshape walks its operand in memory order"
            return list(pairs), None
        case "slice" | "embed":
            kept = [(i, j) for i, j in every if i != node.attrs["axis"]]
            return kept, f"a {node.op} shifts positions along an axis"
        case "take":
            index_rank = node.inputs[1].ndim
            if position == 1:
                return every, None
            return [(i, i - 1 + index_rank) for i in range(1, x.ndim)], "rows are picked by index"
        case "contract":
            labels = node.attrs["lhs" if position == 0 else "rhs"]
            out = node.attrs["out"]
            return [(i, out.index(c) if c in out else c) for i, c in enumerate(labels)], None
    if node.kind is Kind.REDUCTION:
        kept_dims = [i for i in range(x.ndim) if i not in node.attrs["axes"]]
        places: dict[int, int | str] = {i: j for j, i in enumerate(kept_dims)}
        return [(i, places.get(i, f"r{i}")) for i in range(x.ndim)], None
    return every, None


def in_memory(node: Node) -> bool:
    """Whether a node is an argument, or only moves the elements of one."""
    while node.op in ("broadcast", "permute", "reshape", "slice", "embed"):
        node = node.inputs[0]
    return node.op == "input"


def varies(x: Node, dim: int) -> bool:
    """Whether a dimension holds anything but repeats, which run along any axis.

    Equal nodes are one node, so a broadcast scalar may have consumers of unrelated axes.
    """
    return x.op != "broadcast" or dim in x.attrs["dims"]


def name_axes(graph: Graph) -> AxisMap:
    """Find the axes of a graph; linear in its edges but for the union-find."""
    classes = _Classes()
    dims: dict[Node, tuple[int, ...]] = {}
    ports: dict[tuple[Node, int], tuple[int, ...]] = {}
    cuts: dict[tuple[Node, int], str] = {}
    sizes: dict[int, Size] = {}
    for node in graph.live():
        dims[node] = tuple(classes.new(node) for _ in node.shape)
        sizes.update(zip(dims[node], node.shape, strict=True))
        labels: dict[str, int] = {}
        for position, x in enumerate(node.inputs):
            pairs, reason = _relation(node, position)
            marks = [-1] * x.ndim
            for i, place in pairs:
                if isinstance(place, int):
                    marks[i] = dims[node][place]
                else:
                    if place not in labels:
                        # A summed label belongs to the node as its own dimensions do.
                        labels[place] = classes.new(node)
                        sizes[labels[place]] = x.shape[i]
                    marks[i] = labels[place]
            if reason is not None:
                cuts[node, position] = reason
            ports[node, position] = tuple(marks)
    # A cut costs nothing where the operand is in memory anyway, so such edges come last.
    for node, position in sorted(ports, key=lambda edge: in_memory(edge[0].inputs[edge[1]])):
        if (node, position) in cuts:
            continue
        x, port = node.inputs[position], ports[node, position]
        joined = [(dims[x][i], c) for i, c in enumerate(port) if c >= 0 and varies(x, i)]
        folded = classes.union_all(joined)
        if folded is not None:
            cuts[node, position] = f"two dimensions of {folded!r} would run along one axis"
        elif node.op == "reshape":
            # The dimensions of 1 that it drops have axes too; repeats run along the node's.
            ports[node, position] = tuple(
                dims[x][i] if c < 0 or varies(x, i) else c for i, c in enumerate(port)
            )
    find = classes.find
    return AxisMap(
        {n: tuple(find(d) for d in axes) for n, axes in dims.items()},
        {edge: tuple(find(d) if d >= 0 else -1 for d in port) for edge, port in ports.items()},
        cuts,
        {find(d): s for d, s in sizes.items()},
    )
