"""Reverse accumulation: pruning and its reasons, subgradients as torch's, and errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from counting import count_calls

from graphir import dtypes
from graphir.differentiate import gradients
from graphir.dtypes import DType
from graphir.errors import DTypeError, Location, ShapeError
from graphir.evaluate import evaluate
from graphir.graph import Graph
from graphir.opdef import OPS
from graphir.value import Value, contract, reduce, unary

# -- pruning ------------------------------------------------------------------------------------


def scalar_inputs(*names: str, dtype: DType = dtypes.float64) -> tuple[Graph, list[Value]]:
    g = Graph()
    return g, [Value(g, g.add_input((), dtype, name)) for name in names]


def reasons(g: Graph) -> dict[str, str]:
    return {g.names.get(p.node, p.node.op): p.reason for p in g.pruned}


@pytest.fixture
def contract_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The operands of contractions whose VJPs are called, as they are called."""
    called: list[int] = []

    def counting(position: int, vjp: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **attrs: Any) -> Any:
            called.append(position)
            return vjp(*args, **attrs)

        return wrapped

    op = OPS["contract"]
    vjps = tuple(vjp and counting(i, vjp) for i, vjp in enumerate(op.vjps))
    monkeypatch.setitem(OPS, "contract", replace(op, vjps=vjps))
    return called


def test_the_data_s_side_of_a_product_is_never_differentiated(contract_calls: list[int]) -> None:
    g = Graph()
    x = Value(g, g.add_input((5, 3), dtypes.float32, "x"))
    w = Value(g, g.add_input((3,), dtypes.float32, "w"))
    y = Value(g, g.add_input((5,), dtypes.float32, "y"))
    r = contract(x, w, "nd,d->n") - y
    loss = reduce("sum", r * r, None)
    before = len(g.nodes)
    (dw,) = gradients(loss, [w])
    assert contract_calls == [1]
    # The seed, its broadcast, seed * r (for both operands), their sum, xᵀ·.
    assert [n.op for n in g.nodes[before:]] == ["constant", "broadcast", "mul", "add", "contract"]
    assert dw.node.type == "f32(3,)"
    assert reasons(g) == {
        "x": "`x` is data: no gradient was asked for it",
        "y": "`y` is data: no gradient was asked for it",
    }


def test_reasons() -> None:
    g, (w, x, unused) = scalar_inputs("w", "x", "unused")
    flat = unary("sign", w)
    aside = w.apply("stop_gradient")
    mask = w > x
    positive = mask.apply("cast", dtype=dtypes.float64)
    tripled = unary("exp", x)
    dead_end = unary("cos", w)
    loss = (w * positive + flat) + (aside + tripled) + unary("sin", dead_end.apply("stop_gradient"))
    metric = unary("tanh", w)
    found = gradients(loss, [w, unused])
    assert metric.node.op == "tanh"
    assert reasons(g) == {
        "x": "`x` is data: no gradient was asked for it",
        "unused": "no path to the loss",
        "sign": "the derivative of sign is zero",
        "stop_gradient": "stop_gradient",
        "gt": "the comparison has no derivative",
        "cast": "computed only from what has no derivative",
        "exp": "computed from data only",
        "cos": "no path to the loss has a derivative",
        "add": "computed only from what has no derivative",
        "sin": "computed only from what has no derivative",
        "tanh": "no path to the loss",
    }
    assert len({p.node for p in g.pruned}) == len(g.pruned)
    assert g.notes == ["parameter `unused` does not reach the loss: its gradient is zero"]
    g.outputs = [v.node for v in found]
    assert [float(v) for v in evaluate(g, [2.0, 1.0, 5.0])] == [1.0, 0.0]


def test_integers_on_the_way() -> None:
    g, (w,) = scalar_inputs("w")
    whole = w.apply("cast", dtype=dtypes.int64)
    gradients(w * whole.apply("cast", dtype=dtypes.float64), [w])
    assert [p.reason for p in g.pruned] == [
        "int64 has no derivative",
        "computed only from what has no derivative",
    ]


def test_what_a_later_gradient_needs_is_not_pruned_any_more() -> None:
    g, (w, x) = scalar_inputs("w", "x")
    (dw,) = gradients(w * w * x, [w])
    assert reasons(g) == {"x": "`x` is data: no gradient was asked for it"}
    gradients(dw, [x])
    assert "x" not in reasons(g)


def test_gradient_nodes_carry_the_primal_s_lines() -> None:
    g, (w,) = scalar_inputs("w")
    with g.located([Location("a.py", 1)]):
        s = unary("sin", w)
    with g.located([Location("a.py", 2)]):
        e = unary("exp", s)
    before = len(g.nodes)
    gradients(e, [w])
    lines = {n.op: [loc.line for loc in g.locations[n]] for n in g.nodes[before:] if n.op == "cos"}
    assert lines == {"cos": [1]}


