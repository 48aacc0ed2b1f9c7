"""Random numbers with an explicit seed, inside and outside of traced functions.

    with graphir.random.seed(key):      # a number, or an argument of the traced function
        h = F.dropout(h, 0.1)

The same seed gives the same numbers on every backend (normal ones up to rounding). Each draw of a
`with` block has a number of its own, so two draws never agree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import networkx as nx

from . import dtypes
from .composites import where
from .dtypes import DType, dtype_of
from .errors import DTypeError, ShapeError, UnsupportedError
from .evaluate import evaluate
from .graph import Graph, Node
from .selection import iota
from .sizes import Dim, Shape, Size, numel
from .symbolic import SymbolicSize, unwrap_size
from .value import Value, binary, cast, unary


@dataclass
class _Stream:
    seed: Any
    draws: int = 0


_CURRENT: ContextVar[_Stream | None] = ContextVar("graphir_seed", default=None)


@dataclass(frozen=True)
class Examples:
    """The examples that a `vmap` maps over, for the draws inside.

    Attributes:
        randomness: "error", "same" or "different".
        number: which example it is, as a traced whole number.
        size: how many there are.
        given: the nodes of one example's arguments.
    """

    randomness: str
    number: Value
    size: Size
    given: frozenset[Node]


_EXAMPLES: ContextVar[tuple[Examples, ...]] = ContextVar("graphir_examples", default=())


@contextmanager
def examples(one: Examples) -> Iterator[None]:
    """Draws inside are of one example of several."""
    token = _EXAMPLES.set((*_EXAMPLES.get(), one))
    try:
        yield
    finally:
        _EXAMPLES.reset(token)


# The second number of a draw that needs two.
_SECOND = 1 << 32


@contextmanager
def seed(key: Any) -> Iterator[None]:
    """Draws inside (dropout, rand_like, …) come from `key`: a whole number or a traced one."""
    token = _CURRENT.set(_Stream(key))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def rand(*shape: Any, seed: Any, call: int = 0, dtype: Any = None, like: Any = None) -> Any:
    """Numbers from [0, 1), evenly spread.

    Args:
        shape: sizes, or one tuple of them.
        seed: a whole number, or a traced one.
        call: tells several draws from one seed apart.
        dtype: float32 by default.
        like: a traced value of the trace to draw in, where neither seed nor sizes are traced.

    Returns:
        A traced value, or a NumPy array where nothing given is traced.
    """
    return _draw(uniform, shape, seed, call, dtype, like)


def randn(*shape: Any, seed: Any, call: int = 0, dtype: Any = None, like: Any = None) -> Any:
    """Numbers from the normal distribution of mean 0 and variance 1. Arguments as for `rand`."""
    return _draw(normal, shape, seed, call, dtype, like)


def _draw(kind: Any, shape: Sequence[Any], seed: Any, call: int, dtype: Any, like: Any) -> Any:
    given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    wanted = dtypes.float32 if dtype is None else dtype_of(dtype)
    traced = next((x for x in (like, seed) if isinstance(x, Value)), None)
    symbolic = next((s for s in given if isinstance(s, SymbolicSize)), None)
    if traced is None and symbolic is not None:
        traced = symbolic.value()
    sizes = tuple(unwrap_size(s) for s in given)
    if traced is not None:
        return kind(traced, sizes, wanted, seed, call)
    graph = Graph()
    anchor = Value(graph, graph.constant(0, dtypes.int64))
    graph.outputs = [kind(anchor, sizes, wanted, seed, call).node]
    return evaluate(graph, [])[0]


def _places(like: Value, shape: Shape) -> Value:
    """The place of each element in row-major order."""
    total: Value = like.scalar(0, dtypes.int64)
    stride: Size = 1
    for axis in reversed(range(len(shape))):
        along = iota(like, shape[axis])
        if stride != 1:
            along = along * _number(like, stride)
        along = along.apply("reshape", shape=(shape[axis], *(1,) * (len(shape) - 1 - axis)))
        total = binary("add", along, total)
        stride = stride * shape[axis]
    return total


def _number(like: Value, size: Size) -> Any:
    return SymbolicSize(like.graph, size, type(like)).value() if isinstance(size, Dim) else size


def _bits(like: Value, shape: Shape, key: Any, call: int) -> Value:
    place = _places(like, shape)
    seed = key.node if isinstance(key, Value) else None
    total = numel(shape)
    for one in reversed(_EXAMPLES.get()):
        before = set() if seed is None else nx.ancestors(like.graph.nx, seed) | {seed}
        if before & one.given or one.randomness == "same":
            continue
        if one.randomness == "error":
            raise UnsupportedError(
                "vmap",
                "random numbers are drawn inside vmap, the same or different ones for each example",
                hint='say which, vmap(fn, randomness="different"), or map over an array of seeds',
            )
        # As if one draw were made for all examples.
        place = binary("add", place, one.number * _number(like, total))
        total = total * one.size
    others = []
    for number in (key, call):
        x = like.lift(number)
        if x.element.kind != "i" or x.ndim:
            raise DTypeError(
                f"a seed must be one whole number, got {x.node.type}", hint="pass an int"
            )
        x = cast(x, dtypes.int64)
        others.append(x.apply("broadcast", shape=shape, dims=()) if shape else x)
    return place.apply("random_bits", *others)


def uniform(like: Value, shape: Shape, dtype: DType, key: Any, call: int) -> Value:
    """`rand` in the graph of `like`. A float32 has the leading 24 of a float64's 53 bits."""
    if not dtype.is_float:
        raise DTypeError(f"rand: a floating dtype is expected, got {dtype}")
    kept = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}[dtype.name]
    bits = _bits(like, shape, key, call)
    if kept < 53:
        bits = binary("quotient", bits, 2 ** (53 - kept))
    return cast(bits, dtype) * 2.0**-kept


