"""A value being traced: a node with Python's operators. The rules of differentiation, the
composites and both front ends are written over it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from . import dtypes
from .dtypes import DType, dtype_of, promote, promote_weak
from .errors import DTypeError, ShapeError, TraceError
from .graph import Graph, Node
from .halves import computed_in
from .sizes import Dim, Shape
from .symbolic import NeedsNumber, SymbolicSize, broadcast_shapes

if TYPE_CHECKING:
    from .in_place import Step

Scalar: TypeAlias = int | float | bool


class Deferred:
    """An operand that is no value: it says itself what an operation with it means."""

    def binary(self, op: str, a: Any, b: Any) -> Any:
        """The elementwise primitive `op` of two operands, one of which it is."""
        raise NotImplementedError

    def refused(self) -> Exception:
        """The error where a value is needed."""
        raise NotImplementedError


class Value:
    """A node of a graph under construction, with operators.

    Attributes:
        graph: where it is.
        weak: a Python number, or a result of Python numbers only; it promotes weakly.
        flavour: "torch" or "numpy": whose rules hold where the two differ.
    """

    __slots__ = ("_node", "graph", "weak")
    size_type: ClassVar[type[SymbolicSize]] = SymbolicSize
    flavour: ClassVar[str] = "torch"

    def __init__(self, graph: Graph, node: Node, weak: bool = False) -> None:
        self.graph, self._node, self.weak = graph, node, weak

    @property
    def node(self) -> Node:
        """The node that it is."""
        return self._node

    @classmethod
    def number_needed(cls, need: NeedsNumber) -> None:
        """Hear of `need` before it is raised: C code may swallow what `__index__` raises."""

    @property
    def shape(self) -> tuple[int | SymbolicSize, ...]:
        """The sizes: ints, and SymbolicSizes for what only the kernel knows."""
        return tuple(
            self.size_type(self.graph, s, type(self)) if isinstance(s, Dim) else s
            for s in self._node.shape
        )

    @property
    def sizes(self) -> Shape:
        """The shape as the graph holds it."""
        return self._node.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._node.shape)

    @property
    def element(self) -> DType:
        """The element type as graphir's own DType."""
        return self._node.dtype

    def __repr__(self) -> str:
        return f"<traced {self._node.type}>"

    def apply(self, op: str, *others: Value, weak: bool = False, **attrs: Any) -> Value:
        """The primitive `op` on this value and `others`, exactly as it stands."""
        for other in others:
            if other.graph is not self.graph:
                raise TraceError(
                    f"{op}: a traced value was used outside the trace that made it",
                    hint="return it from the traced function instead of keeping it elsewhere",
                )
        node = self.graph.add(op, self.node, *(o.node for o in others), **attrs)
        return type(self)(self.graph, node, weak)

    def copied(self) -> Value:
        """The same value as another object."""
        return type(self)(self.graph, self.node, self.weak)

    def viewed(self, step: Step) -> Value:
        """A view of this value."""
        return step.view(self)

    def scalar(self, value: Scalar, dtype: DType | None = None) -> Value:
        """A constant in this value's graph."""
        kind = dtype or dtype_of(type(value))
        return type(self)(self.graph, self.graph.constant(value, kind), weak=dtype is None)

    def lift(self, other: Any) -> Value:
        """`other` as a value of this graph: a value, a size or a Python number."""
        if isinstance(other, Value):
            return other
        if isinstance(other, SymbolicSize):
            return other.value()
        if isinstance(other, (bool, int, float)):
            return self.scalar(other)
        if isinstance(other, Deferred):
            raise other.refused()
        raise DTypeError(
            f"a number or an array of this trace is expected, got {type(other).__name__}"
        )

    # -- arithmetic: promotion and broadcasting, then a primitive -------------------------------

    def __add__(self, other: Any) -> Value:
        return binary("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return binary("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return binary("sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return binary("sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return binary("mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return binary("mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return binary("div", other, self)

    def __pow__(self, other: Any) -> Value:
        from .integers import power

        return power(self, other)

    def __rpow__(self, other: Any) -> Value:
        from .integers import power

        return power(other, self)

    def __neg__(self) -> Value:
        return self.apply("neg", weak=self.weak)

    def __pos__(self) -> Value:
        return self

    def __abs__(self) -> Value:
        return self.apply("abs", weak=self.weak)

    def __lt__(self, other: Any) -> Value:
        return binary("lt", self, other)

    def __le__(self, other: Any) -> Value:
        return binary("le", self, other)

    def __gt__(self, other: Any) -> Value:
        return binary("gt", self, other)

    def __ge__(self, other: Any) -> Value:
        return binary("ge", self, other)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return binary("eq", self, other)

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return binary("ne", self, other)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Value:
        return self._bitwise("and", self, other)

    def __or__(self, other: Any) -> Value:
        return self._bitwise("or", self, other)

    def __xor__(self, other: Any) -> Value:
        return self._bitwise("xor", self, other)

    def __lshift__(self, other: Any) -> Value:
        return self._bitwise("left_shift", self, other)

    def __rlshift__(self, other: Any) -> Value:
        return self._bitwise("left_shift", other, self)

    def __rshift__(self, other: Any) -> Value:
        return self._bitwise("right_shift", self, other)

    def __rrshift__(self, other: Any) -> Value:
        return self._bitwise("right_shift", other, self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def _bitwise(self, name: str, a: Any, b: Any) -> Value:
        from .integers import bitwise

        return bitwise(name, a, b)

    def __invert__(self) -> Value:
        from .integers import invert

        return invert(self)

    def __bool__(self) -> bool:
        raise TraceError(
            f"an `if`, `while`, `and` or `assert` needs the truth of a traced value ({self!r}), "
            "which is known only when the kernel runs",
            hint="choose per element with torch.where(condition, a, b) or np.where",
        )

    def _no_number(self) -> Any:
        raise TraceError(
            f"the number behind a traced value ({self!r}) is known only when the kernel runs",
            hint="keep computing with it, or return it and convert the result",
        )

    __float__ = __int__ = __index__ = __complex__ = _no_number

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a 0-d value")
        return int(self.shape[0])

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Value:
        from .indexing import getitem

        return getitem(self, index)

    def __matmul__(self, other: Any) -> Value:
        from .composites import matmul

        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Value:
        from .composites import matmul

        return matmul(other, self)


# -- promotion and broadcasting ----------------------------------------------------------------

FLOAT_RESULT = frozenset({"div", "atan2", "hypot"})


def result_dtype(*values: Value) -> DType:
    """What torch would compute in: arrays decide, 0-d arrays and Python numbers yield to them."""
    ranked: list[list[Value]] = [[], [], []]
    for v in values:
        ranked[2 if v.weak else (1 if v.ndim == 0 else 0)].append(v)
    result: DType | None = None
    for group in ranked:
        for v in group:
            if result is None:
                result = v.element
            elif group is ranked[0] or (group is ranked[1] and not ranked[0]):
                result = promote(result, v.element)
            elif group is ranked[2]:
                result = promote_weak(result, v.element)
            else:
                higher = "bif".index(v.element.kind) > "bif".index(result.kind)
                result = v.element if higher else result
    assert result is not None
    if all(v.weak for v in values):
        return max((v.element for v in values), key=lambda d: ("bif".index(d.kind), d.itemsize))
    return result


def cast(x: Value, dtype: DType) -> Value:
    """`x` converted; nothing where it has that type already. A weak value becomes strong."""
    if x.element is dtype:
        return type(x)(x.graph, x.node) if x.weak else x
    return x.apply("cast", dtype=dtype)


def lift_all(*operands: Any) -> list[Value]:
    """The operands as values of the one graph that the traced ones among them belong to."""
    first = next(x for x in operands if isinstance(x, Value))
    return [first.lift(x) for x in operands]


def binary(op: str, a: Any, b: Any) -> Value:
    """The elementwise primitive `op` with torch's promotion and broadcasting."""
    for operand in (a, b):
        if isinstance(operand, Deferred):
            return operand.binary(op, a, b)  # type: ignore[no-any-return]
    x, y = lift_all(a, b)
    dtype = result_dtype(x, y)
    if op in FLOAT_RESULT and not dtype.is_float:
        dtype = dtypes.float32
    if op.startswith("logical_"):
        dtype = dtypes.bool_
    weak = x.weak and y.weak
    wide = computed_in(op, x, y, dtype)
    x, y = broadcast_together(op, cast(x, wide), cast(y, wide))
    return x.apply(op, y, weak=weak) if wide is dtype else cast(x.apply(op, y), dtype)


def broadcast_to(x: Value, shape: Shape) -> Value:
    """`x` stretched to `shape` by NumPy's rule (which the caller has checked)."""
    if x.sizes == tuple(shape):
        return x
    offset = len(shape) - x.ndim
    stretched = [i for i, s in enumerate(x.sizes) if s == 1 and shape[offset + i] != 1]
    kept = tuple(i for i in range(x.ndim) if i not in stretched)
    weak = x.weak
    if stretched:
        x = x.apply("reshape", shape=tuple(x.sizes[i] for i in kept))
    return x.apply("broadcast", shape=tuple(shape), dims=tuple(offset + i for i in kept), weak=weak)


def broadcast_together(what: str, *values: Value) -> list[Value]:
    """The values stretched to their common shape."""
    shape: Shape = ()
    for v in values:
        shape = broadcast_shapes(what, shape, v.sizes, v.graph.hints)
    return [broadcast_to(v, shape) for v in values]


def float_value(x: Value) -> Value:
    """`x` in a floating type: integers and bools become float32, as in torch."""
    return x if x.element.is_float else cast(x, dtypes.float32)


def unary(op: str, x: Value) -> Value:
    """The elementwise primitive `op`; functions of real numbers take integers as float32."""
    return float_value(x).apply(op, weak=x.weak)


def normalise_axes(what: str, axes: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Axes as sorted, non-negative positions; None means all.

    Raises:
        ShapeError: for an axis that is not there, or one named twice.
    """
    if axes is None:
        return tuple(range(ndim))
    given = (axes,) if isinstance(axes, int) else tuple(axes)
    out = []
    for axis in given:
        if not -max(ndim, 1) <= axis < max(ndim, 1):
            raise ShapeError(
                f"{what}: axis {axis} is not one of a {ndim}-d value",
                hint=f"use an axis from {-ndim} to {ndim - 1}",
            )
        if ndim:
            out.append(axis % ndim)
    if len(set(out)) != len(out):
        raise ShapeError(f"{what}: axes {given} name one axis twice")
    return tuple(sorted(out))


def reduce(op: str, x: Value, axes: int | Sequence[int] | None, keepdim: bool = False) -> Value:
    """The reduction primitive `op` over `axes`, with NumPy's keepdims."""
    over = normalise_axes(op, axes, x.ndim)
    y = x.apply(op, axes=over) if over else x
    if keepdim and over:
        y = y.apply("reshape", shape=tuple(1 if i in over else s for i, s in enumerate(x.sizes)))
    return y


def contract(a: Value, b: Value, spec: str) -> Value:
    """The sum of products `spec` in einsum's notation, e.g. "nd,dk->nk"."""
    left, out = spec.split("->")
    lhs, rhs = left.split(",")
    return a.apply("contract", b, lhs=lhs, rhs=rhs, out=out)