def test_the_text_does_not_depend_on_sets() -> None:
    def text() -> str:
        g, xs = scalar_inputs(*"abcdefgh")
        loss = xs[0]
        for x in (*xs, *xs):
            loss = loss * x + unary("sin", x)
        g.outputs = [v.node for v in gradients(loss, xs)]
        return str(g)

    assert text() == text()


def test_a_cotangent_in_place_of_the_seed() -> None:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float64, "x"))
    ct = Value(g, g.add_input((3,), dtypes.float64, "ct"))
    (dx,) = gradients(x * x, [x], ct)
    g.outputs = [dx.node]
    np.testing.assert_array_equal(
        evaluate(g, [np.array([1.0, 2, 3]), np.array([1.0, 0, 2])])[0], [2, 0, 12]
    )
    with pytest.raises(ShapeError, match="cotangent must be of the output's type"):
        gradients(x * x, [x], x[0])


def test_the_output_itself_and_nested_wrt() -> None:
    g, (w,) = scalar_inputs("w")
    h = w * w
    loss = unary("exp", h)
    g.outputs = [v.node for v in gradients(loss, [loss, h, w])]
    seed, dh, dw = (float(v) for v in evaluate(g, [1.5]))
    assert seed == 1
    assert dh == pytest.approx(np.exp(2.25))
    assert dw == pytest.approx(3 * np.exp(2.25))


# -- errors -------------------------------------------------------------------------------------


def test_a_vector_has_no_gradient() -> None:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float32, "x"))
    with pytest.raises(ShapeError, match=r"a scalar output, got shape \(3,\)") as caught:
        gradients(x * x, [x])
    assert caught.value.hint is not None
    assert ".mean() or .sum()" in caught.value.hint


def test_integers_have_no_gradient() -> None:
    g, (k,) = scalar_inputs("k", dtype=dtypes.int64)
    x = Value(g, g.add_input((), dtypes.float32, "x"))
    with pytest.raises(DTypeError, match="`k` is int64: only floating arguments"):
        gradients(x, [k])
    with pytest.raises(DTypeError, match=r"needs a floating output, got i64\(\)"):
        gradients(k, [x])


# -- subgradients, as torch's ---------------------------------------------------------------------

KINKS: dict[str, tuple[Callable[..., Value], Callable[..., torch.Tensor], list[list[float]]]] = {
    "relu": (lambda x: unary("relu", x), torch.relu, [[-1, 0, -0.0, 2]]),
    "abs": (lambda x: unary("abs", x), torch.abs, [[-1, 0, -0.0, 2]]),
    "sqrt": (lambda x: unary("sqrt", x), torch.sqrt, [[0, 4]]),
    "maximum": (lambda x, y: x.apply("maximum", y), torch.maximum, [[1, 2, 3], [1, 3, 2]]),
    "minimum": (lambda x, y: x.apply("minimum", y), torch.minimum, [[1, 2, 3], [1, 3, 2]]),
    "amax": (lambda x: reduce("amax", x, 0), lambda x: torch.amax(x, 0), [[3, 1, 3, 3, 0]]),
    "amin": (lambda x: reduce("amin", x, 0), lambda x: torch.amin(x, 0), [[0, 1, 0, 3, 0]]),
    "pow": (lambda x, p: x.apply("pow", p), torch.pow, [[0, 0, 0, 2, -2], [0, 1, 2, 0, 2]]),
    "where": (
        lambda x: (x > 0.0).apply("where", unary("log", x), x),
        lambda x: torch.where(x > 0, torch.log(x), x),
        [[2, -1, 0]],
    ),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks_are_torch_s(name: str) -> None:
    ours, theirs, point = KINKS[name]
    g = Graph()
    xs = [Value(g, g.add_input((len(p),), dtypes.float64, f"x{i}")) for i, p in enumerate(point)]
    loss = reduce("sum", ours(*xs), None)
    g.outputs = [v.node for v in gradients(loss, xs)]
    tensors = [torch.tensor(p, dtype=torch.float64, requires_grad=True) for p in point]
    theirs(*tensors).sum().backward()
    found = evaluate(g, [np.array(p, np.float64) for p in point])
    for x, y in zip(tensors, found, strict=True):
        assert x.grad is not None
        np.testing.assert_array_equal(y, x.grad.numpy())


def test_work_is_linear_in_the_nodes() -> None:
    def work(links: int) -> int:
        g, (x,) = scalar_inputs("x")
        y = x
        for _ in range(links):
            y = unary("sin", y) * x
        calls = count_calls(lambda: gradients(y, [x]))
        assert len(g.nodes) > 4 * links
        return calls

    assert work(2500) < 2.2 * work(1250)
