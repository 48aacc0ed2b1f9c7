"""Applications of every op of the table, for tests that hold for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphir import dtypes
from graphir.dtypes import DType
from graphir.opdef import OPS, Kind
from graphir.ops.custom import Rule

SHAPE = (2, 3)


@dataclass(frozen=True)
class Case:
    """One application of an op: its operands' types (drawn from its domain, or given), attrs."""

    op: str
    shapes: tuple[tuple[int, ...], ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    types: tuple[DType, ...] = ()
    values: dict[int, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.op}-{'-'.join(f'{k}={v}' for k, v in self.attrs.items())}"

    def type_of(self, i: int) -> DType:
        return self.types[i] if self.types else dtypes.float64


_INDEX = (dtypes.float64, dtypes.int64)
_ROWS = {1: np.array([[2, 0], [2, 1]])}
_WHOLE = (dtypes.int64,)
_TRUTHS = (dtypes.bool_,)

# Ops whose operands differ in shape, or that need attributes. Elementwise ops need no entry.
CASES = [
    Case("where", (SHAPE,) * 3, {}, (dtypes.bool_, dtypes.float64, dtypes.float64)),
    Case("cast", (SHAPE,), {"dtype": dtypes.float32}),
    Case("cast", (SHAPE,), {"dtype": dtypes.float64}, (dtypes.float16,)),
    Case("copy", (SHAPE,), {"tag": 0}),
    Case("contract", ((2, 3), (3, 4)), {"lhs": "nd", "rhs": "dk", "out": "nk"}),
    Case("contract", ((2, 3), (3,)), {"lhs": "nd", "rhs": "d", "out": "n"}),
    Case("contract", ((3,), (3,)), {"lhs": "d", "rhs": "d", "out": ""}),
    Case("contract", ((2,), (3,)), {"lhs": "n", "rhs": "k", "out": "kn"}),
    Case("contract", ((2, 3, 4), (4, 2)), {"lhs": "abc", "rhs": "ca", "out": "ba"}),
    Case("broadcast", ((3,),), {"shape": (2, 3, 4), "dims": (1,)}),
    Case("broadcast", ((),), {"shape": (2, 3), "dims": ()}),
    Case("reshape", ((2, 3),), {"shape": (3, 1, 2)}),
    Case("permute", ((2, 3, 4),), {"order": (2, 0, 1)}),
    Case("slice", ((5, 2),), {"axis": 0, "start": 1, "step": 2, "length": 2}),
    Case("slice", ((2, 5),), {"axis": 1, "start": 4, "step": -1, "length": 3}),
    Case("embed", ((2, 2),), {"axis": 0, "start": 1, "step": 2, "length": 5}),
    Case("embed", ((2, 2),), {"axis": 0, "start": 3, "step": -1, "length": 5}),
    Case("take", ((3, 2), (2, 2)), {}, _INDEX, _ROWS),
    Case("custom_vjp", (SHAPE,), {"rule": Rule("alone", lambda *_: []), "output": 0}),
    Case("scatter_add", ((2, 2, 3), (2, 2)), {"size": 4}, _INDEX, _ROWS),
    *(
        Case(op, ((2, 3, 4),), {"axes": axes})
        for op in ("sum", "prod", "amax", "amin")
        for axes in ((0,), (0, 2), (0, 1, 2), ())
    ),
]
_BY_HAND = {case.op for case in CASES}
# Their derivative is declared away, so there is nothing to compare with a difference.
CONSTANT = {name for name, op in OPS.items() if not any(op.vjps)}


def all_cases() -> list[Case]:
    """The cases by hand, and one of equal shapes for each elementwise op without."""
    generic = [
        Case(name, (SHAPE,) * max(len(op.vjps), 1))
        for name, op in OPS.items()
        if op.kind is Kind.ELEMENTWISE and name not in _BY_HAND | CONSTANT
    ]
    return [*generic, *CASES]


# Of ops without a derivative: the types of those that take no floating operands.
_TYPES: Mapping[str, tuple[DType, ...]] = {
    "logical_and": _TRUTHS * 2,
    "logical_or": _TRUTHS * 2,
    "logical_not": _TRUTHS,
    **{name: _WHOLE * 2 for name in OPS if name.startswith("bitwise_")},
    "bitwise_not": _WHOLE,
    "quotient": _WHOLE * 2,
    "random_bits": _WHOLE * 3,
}


def constant_cases() -> list[Case]:
    """One of each op that has operands and no derivative."""
    return [
        Case(name, (SHAPE,) * len(OPS[name].vjps), {}, _TYPES.get(name, ()))
        for name in OPS
        if name in CONSTANT and OPS[name].kind is not Kind.SOURCE
    ]


# Axes of one element and of none, 0-d and 5-d values; of elementwise ops `at_the_edge` makes them.
EDGES = [
    Case(
        "contract",
        ((2, 1, 3, 2, 4), (2, 1, 3, 4, 2)),
        {"lhs": "abcij", "rhs": "abcjk", "out": "abcik"},
    ),
    Case("contract", ((2, 1, 3, 2, 2), (3, 2)), {"lhs": "abcij", "rhs": "cj", "out": "iba"}),
    Case("broadcast", ((3, 2),), {"shape": (2, 1, 3, 4, 2), "dims": (2, 4)}),
    Case("reshape", ((2, 1, 3, 4, 2),), {"shape": (6, 2, 1, 2, 2)}),
    Case("permute", ((2, 1, 3, 4, 2),), {"order": (3, 0, 4, 2, 1)}),
    Case("slice", ((2, 1, 3, 5, 2),), {"axis": 3, "start": 4, "step": -2, "length": 3}),
    Case("embed", ((2, 1, 3, 2, 2),), {"axis": 2, "start": 1, "step": 1, "length": 5}),
    Case("take", ((3, 2, 1, 2, 2), (2, 2)), {}, _INDEX, _ROWS),
    Case("scatter_add", ((2, 2, 3, 1, 2), (2, 2)), {"size": 4}, _INDEX, _ROWS),
    *(
        Case(op, ((2, 1, 3, 2, 2),), {"axes": axes})
        for op in ("sum", "prod", "amax", "amin")
        for axes in ((1,), (0, 2, 4), (3,), (0, 1, 2, 3, 4))
    ),
    Case("contract", ((1, 1), (1, 1)), {"lhs": "nd", "rhs": "dk", "out": "nk"}),
    Case("contract", ((2, 0), (0, 3)), {"lhs": "nd", "rhs": "dk", "out": "nk"}),
    Case("contract", ((0, 2), (2, 3)), {"lhs": "nd", "rhs": "dk", "out": "nk"}),
    Case("broadcast", ((1, 3),), {"shape": (1, 3, 1), "dims": (0, 1)}),
    Case("broadcast", ((3,),), {"shape": (0, 3), "dims": (1,)}),
    Case("reshape", ((1, 1),), {"shape": ()}),
    Case("reshape", ((0, 3),), {"shape": (3, 0, 2)}),
    Case("permute", ((1, 0, 3),), {"order": (1, 2, 0)}),
    Case("permute", ((),), {"order": ()}),
    Case("slice", ((1, 2),), {"axis": 0, "start": 0, "step": 1, "length": 1}),
    Case("slice", ((4, 2),), {"axis": 0, "start": 2, "step": 1, "length": 0}),
    Case("embed", ((1, 2),), {"axis": 1, "start": 0, "step": 3, "length": 4}),
    Case("embed", ((0, 2),), {"axis": 0, "start": 0, "step": 1, "length": 3}),
    Case("take", ((1, 2), ()), {}, _INDEX, {1: np.array(0)}),
    Case("take", ((3, 2), (0,)), {}, _INDEX, {1: np.zeros(0, int)}),
    Case("scatter_add", ((1,), (1,)), {"size": 1}, _INDEX, {1: np.array([0])}),
    Case("scatter_add", ((0, 2), (0,)), {"size": 3}, _INDEX, {1: np.zeros(0, int)}),
    *(
        Case(op, (shape,), {"axes": axes})
        for op in ("sum", "prod", "amax", "amin")
        for shape, axes in (((1, 3), (0,)), ((1,), (0,)), ((), ()), ((3, 0), (0,)))
    ),
    *(Case(op, ((0, 3),), {"axes": (0,)}) for op in ("sum", "prod")),
]


_SHAPES = ((1, 1), (0, 3), (), (2, 1, 3, 1, 2))


def at_the_edge() -> list[Case]:
    """Every elementwise op of one element, of none, of 0-d and 5-d operands, and EDGES."""
    plain = [c for c in (*all_cases(), *constant_cases()) if OPS[c.op].kind is Kind.ELEMENTWISE]
    return [
        *(replace(c, shapes=(s,) * len(c.shapes)) for c in plain for s in _SHAPES),
        *EDGES,
    ]


def draw(case: Case, rng: np.random.Generator) -> list[np.ndarray]:
    """Operands inside the op's domain, and off its kinks at 0."""
    low, high = OPS[case.op].domain
    values = []
    for i, shape in enumerate(case.shapes):
        if i in case.values:
            x = case.values[i]
        elif case.type_of(i) is dtypes.bool_:
            x = rng.random(shape) < 0.5
        elif case.type_of(i).kind == "i":
            x = rng.integers(1, 9, shape) * rng.choice([-1, 1], shape)
        else:
            x = rng.uniform(low, high, shape)
            x = np.where(np.abs(x) < 0.05, 0.05, x)
        values.append(np.asarray(x))
    return values
