"""What a program's results must be: the reference evaluator in float64, and how far rounding may
carry a computation in the declared types from it.

The bound is measured, not guessed: the graph is evaluated again and again in float64, each time
with every result that rounds moved at random by SLACK units in the last place of its declared
type, and infinite, subnormal or 0 where that type cannot hold it. Where an ill-conditioned graph
blows such errors up, the bound grows as it does, and only there. A few samples do for what is
right; what lies outside them is held against many before it is called wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from graphir.dtypes import float64
from graphir.evaluate import arguments_of, bind_sizes
from graphir.graph import Graph, Node
from graphir.opdef import OPS, Kind
from tests.fuzz.program import as_numpy, kind_of

Array = np.ndarray[Any, Any]
# Each op may be off by so many units in the last place: the elementary functions are within 4, sums
# of a few thousand terms within some tens.
SLACK = 64
# Of the half types, whose results are computed in float32 and rounded once.
SLACK_OF_HALVES = 4
SAMPLES = 6
# Before anything is called wrong: where terms cancel, six samples now and then are too few.
SAMPLES_OF_A_FAULT = 48
# Ops that give one of their operands, or move them, and so are exact in every type; and arguments,
# which are what they are: an error of theirs could cancel that of the op behind them.
EXACT = frozenset(
    ["abs", "neg", "sign", "relu", "maximum", "minimum", "where", "copy", "stop_gradient",
     "amax", "amin", "floor", "ceil", "rint", "trunc", "take", "constant", "iota", "size",
     "input"]
)  # fmt: skip


@dataclass(frozen=True)
class Expected:
    """One result of a graph.

    Attributes:
        value: in float64 where it is floating.
        dtype: the declared type, as NumPy calls it.
        bound: how far each element may lie away; None where the result is not floating.
        steady: the elements that no rounding changes altogether: whole numbers and truth values
            that are the same in every sample, and finite floating ones.
        surer: the same, measured with many samples.
    """

    value: Array
    dtype: str
    bound: Array
    steady: Array
    surer: Callable[[], Expected]


def expected(graph: Graph, arguments: Sequence[Array], samples: int = SAMPLES) -> list[Expected]:
    """The results of `graph` as it was traced, before any rewriting."""
    exact = _evaluate(graph, arguments, None)
    sampled = [_evaluate(graph, arguments, np.random.default_rng((0, i))) for i in range(samples)]

    @functools.cache
    def surer() -> list[Expected]:
        return expected(graph, arguments, SAMPLES_OF_A_FAULT)

    out = []
    for position, (node, value) in enumerate(zip(graph.outputs, exact, strict=True)):
        moved = [sample[position] for sample in sampled]
        again = functools.partial(_nth, surer, position)
        if not node.dtype.is_float:
            steady = np.all([m == value for m in moved], axis=0)
            out.append(Expected(value, node.dtype.name, np.zeros(value.shape), steady, again))
            continue
        with np.errstate(all="ignore"):
            spread = np.max([np.abs(m - value) for m in moved], axis=0)
        info = ml_dtypes.finfo(node.dtype.numpy)
        bound = spread + 4 * float(info.eps) * np.abs(value) + 64 * float(info.tiny)
        steady = np.isfinite(bound) & (np.abs(value) < float(info.max) / 4)
        out.append(Expected(value, node.dtype.name, bound, steady, again))
    return out


def _nth(results: Callable[[], list[Expected]], position: int) -> Expected:
    return results()[position]


def _evaluate(
    graph: Graph, arguments: Sequence[Array], rng: np.random.Generator | None
) -> list[Array]:
    """The outputs in float64, each op's rounding exaggerated where there is a generator."""
    given = dict(zip(arguments_of(graph), arguments, strict=True))
    sizes = bind_sizes(graph, [a.shape for a in given.values()])
    given |= {node: as_numpy(a) for node, a in graph.captured.items()}
    values: dict[Node, Array] = {}
    with np.errstate(all="ignore"):
        for node in graph.live():
            typed = replace(node, dtype=float64) if node.dtype.is_float else node
            operands = [values[x] for x in node.inputs]
            if node in given:
                value = np.asarray(given[node], typed.dtype.numpy)
            else:
                made = OPS[node.op].evaluate(sizes, typed, *operands)
                value = np.asarray(made, typed.dtype.numpy)
            if rng is not None and node.dtype.is_float:
                value = _held(node, _moved(node, typed, value, operands, sizes, rng))
            values[node] = value
    return [values[node] for node in graph.outputs]


