"""The driver of simplification: common subexpressions, what comes along, whole graphs, speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from counting import count_calls

from graphir import dtypes
from graphir.differentiate import gradients
from graphir.errors import Location
from graphir.evaluate import evaluate
from graphir.graph import Graph, IndexRange, Node, Pruned
from graphir.rewrite import copy_graph, rebuild, rebuild_with_map
from graphir.simplify import simplify
from graphir.sizes import Dim
from graphir.value import Value, contract, reduce, unary
from graphir.verify import verify

N = Dim.symbol("n")
F32 = dtypes.float32


def bcast(x: Value, shape: tuple[Any, ...], *dims: int) -> Value:
    return x.apply("broadcast", shape=shape, dims=dims)


def test_common_subexpressions_are_one_node() -> None:
    g = Graph()
    x = Value(g, g.add_input((4,), F32, "x"))
    g.outputs = [(unary("exp", x * 1.0) * unary("exp", (-x).apply("neg"))).node]
    s = simplify(g, check=True)
    assert [n.op for n in s.nodes] == ["input", "exp", "mul"]


# -- rebuilding -----------------------------------------------------------------------------------


def decorated() -> Graph:
    g = Graph(hints={"n": 4}, notes=["a note"])
    with g.located([Location("m.py", 1)]):
        x = Value(g, g.add_input((N, 3), F32, "x"))
        g.add_input((), F32, "unused")
        ids = g.add_input((2,), dtypes.int64, "ids")
        held = g.add_input((3,), F32, "held")
    g.captured[held] = np.ones(3, np.float32)
    with g.located([Location("m.py", 2)]):
        y = x * bcast(x.scalar(1.0, F32), (N, 3))
    with g.located([Location("m.py", 3)]):
        z = unary("exp", y)
    with g.located([Location("m.py", 4)]):
        again = unary("exp", x)
        dead = g.add("log", x.node)
    rows = z.apply("take", Value(g, ids))
    g.names[z.node] = "z"
    g.ranges = [IndexRange(ids, 0, 4, Location("m.py", 5))]
    g.pruned = [Pruned(x.node, "data"), Pruned(y.node, "same"), Pruned(dead, "no path")]
    g.outputs = [
        rows.node,
        (again + Value(g, held).apply("broadcast", shape=(N, 3), dims=(1,))).node,
        z.node,
    ]
    return g


def test_everything_comes_along() -> None:
    g = decorated()
    s = simplify(g, check=True)
    assert [s.names[x] for x in s.inputs] == ["x", "unused", "ids", "held"]
    assert [x.type for x in s.inputs] == [x.type for x in g.inputs]
    exp = next(n for n in s.nodes if n.op == "exp")
    assert s.outputs[2] is exp
    assert s.names[exp] == "z"
    assert [loc.line for loc in s.locations[exp]] == [3, 4]
    assert [loc.line for loc in s.locations[s.inputs[0]]] == [1]
    assert s.captured.keys() == {s.inputs[3]}
    assert [(r.node, r.low, r.high) for r in s.ranges] == [(s.inputs[2], 0, 4)]
    assert s.pruned == [Pruned(s.inputs[0], "data")]
    assert s.hints == {"n": 4}
    assert s.notes == ["a note", "pruned log at m.py:4: no path"]
    assert all(n.op != "log" for n in s.nodes)


def test_a_copy_is_equal_and_its_own() -> None:
    g = decorated()
    c = copy_graph(g)
    verify(c, "copy")
    assert [n.op for n in c.live()] == [n.op for n in g.live()]
    assert not set(c.nodes) & set(g.nodes)
    assert str(copy_graph(c)) == str(c)


def test_rebuild_with_a_replacement() -> None:
    g = decorated()

    def replace(new: Graph, node: Node, operands: tuple[Node, ...]) -> Node | None:
        return new.add("sin", *operands) if node.op == "exp" else None

    swapped, mapping = rebuild_with_map(g, replace)
    verify(swapped, "rebuild")
    assert {n.op for n in swapped.nodes} >= {"sin"}
    assert all(n.op != "exp" for n in swapped.nodes)
    assert mapping[g.outputs[2]] is swapped.outputs[2]
    assert str(rebuild(g, replace)) == str(swapped)


# -- the whole ------------------------------------------------------------------------------------


def random_graph(seed: int) -> Graph:
    """A few dozen random nodes over all kinds of ops, with the numbers that rules look for."""
    rng = np.random.default_rng(seed)
    g = Graph()
    pool = [
        Value(g, g.add_input(s, dtypes.float64, f"x{i}"))
        for i, s in enumerate([(N, 3), (3,), (), (3, 2), (N,)])
    ]
    for _ in range(40):
        x = pool[int(rng.integers(len(pool)))]
        rank = x.ndim
        numbers = [1.0, -1.0, 0.0, -0.0, 2.0, 0.5]
        choice = int(rng.integers(9))
        if choice == 0:
            y = [lambda a: -a, lambda a: unary("tanh", a), lambda a: a.apply("copy", tag=seed)][
                int(rng.integers(3))
            ](x)
        elif choice == 1:
            y = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b][int(rng.integers(3))](
                x, numbers[int(rng.integers(6))]
            )
        elif choice == 2:
            same_shape = [p for p in pool if p.sizes == x.sizes]
            other = same_shape[int(rng.integers(len(same_shape)))]
            y = x.apply(str(rng.choice(["add", "sub", "mul", "maximum"])), other)
        elif choice == 3 and rank < 3:
            at = int(rng.integers(rank + 1))
            shape = (*x.sizes[:at], [2, 3, N][int(rng.integers(3))], *x.sizes[at:])
            y = bcast(x, shape, *(i for i in range(rank + 1) if i != at))
        elif choice == 4 and rank:
            axes = tuple(i for i in range(rank) if rng.random() < 0.6)
            y = x.apply(str(rng.choice(["sum", "amax", "amin"])), axes=axes)
        elif choice == 5 and rank > 1:
            y = x.apply("permute", order=tuple(int(i) for i in rng.permutation(rank)))
        elif choice == 6 and 0 < rank < 3:
            y = x.apply("reshape", shape=(1, *x.sizes) if rng.random() < 0.5 else (*x.sizes, 1))
        elif choice == 7:
            y = (x > 0.25).apply("where", x, -x)
        else:
            w = pool[int(rng.integers(len(pool)))]
            letters = dict(zip((3, 2, N, 1), "abcd", strict=True))
            lhs, rhs = ("".join(letters[s] for s in v.sizes) for v in (x, w))
            if len(set(lhs)) < len(lhs) or len(set(rhs)) < len(rhs):
                continue
            out = sorted({*lhs, *rhs} - {r for r in lhs if r in rhs and rng.random() < 0.5})
            y = contract(x, w, f"{lhs},{rhs}->{''.join(out)}")
        # Tame, so that sums of products stay of order one.
        pool.append(unary("sin", y) if rng.random() < 0.3 else y)
    loss = reduce("sum", unary("tanh", pool[-1]), None)
    for x in pool[-6:-1]:
        loss = loss + reduce("sum", unary("tanh", x), None)
    g.outputs = [loss.node, *(p.node for p in pool[-3:])]
    g.outputs += [v.node for v in gradients(loss, pool[:5])]
    return g


@pytest.mark.parametrize("seed", range(150))
def test_random_graphs_keep_their_meaning(seed: int) -> None:
    g = random_graph(seed)
    verify(g, "random")
    s = simplify(g, check=True)
    assert len(s.nodes) <= len(g.nodes)
    assert str(simplify(s)) == str(s)
    rng = np.random.default_rng(seed)
    point = [
        rng.uniform(-1, 1, [4 if isinstance(d, Dim) else d for d in x.shape]) for x in g.inputs
    ]
    for a, b in zip(evaluate(g, point), evaluate(s, point), strict=True):
        scale = max(1.0, float(np.max(np.abs(a), initial=0)))
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * scale)


def test_work_is_linear_in_the_nodes() -> None:
    def work(links: int) -> int:
        g = Graph()
        x = Value(g, g.add_input((N,), F32, "x"))
        y = x
        for i in range(links):
            y = unary("sin", (y * 1.0 + float(i % 7)).apply("copy", tag=i))
        g.outputs = [y.node]
        assert len(g.nodes) > 4 * links
        return count_calls(lambda: simplify(g))

    assert work(2500) < 2.2 * work(1250)
