"""The graph: frozen nodes in a networkx.MultiDiGraph, hash-consed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from .dtypes import DType
from .errors import DTypeError, Location, user_location
from .opdef import OPS, Kind, OpDef
from .sizes import Shape, format_shape

if TYPE_CHECKING:
    from .value import Value


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """One value: an op over other nodes. Nodes compare by identity; equal ones are the same.

    Attributes:
        id: creation number in its graph; every order that reaches an output is by this number.
        op: the name of its OpDef.
        inputs: the operands in order (the truth; the edges of the networkx graph mirror it).
        attrs: hashable parameters of the op.
        shape: ints and Dims.
        dtype: the element type.
    """

    id: int
    op: str
    inputs: tuple[Node, ...]
    attrs: Mapping[str, Any]
    shape: Shape
    dtype: DType

    @property
    def definition(self) -> OpDef:
        """The op's declaration."""
        return OPS[self.op]

    @property
    def kind(self) -> Kind:
        """How the op treats axes."""
        return OPS[self.op].kind

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __repr__(self) -> str:
        args = [f"%{x.id}" for x in self.inputs]
        args += [f"{k}={v}" for k, v in self.attrs.items()]
        return f"%{self.id} = {self.op}({', '.join(args)}) : {self.type}"

    @property
    def type(self) -> str:
        """`f32(n, 3)`."""
        return self.dtype.short + format_shape(self.shape)


@dataclass(frozen=True)
class Pruned:
    """An edge or node that the gradient did not need, and why.

    `name` is what the user calls the node, where it has a name; `location` the user's line.
    """

    node: Node
    reason: str
    name: str = ""
    location: Location | None = None

    def __str__(self) -> str:
        """`%9 gt (train.py:18): the comparison has no derivative`."""
        what = self.name or f"%{self.node.id} {self.node.op}"
        # A reason about an argument names it already.
        if self.name and self.reason.startswith(f"`{self.name}`"):
            return self.reason
        return f"{what}{f' ({self.location})' if self.location else ''}: {self.reason}"


@dataclass(frozen=True)
class IndexRange:
    """A promise to be checked before a kernel runs: `low <= input < high` for every element, but
    for those that are `ignored`."""

    node: Node
    low: int
    high: int
    location: Location | None
    ignored: int | None = None


