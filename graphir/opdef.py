"""What an op is: one declaration a primitive, and the registry of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .dtypes import DType
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


class Registry(dict[str, OpDef]):
    """The table of primitives by name. Filled while `graphir.ops` is imported, then only read."""

    def register(self, op: OpDef) -> OpDef:
        """Add `op`; a name is taken once."""
        if op.name in self:
            raise ValueError(f"the op {op.name} is declared twice")
        self[op.name] = op
        return op


OPS = Registry()
