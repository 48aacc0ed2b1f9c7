"""Dumps, against fixed text."""

from __future__ import annotations

from textwrap import dedent

import pytest

from graphir import dtypes
from graphir.differentiate import gradients
from graphir.dump import dump, format_constant
from graphir.errors import Location
from graphir.graph import Graph
from graphir.sizes import Dim
from graphir.value import Value, contract, reduce


def golden() -> Graph:
    g = Graph()
    n = Dim.symbol("n")
    x = Value(g, g.add_input((n, 3), dtypes.float32, "x"))
    w = Value(g, g.add_input((3,), dtypes.float32, "w"))
    b = Value(g, g.add_input((), dtypes.float32, "b"))
    y = Value(g, g.add_input((n,), dtypes.float32, "y"))
    with g.located([Location("/home/me/train.py", 17)]):
        r = contract(x, w, "nd,d->n") - y
    with g.located([Location("/home/me/train.py", 18)]):
        loss = reduce("sum", (r > 0.5).apply("where", r * r, r), None)
        g.add("exp", w.node)
    g.outputs = [loss.node, *(d.node for d in gradients(loss, [w, b]))]
    return g


def test_a_model_before_it_is_differentiated() -> None:
    g = golden()
    g.outputs = g.outputs[:1]
    g.pruned, g.notes = [], []
    assert dump(g) == dedent("""\
        graph(x: f32(n, 3), w: f32(3,), b: f32(), y: f32(n,))
          %4 = contract(x, w, "nd,d->n")   f32(n,)   train.py:17
          %5 = sub(%4, y)                  f32(n,)   train.py:17
          %7 = cast(0.5)                   f32()     train.py:18
          %8 = broadcast(%7, dims=())      f32(n,)   train.py:18
          %9 = gt(%5, %8)                  b1(n,)    train.py:18
          %10 = mul(%5, %5)                f32(n,)   train.py:18
          %11 = where(%9, %10, %5)         f32(n,)   train.py:18
          %12 = sum(%11, axes=(0,))        f32()     train.py:18
          return %12""")


def test_a_model_with_its_gradient() -> None:
    assert dump(golden()) == dedent("""\
        graph(x: f32(n, 3), w: f32(3,), b: f32(), y: f32(n,))
          %4 = contract(x, w, "nd,d->n")      f32(n,)   train.py:17
          %5 = sub(%4, y)                     f32(n,)   train.py:17
          %7 = cast(0.5)                      f32()     train.py:18
          %8 = broadcast(%7, dims=())         f32(n,)   train.py:18
          %9 = gt(%5, %8)                     b1(n,)    train.py:18
          %10 = mul(%5, %5)                   f32(n,)   train.py:18
          %11 = where(%9, %10, %5)            f32(n,)   train.py:18
          %12 = sum(%11, axes=(0,))           f32()     train.py:18
          %15 = broadcast(1.0, dims=())       f32(n,)   train.py:18
          %17 = broadcast(0.0, dims=())       f32(n,)   train.py:18
          %18 = where(%9, %15, %17)           f32(n,)   train.py:18
          %19 = where(%9, %17, %15)           f32(n,)   train.py:18
          %20 = mul(%18, %5)                  f32(n,)   train.py:18
          %21 = add(%19, %20)                 f32(n,)   train.py:18
          %22 = add(%21, %20)                 f32(n,)   train.py:18
          %23 = contract(x, %22, "nd,n->d")   f32(3,)   train.py:17
          return %12, %23, 0.0
        pruned:
          `x` is data: no gradient was asked for it
          b: no path to the loss
          `y` is data: no gradient was asked for it
          %9 gt (train.py:18): the comparison has no derivative
          %13 exp (train.py:18): no path to the loss
        notes:
          parameter `b` does not reach the loss: its gradient is zero""")


def test_it_is_stable_and_the_graph_s_str() -> None:
    assert dump(golden()) == str(golden())


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (2.0, dtypes.float32, "2.0"),
        (0.1, dtypes.float32, "0.1"),
        (-0.0, dtypes.float64, "-0.0"),
        (1e-12, dtypes.float64, "1e-12"),
        (1e30, dtypes.float32, "1e+30"),
        (float("inf"), dtypes.float32, "inf"),
        (float("nan"), dtypes.float32, "nan"),
        (7, dtypes.int64, "7"),
        (True, dtypes.bool_, "true"),
    ],
)
def test_constants_are_numbers(value: float, dtype: dtypes.DType, text: str) -> None:
    assert format_constant(Graph().constant(value, dtype)) == text


def test_several_lines_and_attributes() -> None:
    g = Graph()
    x = Value(g, g.add_input((4, 2), dtypes.int32, "x"))
    for line in (9, 3):
        with g.located([Location("m.py", line)]):
            y = x.apply("permute", order=(1, 0))
    g.outputs = [y.apply("slice", axis=1, start=3, step=-1, length=4).node]
    lines = dump(g).splitlines()
    assert lines[1].split("   ")[0] == "  %1 = permute(x, order=(1, 0))"
    assert lines[1].endswith("i32(2, 4)   m.py:3, m.py:9")
    assert lines[2].startswith("  %2 = slice(%1, axis=1, start=3, step=-1, length=4)   i32(2, 4)")