@dataclass(eq=False)
class Graph:
    """A computation. Built by tracing, by `Graph.add`, or by passes that write new graphs.

    Attributes:
        nx: the networkx graph; each edge carries `operand`, its position.
        inputs, outputs: in the order of the function's flattened arguments and results.
        names: what to call a node in dumps (parameters and data).
        locations: the user's lines that made a node.
        captured: arrays that the function closed over, by their input node.
        pruned: what differentiation left out.
        backward: the nodes that differentiation added.
        hints: the sizes that the Dims had at the first trace.
        ranges: index ranges to be checked on the host.
        notes: words to the user (a trace restarted, an argument unused).
    """

    nx: nx.MultiDiGraph[Node] = field(default_factory=nx.MultiDiGraph)
    inputs: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    names: dict[Node, str] = field(default_factory=dict)
    locations: dict[Node, list[Location]] = field(default_factory=dict)
    captured: dict[Node, Any] = field(default_factory=dict)
    pruned: list[Pruned] = field(default_factory=list)
    backward: set[Node] = field(default_factory=set)
    hints: dict[str, int] = field(default_factory=dict)
    ranges: list[IndexRange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _table: dict[Any, Node] = field(default_factory=dict, repr=False)
    _at: list[Location] | None = field(default=None, repr=False)
    _as_backward: bool = field(default=False, repr=False)

    def add(self, op: str, *inputs: Node, **attrs: Any) -> Node:
        """The node `op(*inputs, **attrs)`: the one that is there, or a new one.

        Raises:
            ShapeError, DTypeError: where the op's type rule refuses the inputs.
        """
        definition = OPS[op]
        key = (op, tuple(x.id for x in inputs), tuple(sorted(attrs.items())))
        node = self._table.get(key)
        if node is None:
            shape, dtype = definition.infer(inputs, attrs)
            node = Node(len(self._table), op, inputs, MappingProxyType(dict(attrs)), shape, dtype)
            self._table[key] = node
            self.nx.add_node(node)
            if self._as_backward:
                self.backward.add(node)
            for position, x in enumerate(inputs):
                self.nx.add_edge(x, node, operand=position)
        self._record_locations(node)
        return node

    def add_input(self, shape: Shape, dtype: DType, name: str, *, weak: bool = False) -> Node:
        """A new argument. `weak` marks a Python number, which promotes as torch's do."""
        node = self.add("input", index=len(self.inputs), shape=shape, dtype=dtype, weak=weak)
        self.inputs.append(node)
        self.names[node] = name
        return node

    def constant(self, value: float | int | bool, dtype: DType) -> Node:
        """The scalar `value`, keyed by its bytes so that -0.0 is not 0.0.

        Raises:
            DTypeError: for a whole number beyond the type's.
        """
        try:
            held = np.asarray(value, dtype.numpy)
        except OverflowError as error:
            raise DTypeError(
                f"the number {value} is beyond what {dtype} holds",
                hint="use a number within its range, or a wider type",
            ) from error
        return self.add("constant", value=held.tobytes(), dtype=dtype)

    # -- by hand, with values instead of nodes: see graphir.building ----------------------------

    def input(self, name: str, shape: Sequence[int | str] = (), dtype: Any = "float64") -> Value:
        """A new argument as a value with operators; a size may be a name, such as "n"."""
        from .building import add_input

        return add_input(self, name, shape, dtype)

    def op(self, name: str, *values: Value, **attrs: Any) -> Value:
        """The node `name(*values, **attrs)`, a primitive, as a value."""
        from .building import add_op

        return add_op(name, values, attrs)

    def output(self, *values: Value) -> None:
        """Add these values to the results."""
        from .building import set_outputs

        set_outputs(self, values)

    def __call__(self, *args: Any) -> Any:
        """The results: one, or a tuple. Inside a trace the graph becomes part of it."""
        from .building import call_graph

        return call_graph(self, args)

    def _record_locations(self, node: Node) -> None:
        found = self._at if self._at is not None else [loc for loc in [user_location()] if loc]
        lines = self.locations.setdefault(node, [])
        lines.extend(loc for loc in found if loc not in lines)

    @contextmanager
    def located(self, locations: list[Location], *, backward: bool = False) -> Iterator[None]:
        """Nodes added inside belong to these lines (a pass adds them on behalf of the user).

        With `backward`, new ones are on record as made by differentiation.
        """
        before = self._at, self._as_backward
        self._at, self._as_backward = locations, backward
        try:
            yield
        finally:
            self._at, self._as_backward = before

    @property
    def nodes(self) -> list[Node]:
        """All nodes in creation order, which is a topological order."""
        return list(self._table.values())

    def live(self, outputs: Iterable[Node] | None = None) -> list[Node]:
        """The nodes that `outputs` (by default the graph's) need, in creation order."""
        stack = list(self.outputs if outputs is None else outputs)
        needed = set(stack)
        while stack:
            more = [x for x in stack.pop().inputs if x not in needed]
            needed.update(more)
            stack += more
        return sorted(needed, key=lambda n: n.id)

    def users(self, node: Node) -> list[Node]:
        """The nodes that read `node`, each once, in creation order."""
        return sorted(set(self.nx.successors(node)), key=lambda n: n.id)

    def __str__(self) -> str:
        from .dump import dump

        return dump(self)

    # What follows only forwards: drawing and writing are imported where they are asked for.

    def to_svg(self, **options: Any) -> str:
        """A drawing; the options are those of `graphir.draw.to_svg`."""
        from .draw import to_svg

        return to_svg(self, **options)

    def to_dot(self, **options: Any) -> str:
        """The drawing as Graphviz text; the options are those of `graphir.draw.to_dot`."""
        from .draw import to_dot

        return to_dot(self, **options)

    def to_mermaid(self, **options: Any) -> str:
        """The drawing as a Mermaid flowchart; the options are those of `to_dot`."""
        from .mermaid import to_mermaid

        return to_mermaid(self, **options)

    def to_json(self, *, indent: int | None = None) -> str:
        """The whole graph as JSON, from which `from_json` makes an equal one."""
        from .serialise import to_json

        return to_json(self, indent=indent)

    @staticmethod
    def from_json(text: str) -> Graph:
        """The graph that `to_json` wrote."""
        from .serialise import from_json

        return from_json(text)

    def to_graphml(self) -> str:
        """The live nodes and edges as GraphML, for other tools."""
        from .serialise import to_graphml

        return to_graphml(self)

    def _repr_svg_(self) -> str | None:
        from .draw import notebook_svg

        return notebook_svg(self)

    def _repr_html_(self) -> str:
        from .draw import notebook_html

        return notebook_html(self)
