"""The rules of simplification: each fires, and keeps value, gradient and dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rule_examples import EXAMPLES, Example, N, bcast

from graphir import dtypes
from graphir.differentiate import gradients
from graphir.evaluate import evaluate
from graphir.graph import Graph
from graphir.rewrite import copy_graph
from graphir.rules import RULES
from graphir.simplify import simplify
from graphir.sizes import Dim
from graphir.value import Value, cast, reduce
from graphir.verify import verify

SIZES = {"n": 4}
# Signed zeros, infinities, a NaN, a subnormal and ordinary numbers.
SPECIAL = np.array([1.5, -2.0, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 0.75, 3.0], np.float32)


_CONST_SIZE = {"size"}


def build(example: Example) -> Graph:
    """The function, and the gradient of its sum where it has one."""
    g = Graph()
    xs = [
        Value(g, g.add_input(shape, dtypes.float32, f"x{i}"))
        for i, shape in enumerate(example.shapes)
    ]
    # It says what n is where no operand does.
    g.add_input((N,), dtypes.float32, "rows")
    y = example.function(*xs)
    g.outputs = [y.node]
    if y.element.is_float:
        loss = reduce("sum", y * y, None)
        g.outputs += [v.node for v in gradients(loss, xs)]
    verify(g, "build")
    return g


def draw(g: Graph, *, special: bool) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    out = []
    for node in g.inputs:
        shape = tuple(SIZES["n"] if isinstance(s, Dim) else s for s in node.shape)
        values = rng.choice(SPECIAL, shape) if special else rng.uniform(0.5, 2, shape)
        out.append(np.asarray(values, np.float32))
    return out


def same(a: np.ndarray, b: np.ndarray, *, exact: bool) -> None:
    assert a.dtype == b.dtype
    assert a.shape == b.shape
    if exact:
        np.testing.assert_array_equal(a, b)
        zero = a == 0
        np.testing.assert_array_equal(np.signbit(a)[zero], np.signbit(b)[zero])
    else:
        tolerance = 2e-3 if a.dtype == np.float16 else 1e-6
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_every_rule_has_an_example() -> None:
    assert {e.rule for e in EXAMPLES} | _CONST_SIZE == {rule.name for rule in RULES}
    assert all(rule.why for rule in RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_the_rule_fires(example: Example) -> None:
    g = build(example)
    g.outputs = g.outputs[:1]
    rows = [rule for rule in RULES if rule.name == example.rule]
    if example.rule != "constants":
        # Promotion casts the numbers that other rules look for.
        g = simplify(g, [rule for rule in RULES if rule.name == "constants"])
    assert str(simplify(g, rows)) != str(copy_graph(g))
    left = simplify(g, check=True)
    ops = [n.op for n in left.live() if n.op not in ("input", "constant")]
    assert " ".join(ops) == example.ops


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_value_gradient_and_dtype_stay(example: Example) -> None:
    g = build(example)
    s = simplify(g, check=True)
    # Ordinary numbers always; gradients pass through several rules, so they are not bit-equal.
    point = draw(g, special=False)
    for i, (a, b) in enumerate(zip(evaluate(g, point), evaluate(s, point), strict=True)):
        same(a, b, exact=example.exact and i == 0)
    if example.exact:
        point = draw(g, special=True)
        same(evaluate(g, point)[0], evaluate(s, point)[0], exact=True)


def ops_after(
    function: Callable[..., Value], *inputs: tuple[tuple[Any, ...], dtypes.DType]
) -> list[str]:
    g = Graph()
    xs = [Value(g, g.add_input(shape, dtype, f"x{i}")) for i, (shape, dtype) in enumerate(inputs)]
    g.outputs = [function(*xs).node]
    return [n.op for n in simplify(g, check=True).live() if n.op not in ("input", "constant")]


F16, F32, I32 = dtypes.float16, dtypes.float32, dtypes.int32


@pytest.mark.parametrize(
    ("function", "shape", "dtype", "kept"),
    [
        (lambda x: x + 0.0, (4,), F32, "add"),  # -0.0 + 0.0 is 0.0
        (lambda x: x - -0.0, (4,), F32, "sub"),
        (lambda x: x * 0.0, (4,), F32, "mul"),  # NaN stays NaN
        (lambda x: x / 3.0, (4,), F32, "div"),
        (lambda x: x / 2.0**130, (4,), F32, "div"),  # its reciprocal is subnormal
        (lambda x: cast(cast(x, F16), F32), (4,), F32, "cast"),  # it rounds
        (lambda x: bcast(x, (70_000,)).apply("sum", axes=(0,)), (), F16, "sum"),
        (lambda x: bcast(x, (N - 1,)).apply("sum", axes=(0,)), (), F32, "sum"),  # n may be 1
        (lambda x: (x * x).apply("sum", axes=(1,)), (4, 3), F32, "sum"),
        (
            lambda x: (x * bcast(x.apply("sum", axes=(1,)), (4, 3), 0)).apply("sum", axes=(1,)),
            (4, 3),
            F32,
            "mul",
        ),
        (
            lambda x: (x * bcast(x.apply("amax", axes=(0,)), (4, 3), 1)).apply("sum", axes=(1,)),
            (4, 3),
            I32,
            "sum",
        ),
    ],
)
def test_what_would_not_be_exact_stays(
    function: Callable[[Value], Value], shape: tuple[Any, ...], dtype: dtypes.DType, kept: str
) -> None:
    assert kept in ops_after(function, (shape, dtype))


def test_whole_numbers_drop_a_plain_zero() -> None:
    assert ops_after(lambda k: (k + 0) * 1 - 0, ((4,), I32)) == []


def test_a_known_size_is_a_constant() -> None:
    g = Graph()
    g.outputs = [g.add("size", size=7)]
    assert str(simplify(g)) == "graph()\n  return 7"


def test_a_sum_of_one_term_at_no_position_is_0() -> None:
    """Beyond both ends of the axis, whatever the term is."""

    def picked(index: Value, v: Value) -> Value:
        positions = type(v)(v.graph, v.graph.add("iota", size=3))
        mask = bcast(index, (N, 3), 0).apply("eq", bcast(positions, (N, 3), 1))
        chosen = mask.apply("where", bcast(v, (N, 3), 0), bcast(v.scalar(0.0, F32), (N, 3)))
        return chosen.apply("sum", axes=(1,))

    g = Graph()
    index, v = g.add_input((N,), dtypes.int64, "index"), g.add_input((N,), F32, "v")
    g.outputs = [picked(Value(g, index), Value(g, v)).node]
    s = simplify(g, check=True)
    assert all(n.op != "sum" for n in s.live())
    at = np.array([-1, 0, 2, 3, 2**40, -(2**40), 1, -1])
    terms = np.array([np.nan, 1.5, np.nan, 2.5, 3.5, np.inf, -np.inf, 4.5], np.float32)
    (wanted,), (got,) = evaluate(g, [at, terms]), evaluate(s, [at, terms])
    np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(got, np.float32([0, 1.5, np.nan, 0, 0, 0, -np.inf, 0]))
