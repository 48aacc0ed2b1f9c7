"""What an op is: one declaration a primitive, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .dtypes import DType, bfloat16, float16
from .sizes import Shape

if TYPE_CHECKING:
    from .graph import Node

Array: TypeAlias = np.ndarray[Any, Any]
Attrs: TypeAlias = Mapping[str, Any]
Infer: TypeAlias = Callable[["Sequence[Node]", Attrs], tuple[Shape, DType]]
# (sizes of the Dims, the node, its inputs' arrays) -> its array
Evaluate: TypeAlias = Callable[..., Array]
# (cotangent, output, *inputs, **attrs) -> cotangent of one input; all are Values
Vjp: TypeAlias = Callable[..., Any]
# (tangents of the inputs or None, output, *inputs, **attrs) -> tangent of the output
Jvp: TypeAlias = Callable[..., Any]


class Kind(Enum):
    """How an op treats axes, which is all that fusion needs to know of it."""

    SOURCE = "source"
    ELEMENTWISE = "elementwise"
    REDUCTION = "reduction"
    CONTRACTION = "contraction"
    MOVEMENT = "movement"
    INDEXING = "indexing"


@dataclass(frozen=True)
class Combiner:
    """How a reduction joins two partial results: data, so that no printer knows a reduction.

    Attributes:
        op: the elementwise op that joins two states.
        identity: the state that changes nothing, as a function of the dtype.
        ufunc: the NumPy ufunc of the same meaning.
    """

    op: str
    identity: Callable[[DType], float | int | bool]
    ufunc: np.ufunc


@dataclass(frozen=True)
class OpDef:
    """A primitive: everything that graphir knows of it, but for its spelling in the two targets.

    Attributes:
        name: as printed in dumps.
        kind: how it treats axes.
        infer: shape and dtype from inputs and attributes; raises ShapeError or DTypeError.
        evaluate: the NumPy reference, `(sizes, node, *arrays) -> array`.
        vjps: one callable per argument (None where no derivative flows), each
            `(cotangent, output, *inputs, **attrs) -> cotangent of that input`.
        further: for an op of any number of arguments, the VJP of an argument beyond `vjps`, by
            its position.
        linear: the arguments in each of which alone the op is linear: with such an argument
            replaced by its tangent, the op itself gives that argument's part of the JVP.
        jvp: `(tangents, output, *inputs, **attrs) -> tangent of the output`, a tangent being None
            where it is zero. An elementwise op needs neither `linear` nor `jvp`: its Jacobian is
            diagonal, so its VJP rules are its JVP rules.
        domain: the interval to draw test samples from, where the op is smooth.
        combiner: for reductions.
        torch, numpy: the names under which users of each know it, for unary and binary functions
            that need no argument handling.
    """

    name: str
    kind: Kind
    infer: Infer
    evaluate: Evaluate
    vjps: tuple[Vjp | None, ...] = ()
    domain: tuple[float, float] = (-2.0, 2.0)
    combiner: Combiner | None = None
    torch: tuple[str, ...] = ()
    numpy: tuple[str, ...] = ()
    doc: str = field(default="", compare=False)
    linear: tuple[int, ...] = ()
    jvp: Jvp | None = None
    further: Callable[[int], Vjp] | None = None

    def vjp(self, position: int) -> Vjp | None:
        """The VJP of the argument at `position`; None where no derivative flows to it."""
        if position < len(self.vjps):
            return self.vjps[position]
        return self.further(position) if self.further is not None else None


class Registry(dict[str, OpDef]):
    """The table of primitives by name. Filled while `graphir.ops` is imported, then only read."""

    def register(self, op: OpDef) -> OpDef:
        """Add `op`; a name is taken once."""
        if op.name in self:
            raise ValueError(f"the op {op.name} is declared twice")
        self[op.name] = op
        return op


OPS = Registry()


def widened_type(node: Node) -> DType | None:
    """The type of 16 bits in place of which `node` computes in float32, to round its result once;
    None where there is none, and for float16 that is only converted."""
    types = (node.dtype, *(x.dtype for x in node.inputs))
    if node.op == "cast" and bfloat16 not in types:
        return None
    return next((half for half in (bfloat16, float16) if half in types), None)
