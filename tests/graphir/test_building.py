"""Three ways to build a graph: traced, recorded, and by hand. All end in the same Graph."""

from __future__ import annotations

import doctest
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import graphir
from graphir import building
from graphir.simplify import simplify
from graphir.verify import verify

Array = Any
RNG = np.random.default_rng(0)
X, W = RNG.normal(size=(4, 3)), RNG.normal(size=3)


def body(x: Array, w: Array) -> Array:
    """What all three ways build, on the same lines."""
    z = x @ w
    return np.where(z > 0, np.exp(z), z * z).sum()


def by_tracing() -> graphir.Graph:
    return graphir.trace(body, X, W, dynamic=())


def by_recording() -> graphir.Graph:
    with graphir.record() as tape:
        x, w = tape.watch(X, "x"), tape.watch(W, "w")
        return tape.output(body(x, w))


def by_hand() -> graphir.Graph:
    graph = graphir.Graph()
    graph.output(body(graph.input("x", (4, 3)), graph.input("w", (3,))))
    return graph


def test_three_ways_give_one_dump() -> None:
    traced, recorded, built = by_tracing(), by_recording(), by_hand()
    assert str(traced) == str(recorded) == str(built)
    for graph in (traced, recorded, built):
        assert type(graph) is graphir.Graph
        verify(graph, "building")
        np.testing.assert_allclose(graph(X, W), body(X, W))
    assert str(simplify(traced)) == str(simplify(recorded)) == str(simplify(built))


# -- by hand --------------------------------------------------------------------------------------


def test_the_documented_example() -> None:
    assert doctest.testmod(building).failed == 0
    assert doctest.testmod(building).attempted > 0


def line() -> graphir.Graph:
    graph = graphir.Graph()
    x, w, y = graph.input("x", ("n", 3)), graph.input("w", (3,)), graph.input("y", ("n",))
    residual = graph.op("sub", graph.op("contract", x, w, lhs="nd", rhs="d", out="n"), y)
    squares = graph.op("mul", residual, residual)
    graph.output(graph.op("sum", squares, axes=(0,)), residual)
    return graph


def test_a_graph_is_a_function_of_any_number_of_rows() -> None:
    graph = line()
    assert str(graph).splitlines()[0] == "graph(x: f64(n, 3), w: f64(3,), y: f64(n,))"
    for rows in (1, 4):
        x, y = RNG.normal(size=(rows, 3)), RNG.normal(size=rows)
        total, residual = graph(x, W, y)
        np.testing.assert_allclose(residual, x @ W - y)
        np.testing.assert_allclose(total, ((x @ W - y) ** 2).sum())


@pytest.mark.parametrize("backend", ["reference", "c"])
def test_it_is_differentiated_compiled_and_mapped(backend: str) -> None:
    graph, y = line(), RNG.normal(size=4)

    def total(x: Array, w: Array, y: Array) -> Array:
        return graph(x, w, y)[0]

    found = graphir.compile(graphir.grad(total, argnums=1), backend=backend)(X, W, y)
    np.testing.assert_allclose(found, 2 * X.T @ (X @ W - y))
    value, residual = graphir.compile(graph, backend=backend)(X, W, y)
    np.testing.assert_allclose(residual, X @ W - y)
    found = graphir.vmap(total, (None, 0, None))(X, np.stack([W, 2 * W]), y)
    np.testing.assert_allclose(found, [value, ((2 * X @ W - y) ** 2).sum()])


def test_it_takes_tensors_and_torch_s_functions() -> None:
    graph = graphir.Graph()
    x = graph.input("x", (3,), torch.float32)
    graph.output(F.softplus(x).mean())
    values = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    found = graph(values)
    torch.testing.assert_close(found, F.softplus(values).mean())
    found.backward()
    torch.testing.assert_close(values.grad, torch.sigmoid(values.detach()) / 3)