def normal(like: Value, shape: Shape, dtype: DType, key: Any, call: int) -> Value:
    """`randn` in the graph of `like`, by Box and Muller."""
    radius = unary("sqrt", -2.0 * unary("log", 1.0 - uniform(like, shape, dtype, key, call)))
    turn = uniform(like, shape, dtype, key, call + _SECOND)
    return radius * unary("cos", turn * (2 * math.pi))


def _next(name: str) -> tuple[Any, int]:
    stream = _CURRENT.get()
    if stream is None:
        raise UnsupportedError(
            name,
            f"{name} draws random numbers, which need an explicit seed inside a traced function",
            hint="put it under `with graphir.random.seed(key):`, where key is an argument",
        )
    stream.draws += 1
    return stream.seed, stream.draws - 1


def rand_like(x: Value, dtype: DType | None = None) -> Value:
    """Numbers from [0, 1) in the shape of `x`, from the seed of the `with` block."""
    return uniform(x, x.sizes, dtype or x.element, *_next("rand_like"))


def randn_like(x: Value, dtype: DType | None = None) -> Value:
    """Normal numbers in the shape of `x`, from the seed of the `with` block."""
    return normal(x, x.sizes, dtype or x.element, *_next("randn_like"))


def bernoulli(x: Value) -> Value:
    """1 with the probability that each element says, else 0."""
    drawn = uniform(x, x.sizes, x.element, *_next("bernoulli"))
    return cast(drawn < x, x.element)


def dropout(x: Value, p: float = 0.5, training: bool = True) -> Value:
    """Zeros with probability `p`, and the rest scaled up by 1 / (1 - p).

    Raises:
        UnsupportedError: in training without a seed.
        ShapeError: for a probability outside [0, 1].
    """
    if not 0 <= p <= 1:
        raise ShapeError(f"dropout: a probability between 0 and 1 is expected, got {p}")
    if not training or p == 0:
        return x
    drawn = uniform(x, x.sizes, dtypes.float32, *_next("dropout"))
    return where(drawn >= p, x * (1 / (1 - p) if p < 1 else 0.0), 0.0)
