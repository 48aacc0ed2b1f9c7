"""The rules of simplification: each fires, and keeps value, gradient and dtype."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from graphir import dtypes
from graphir.differentiate import gradients
from graphir.evaluate import evaluate
from graphir.graph import Graph
from graphir.rewrite import copy_graph, simplify
from graphir.rules import RULES
from graphir.sizes import Dim
from graphir.value import Value, cast, contract, reduce, unary
from graphir.verify import verify

N = Dim.symbol("n")
SIZES = {"n": 4}
# Signed zeros, infinities, a NaN, a subnormal and ordinary numbers.
SPECIAL = np.array([1.5, -2.0, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 0.75, 3.0], np.float32)


def bcast(x: Value, shape: tuple[Any, ...], *dims: int) -> Value:
    return x.apply("broadcast", shape=shape, dims=dims)


@dataclass(frozen=True)
class Example:
    """A function of inputs of these shapes that `rule` simplifies.

    `ops` is what is left, inputs and constants aside. Inexact rules are compared on ordinary
    numbers and up to rounding.
    """

    rule: str
    shapes: tuple[tuple[Any, ...], ...]
    function: Callable[..., Value]
    ops: str
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.rule}-{self.ops.replace(' ', ',')}"


V: tuple[Any, ...] = (10,)
EXAMPLES = [
    Example("copy", (V,), lambda x: x.apply("copy", tag=0), ""),
    Example("stop_gradient", (V,), lambda x: x.apply("stop_gradient"), ""),
    Example("custom_vjp", (V,), lambda x: x.apply("custom_vjp", rule=None, output=0), ""),
    Example(
        "constants",
        (V,),
        lambda x: x + bcast(unary("exp", x.scalar(0.5, x.element)), V),
        "broadcast add",
        exact=False,
    ),
    Example("constants", (V,), lambda x: x * cast(x.scalar(0.1), x.element), "broadcast mul"),
    Example("of nothing", ((3, 0),), lambda x: x * x, "broadcast"),
    Example("of nothing", ((3, 0),), lambda x: x.apply("amax", axes=(1,)), "broadcast"),
    Example("of nothing", ((),), lambda x: bcast(x, (0,)).apply("amax", axes=(0,)), ""),
    Example("of nothing", ((3, 0), (0, 2)), lambda x, y: contract(x, y, "nd,dk->nk"), "broadcast"),
    Example(
        "of nothing",
        ((0, 2),),
        lambda x: x.apply("embed", axis=0, start=1, step=1, length=3),
        "broadcast",
    ),
    Example("x+(-0)", (V,), lambda x: x + -0.0, ""),
    Example("x+(-0)", (V,), lambda x: -0.0 + x, ""),
    Example("x-0", (V,), lambda x: x - 0.0, ""),
    Example("x*1", (V,), lambda x: x * 1.0, ""),
    Example("x*1", (V,), lambda x: 1 * x, ""),
    Example("x/1", (V,), lambda x: x / 1, ""),
    Example("x*-1", (V,), lambda x: x * -1.0, "neg"),
    Example("x*-1", (V,), lambda x: -1.0 * x, "neg"),
    Example("x*-1", (V,), lambda x: x / -1.0, "neg"),
    Example("-(-x)", (V,), lambda x: (-x).apply("neg"), ""),
    Example("x+(-y)", (V, V), lambda x, y: x + (-y), "sub"),
    Example("x+(-y)", (V, V), lambda x, y: (-x) + y, "sub"),
    Example("x+(-y)", (V, V), lambda x, y: x - (-y), "add"),
    Example("(-x)*(-y)", (V, V), lambda x, y: (-x) * (-y), "mul"),
    Example("(-x)*(-y)", (V, V), lambda x, y: (-x) / (-y), "div"),
    Example("x/2^k", (V,), lambda x: x / 4.0, "broadcast mul"),
    Example("x/2^k", (V,), lambda x: x / -0.5, "broadcast mul"),
    Example("x^c", (V,), lambda x: x.apply("pow", bcast(x.scalar(1.0, x.element), V)), ""),
    Example("x^c", (V,), lambda x: x.apply("pow", bcast(x.scalar(2.0, x.element), V)), "mul"),
    Example(
        "x^c",
        (V,),
        lambda x: x.apply("pow", bcast(x.scalar(0.5, x.element), V)),
        "sqrt",
        exact=False,
    ),
    Example(
        "x^c",
        (V,),
        lambda x: x.apply("pow", bcast(x.scalar(-1.0, x.element), V)),
        "broadcast div",
        exact=False,
    ),
    Example("cast", (V,), lambda x: x.apply("cast", dtype=dtypes.float32), ""),
    Example("cast", (V,), lambda x: cast(cast(x, dtypes.float64), dtypes.float32), ""),
    Example("cast", (V,), lambda x: cast(cast(x, dtypes.float64), dtypes.float16), "cast"),
    Example(
        "not not",
        (V,),
        lambda x: (x > 1.0).apply("logical_not").apply("logical_not"),
        "broadcast gt",
    ),
    Example(
        "where",
        (V, V),
        lambda x, y: bcast(x.scalar(True, dtypes.bool_), V).apply("where", x, y),
        "",
    ),
    Example(
        "where",
        (V, V),
        lambda x, y: bcast(x.scalar(False, dtypes.bool_), V).apply("where", x, y),
        "",
    ),
    Example("where", (V,), lambda x: (x > 0.0).apply("where", x, x), ""),
    Example(
        "where", (V, V), lambda x, y: (x > y).apply("logical_not").apply("where", x, y), "gt where"
    ),
    Example(
        "op of broadcasts",
        ((3,), (3,)),
        lambda x, y: bcast(x, (N, 3), 1) + bcast(y, (N, 3), 1),
        "add broadcast",
    ),
    Example(
        "op of broadcasts",
        ((3,), ()),
        lambda x, s: bcast(x, (3, N), 0) * bcast(s, (3, N)),
        "broadcast mul broadcast",
    ),
    Example("op of broadcasts", ((),), lambda s: unary("exp", bcast(s, (N, 3))), "exp broadcast"),
    Example(
        "broadcast", ((3,),), lambda x: bcast(bcast(x, (3, 2), 0), (2, N, 3, 2), 2, 3), "broadcast"
    ),
    Example("broadcast", ((N, 3),), lambda x: bcast(x, (N, 3), 0, 1), ""),
    Example(
        "reshape",
        ((N, 4),),
        lambda x: x.apply("reshape", shape=(N, 2, 2)).apply("reshape", shape=(N * 4,)),
        "reshape",
    ),
    Example(
        "reshape",
        ((N, 4),),
        lambda x: x.apply("reshape", shape=(N, 2, 2)).apply("reshape", shape=(N, 4)),
        "",
    ),
    Example(
        "reshape of broadcast",
        ((),),
        lambda s: bcast(s, (2, 3)).apply("reshape", shape=(6,)),
        "broadcast",
    ),
    Example(
        "reshape of broadcast",
        ((3,),),
        lambda x: bcast(x, (3, 1, N), 0).apply("reshape", shape=(1, 3, N)),
        "broadcast",
    ),
    Example("permute", ((2, 3),), lambda x: x.apply("permute", order=(0, 1)), ""),
    Example(
        "permute",
        ((2, 3, 4),),
        lambda x: x.apply("permute", order=(2, 0, 1)).apply("permute", order=(0, 2, 1)),
        "permute",
    ),
    Example(
        "permute",
        ((2, 3, 4),),
        lambda x: x.apply("permute", order=(2, 0, 1)).apply("permute", order=(1, 2, 0)),
        "",
    ),
    Example(
        "permute",
        ((3,),),
        lambda x: bcast(x, (3, N), 0).apply("permute", order=(1, 0)),
        "broadcast",
    ),
    Example(
        "permute",
        ((3, 2),),
        lambda x: bcast(x, (3, 2, N), 0, 1).apply("permute", order=(2, 1, 0)),
        "permute broadcast",
    ),
    Example("slice", ((N, 3),), lambda x: x.apply("slice", axis=1, start=0, step=1, length=3), ""),
    Example(
        "slice",
        ((3,),),
        lambda x: bcast(x, (3, 5), 0).apply("slice", axis=1, start=4, step=-2, length=2),
        "broadcast",
    ),
    Example(
        "slice",
        ((3,),),
        lambda x: bcast(x, (5, 3), 1).apply("slice", axis=1, start=2, step=-1, length=2),
        "slice broadcast",
    ),
    Example("reduce nothing", ((N, 3),), lambda x: x.apply("amax", axes=()), ""),
    Example(
        "reduce twice",
        ((2, N, 3),),
        lambda x: x.apply("sum", axes=(1,)).apply("sum", axes=(1,)),
        "sum",
        exact=False,
    ),
    Example(
        "reduce twice",
        ((2, N, 3),),
        lambda x: x.apply("amax", axes=(0,)).apply("amax", axes=(1,)),
        "amax",
    ),
    Example(
        "reduce reshaped",
        ((N, 4),),
        lambda x: x.apply("reshape", shape=(N * 4,)).apply("sum", axes=(0,)),
        "sum",
        exact=False,
    ),
    Example(
        "reduce permuted",
        ((2, N, 3),),
        lambda x: x.apply("permute", order=(2, 0, 1)).apply("amin", axes=(2,)),
        "amin permute",
    ),
    Example(
        "reduce broadcast",
        ((3,),),
        lambda x: bcast(x, (N, 3), 1).apply("sum", axes=(0,)),
        "size cast broadcast mul",
        exact=False,
    ),
    Example(
        "reduce broadcast",
        ((3,),),
        lambda x: bcast(x, (5, 3), 1).apply("sum", axes=(0, 1)),
        "sum mul",
        exact=False,
    ),
    Example(
        "reduce broadcast",
        ((3,),),
        lambda x: bcast(x, (5, 3, 2), 1).apply("sum", axes=(0,)),
        "broadcast mul broadcast",
        exact=False,
    ),
    Example(
        "reduce broadcast", ((3,),), lambda x: bcast(x, (N, 3), 1).apply("amax", axes=(0,)), ""
    ),
    Example(
        "reduce broadcast",
        ((3, 2),),
        lambda x: bcast(x, (3, N, 2), 0, 2).apply("amin", axes=(0, 1)),
        "amin",
    ),
    Example(
        "contract permuted",
        ((3, N), (3, 2)),
        lambda x, w: contract(x.apply("permute", order=(1, 0)), w, "nd,dk->nk"),
        "contract",
    ),
    Example(
        "contract permuted",
        ((N, 3), (2, 3)),
        lambda x, w: contract(x, w.apply("permute", order=(1, 0)), "nd,dk->kn"),
        "contract",
    ),
    Example(
        "contract broadcast",
        ((3,), (3, 2)),
        lambda x, w: contract(bcast(x, (N, 3), 1), w, "nd,dk->nk"),
        "contract broadcast",
        exact=False,
    ),
    Example(
        "contract broadcast",
        ((N, 3), ()),
        lambda x, s: contract(bcast(s, (N,)), x, "n,nd->d"),
        "sum broadcast mul",
        exact=False,
    ),
    Example(
        "contract broadcast",
        ((3,), (2, 3, 4)),
        lambda x, y: contract(bcast(x, (2, 3), 1), y, "bd,bdk->bk"),
        "contract",
        exact=False,
    ),
    Example(
        "contract nothing",
        ((N,), (3,)),
        lambda x, y: contract(x, y, "n,k->kn"),
        "broadcast broadcast mul",
    ),
    Example(
        "sum of product",
        ((N, 3), (3,)),
        lambda x, w: (x * bcast(w, (N, 3), 1)).apply("sum", axes=(1,)),
        "contract",
        exact=False,
    ),
    Example(
        "sum of product",
        ((N, 3), (3, 2)),
        lambda x, w: (bcast(x, (N, 3, 2), 0, 1) * bcast(w, (N, 3, 2), 1, 2)).apply(
            "sum", axes=(1,)
        ),
        "contract",
        exact=False,
    ),
]
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
    assert ops_after(lambda k: k.apply("pow", bcast(k.scalar(2, I32), (4,))), ((4,), I32)) == [
        "mul"
    ]


def test_a_known_size_is_a_constant() -> None:
    g = Graph()
    g.outputs = [g.add("size", size=7)]
    assert str(simplify(g)) == "graph()\n  return 7"