def test_errors_of_building() -> None:
    graph = graphir.Graph()
    x = graph.input("x", (3,))
    with pytest.raises(graphir.GraphirError, match="an input `x` already"):
        graph.input("x", (3,))
    with pytest.raises(graphir.GraphirError, match="has no outputs"):
        graph(np.ones(3))
    with pytest.raises(graphir.GraphirError, match="a value of this graph"):
        graphir.Graph().output(x)
    graph.output(x * 2)
    with pytest.raises(graphir.ShapeError, match=r"takes 1 arguments \(x\), got 2"):
        graph(np.ones(3), np.ones(3))
    with pytest.raises(graphir.ShapeError, match=r"`x`: shape \(3,\) is expected, got \(4,\)"):
        graph(np.ones(4))
    with pytest.raises(graphir.DTypeError, match="`x`: float64 is expected, got float32"):
        graph(np.ones(3, np.float32))
    with pytest.raises(graphir.ShapeError, match=r"`y`: shape \(n,\) is expected"):
        line()(X, W, np.ones(5))


# -- by recording ---------------------------------------------------------------------------------


def test_values_are_visible_at_once() -> None:
    with graphir.record() as tape:
        a = tape.watch(torch.tensor([1.0, 2.0]), "a")
        b = tape.watch(torch.tensor([3.0, 4.0]), "b")
        c = torch.sum(a * b)
        assert c.item() == 11.0
        assert float(c) == 11.0
        assert repr(c) == "<recorded f32() = 11.>"
        assert f"{c:.2f}" == "11.00"
        assert isinstance(c.value, torch.Tensor)
        assert torch.equal((a * b).value, torch.tensor([3.0, 8.0]))
        # Control flow on numbers.
        while c < 50:
            c = c * 2
    assert c.item() == 88.0
    da, db = tape.gradient(c, [a, b])
    assert torch.equal(da.value, torch.tensor([24.0, 32.0]))
    assert torch.equal(db.value, torch.tensor([8.0, 16.0]))


def test_backward_writes_into_grad() -> None:
    with graphir.record() as tape:
        a = tape.watch(np.array([1.0, 2.0]), "a")
        k = tape.watch(3, "k")
        idle = tape.watch(np.ones(2), "idle")
        c = (a * a * k).sum()
    assert a.grad is None
    tape.backward(c)
    np.testing.assert_allclose(a.grad, [6.0, 12.0])
    np.testing.assert_allclose(idle.grad, [0.0, 0.0])
    assert k.grad is None
    tape.backward(c)
    np.testing.assert_allclose(a.grad, [6.0, 12.0])


def test_gradients_of_what_lies_between_and_of_gradients() -> None:
    with graphir.record() as tape:
        x = tape.watch(2.0, "x")
        y = x**3
        z = np.sin(y)
        slope = tape.gradient(z, x)
        assert tape.gradient(z, y).item() == pytest.approx(np.cos(8.0))
        curve = tape.gradient(slope, x)
    assert slope.item() == pytest.approx(np.cos(8.0) * 12)
    assert curve.item() == pytest.approx(-np.sin(8.0) * 144 + np.cos(8.0) * 12)


def test_trees_closed_over_arrays_and_transformations_inside() -> None:
    rows, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 0])
    with graphir.record() as tape:
        w = tape.watch(torch.zeros(3, 3), "w")
        loss = F.cross_entropy(rows @ w, labels)
        inner = graphir.grad(lambda w: F.cross_entropy(rows @ w, labels))(w)
    assert loss.item() == pytest.approx(np.log(3))
    found = tape.gradient(loss, {"w": w})
    torch.testing.assert_close(found["w"].value, inner.value)
    graph = tape.output(loss)
    assert len(graph.captured) == 2
    verify(graph, "record")


def test_errors_of_recording() -> None:
    with graphir.record() as tape:
        a = tape.watch(np.ones(2), "a")
        with pytest.raises(graphir.GraphirError, match="an input `a` already"):
            tape.watch(np.ones(2), "a")
        with pytest.raises(graphir.GraphirError, match="watch takes an array"):
            tape.watch([1.0, 2.0])
        with pytest.raises(graphir.GraphirError, match="that this tape recorded"):
            tape.gradient(a.sum(), np.ones(2))
        with pytest.raises(graphir.ShapeError, match="a scalar output"):
            tape.gradient(a * 2, a)
    with pytest.raises(graphir.TraceError, match=r"the recording of .* has ended"):
        a * 2
    with (
        pytest.raises(graphir.GraphirError, match="index 7 is out of range"),
        graphir.record() as t,
    ):
        F.cross_entropy(t.watch(torch.zeros(1, 3)), t.watch(torch.tensor([7])))