def _moved(
    node: Node, typed: Node, value: Array, operands: Sequence[Array], sizes: Any,
    rng: np.random.Generator,
) -> Array:  # fmt: skip
    """`value` with an error of SLACK units either way, in the size of what was added up."""
    if node.op in EXACT or node.kind is Kind.MOVEMENT:
        return value
    if node.op == "cast" and node.dtype.itemsize >= node.inputs[0].dtype.itemsize:
        return value
    size = np.abs(value)
    if node.op in ("add", "sub"):
        # A product that is added unrounded (fma) differs by the rounding of that product.
        size = np.maximum(np.abs(operands[0]), np.abs(operands[1]))
    elif node.op in ("sum", "contract", "scatter_add"):
        size = OPS[node.op].evaluate(sizes, typed, *map(_absolute, operands))
    slack = SLACK_OF_HALVES if node.dtype.itemsize == 2 else SLACK
    unit = slack * float(ml_dtypes.finfo(node.dtype.numpy).eps) / 2
    # Of varied size: errors of one size that meet could cancel in every sample.
    signs = rng.integers(0, 2, value.shape) * 2.0 - 1.0
    return np.asarray(value + unit * signs * rng.uniform(0.5, 1.0, value.shape) * size)


def _held(node: Node, value: Array) -> Array:
    """What the declared type holds of the number: near 0 what its subnormal numbers can say;
    infinite where it may not hold it, so that what follows is unsteady."""
    info = ml_dtypes.finfo(node.dtype.numpy)
    size = np.abs(value)
    tiny = np.where(size < float(info.tiny), value, 0.0).astype(node.dtype.numpy)
    value = np.where(size < float(info.tiny), tiny.astype(np.float64), value)
    return np.asarray(np.where(size > float(info.max) / 4, np.copysign(np.inf, value), value))


def _absolute(x: Array) -> Array:
    return np.abs(x) if x.dtype.kind == "f" else x


def faults(got: Array, wanted: Expected) -> str | None:
    """What is wrong with a result: its type, its shape, or its worst element; None if nothing.

    It is held against `wanted.surer()` before anything is called wrong.
    """
    return _fault(got, wanted) and _fault(got, wanted.surer())


def _fault(got: Array, wanted: Expected) -> str | None:
    if str(got.dtype) != wanted.dtype:
        return f"dtype {got.dtype}, not {wanted.dtype}"
    if got.shape != wanted.value.shape:
        return f"shape {got.shape}, not {wanted.value.shape}"
    if not got.size:
        return None
    with np.errstate(all="ignore"):
        if kind_of(got) == "f":
            wrong = ~(np.abs(got.astype(np.float64) - wanted.value) <= wanted.bound)
        else:
            wrong = got != wanted.value
    wrong &= wanted.steady
    if not wrong.any():
        return None
    with np.errstate(all="ignore"):
        if kind_of(got) == "f":
            excess = np.abs(got.astype(np.float64) - wanted.value) / wanted.bound
            excess = np.where(np.isnan(excess), np.inf, excess)
        else:
            excess = np.ones(got.shape)
    place = np.unravel_index(int(np.argmax(np.where(wrong, excess, -1.0))), got.shape)
    at = tuple(int(i) for i in place)
    return (
        f"[{', '.join(map(str, at))}] is {got[at]!r}, not {wanted.value[at]!r} "
        f"± {wanted.bound[at]:.2g} ({int(wrong.sum())} of {got.size} elements are wrong)"
    )
