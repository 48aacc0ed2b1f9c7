"""Tracing: arguments as trees, symbolic sizes, restarts, captured arrays, results."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import optree
import pytest
import torch

from graphir.errors import DTypeError, ShapeError, TraceError, UnsupportedError
from graphir.evaluate import evaluate
from graphir.graph import Graph
from graphir.sizes import format_shape
from graphir.tracing import Tracer, is_traced, trace, trace_graph
from graphir.trees import leaf_names

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Layer:
    weight: Any
    bias: Any


def shapes(graph: Graph) -> dict[str, str]:
    """The inputs' shapes by name."""
    return {graph.names[x]: format_shape(x.shape) for x in graph.inputs}


def test_arguments_are_trees_and_are_named_as_the_user_writes_them() -> None:
    def fn(params: Any, layer: Layer, pair: Any, x: Any, *rest: Any) -> Any:
        assert isinstance(layer, Layer)
        assert isinstance(pair, Pair)
        assert isinstance(params["w"][0], Tracer)
        return {"a": params["w"][0] + layer.weight, "b": [pair.left, rest[0] * x]}

    one = np.ones(3)
    args = ({"w": [one, one], "b": (one,)}, Layer(one, one), Pair(one, one), one, one)
    traced = trace(fn, args)
    names = ["params['b'][0]", "params['w'][0]", "params['w'][1]", "layer.weight", "layer.bias",
             "pair.left", "pair.right", "x", "rest[0]"]  # fmt: skip
    assert [leaf.name for leaf in traced.leaves] == names == leaf_names(fn, args)
    assert [leaf.node for leaf in traced.leaves] == traced.graph.inputs
    assert traced.out_names == ("output['a']", "output['b'][0]", "output['b'][1]")
    result = optree.tree_unflatten(traced.out_spec, evaluate(traced.graph, [one] * 9))
    np.testing.assert_array_equal(result["a"], one + one)
    assert trace(lambda x: x, (one,), names=["data"]).leaves[0].name == "data"


def test_leading_axes_after_the_first_argument_are_dims_and_equal_sizes_are_one() -> None:
    args = (torch.ones(3, 2), torch.ones(5, 3), torch.ones(5), torch.ones(4), torch.ones(()), 2.0)
    graph = trace_graph(lambda w, x, y, z, s, r: x @ w, *args)
    assert list(shapes(graph).values()) == ["(3, 2)", "(n, 3)", "(n,)", "(m,)", "()", "()"]
    assert graph.hints == {"n": 5, "m": 4}
    many = tuple(torch.ones(i) for i in range(1, 8))
    assert list(trace_graph(lambda *a: a[0], *many).hints) == ["n", "m", "k", "n1", "n2", "n3"]


def test_dynamic_chooses_the_axes() -> None:
    def fn(p: Any, x: Any) -> Any:
        return x.sum()

    args = ({"w": np.ones((3, 2))}, np.ones((5, 3)))
    for dynamic, expected in (
        ((), ["(3, 2)", "(5, 3)"]), (("x",), ["(3, 2)", "(n, 3)"]),
        ({"x": (0, 1)}, ["(3, 2)", "(n, m)"]), ({"x": -1, "p": 0}, ["(n, 2)", "(5, n)"]),
        ({"p['w']": 1}, ["(3, n)", "(5, 3)"]),
    ):  # fmt: skip
        assert list(shapes(trace(fn, args, dynamic=dynamic).graph).values()) == expected
    with pytest.raises(ShapeError, match="there is no argument 'q'"):
        trace(fn, args, dynamic={"q": 0})
    with pytest.raises(ShapeError, match="x has no axis 2"):
        trace(fn, args, dynamic={"x": 2})
    for wrong in (True, {"x": "0"}, {"x": 1.5}, {"x": None}):
        with pytest.raises(ShapeError, match="dynamic is names of arguments"):
            trace(fn, args, dynamic=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (lambda w, x: x * int(x.shape[0]), "uses the number itself"),
        (lambda w, x: sum(x[i] for i in range(len(x))), "uses the number itself"),
        (lambda w, x: x * torch.ones(x.shape[0]).numpy(), "uses the number itself"),
        (lambda w, x: x * np.ones((x.shape[0], 1))[:, 0], "uses the number itself"),
        (lambda w, x: x * torch.zeros(x.shape[0], 1)[0].numpy(), "uses the number itself"),
        (lambda w, x: x @ np.arange(x.shape[0]).astype(float), "compares the size"),
        (lambda w, x: x if x.shape[0] > 3 else -x, "compares the size"),
        (lambda w, x: x.shape[0] // 2 * x, "divides the size"),
        (lambda w, x: x.reshape(5, -1), "reshape"),
        (lambda w, x: x + np.ones(5), "sizes n and 5 meet"),
    ],
)
def test_code_that_needs_the_number_restarts_specialised(fn: Any, reason: str) -> None:
    args = (1.0, np.arange(5.0))
    traced = trace(fn, args)
    (note,) = traced.graph.notes
    assert note.startswith("specialised to n = 5: ")
    assert reason in note
    assert f"test_tracing.py:{fn.__code__.co_firstlineno}" in note
    assert traced.graph.hints == {}
    np.testing.assert_array_equal(evaluate(traced.graph, args)[0], fn(*args))


def test_a_restart_keeps_the_dims_that_are_not_needed() -> None:
    def fn(w: Any, x: Any, y: Any) -> Any:
        return x.sum() * len(x) + y.sum()

    traced = trace(fn, (1.0, np.ones(5), np.ones(4)))
    assert list(shapes(traced.graph).values()) == ["()", "(5,)", "(m,)"]


def test_numbers_are_weak_runtime_scalars() -> None:
    def fn(x: Any, rate: Any, steps: Any, flag: Any, precise: Any) -> Any:
        return x * rate, x * steps, x + precise, rate * 2, x > flag

    args = (torch.ones(3), 0.5, 2, True, np.float64(3))
    traced = trace(fn, args)
    assert [x.dtype.name for x in traced.graph.inputs] == [
        "float32", "float64", "int64", "bool", "float64"]  # fmt: skip
    assert [leaf.kind for leaf in traced.leaves] == ["array", *["number"] * 4]
    assert [x.dtype.name for x in traced.graph.outputs] == [
        "float32", "float32", "float32", "float64", "bool"]  # fmt: skip
    assert traced.out_kinds == ("array", "array", "array", "number", "array")


def test_arrays_that_a_function_closes_over_are_hidden_inputs() -> None:
    weight = torch.randn(3)

    def fn(x: Any) -> Any:
        return x * weight + weight - torch.dot(weight, x)

    traced = trace(fn, (torch.ones(3),))
    assert [id(a) for a in traced.graph.captured.values()] == [id(weight)]
    assert len(traced.leaves) == 1
    (got,) = evaluate(traced.graph, [torch.ones(3)])
    np.testing.assert_allclose(got, fn(torch.ones(3)).numpy(), rtol=1e-5, atol=1e-6)


def test_the_flavour_and_device_of_the_arguments() -> None:
    seen: list[Any] = []

    def fn(x: Any) -> Any:
        seen.append((x.dtype, x.device))
        return x

    assert trace(fn, (torch.ones(2),)).flavour == "torch"
    assert trace(fn, (np.ones(2),)).flavour == "numpy"
    assert seen == [(torch.float32, torch.device("cpu")), (np.dtype("float64"), "cpu")]
    assert trace(lambda s: s * weight, (2.0,)).flavour == "torch"
    assert trace(lambda x: torch.exp(x) + 1, (np.ones(2),)).flavour == "numpy"


weight = torch.ones(2)


def test_results_may_be_constants_arguments_and_captured_arrays() -> None:
    def fn(x: Any) -> Any:
        return x, 1.5, weight, None, x.shape[0], {"same": x}

    traced = trace(fn, (np.ones(4),), dynamic=("x",))
    results = optree.tree_unflatten(traced.out_spec, evaluate(traced.graph, [np.ones(4)]))
    assert results[1] == 1.5
    assert results[3] is None
    assert results[4] == 4
    np.testing.assert_array_equal(results[2], np.ones(2))
    assert traced.out_kinds == ("array", "number", "array", "number", "array")
    assert evaluate(trace(lambda: 3, ()).graph, [])[0] == 3


def test_same_computations_are_the_same_nodes() -> None:
    graph = trace_graph(lambda x: (torch.exp(x) + 1, x.exp() + 1), torch.ones(2))
    assert graph.outputs[0] is graph.outputs[1]


def test_traced_arguments_are_told_apart() -> None:
    def fn(x: Any) -> Any:
        assert is_traced((1, {"x": x}))
        return x

    trace(fn, (np.ones(2),))
    assert not is_traced(np.ones(2), 1.0)


def test_trace_in_place_operators_keep_shape_and_dtype() -> None:
    def fn(x: Any, y: Any) -> Any:
        x += y
        return x

    traced = trace(fn, (np.ones(2, np.float32), np.ones(2)), dynamic=())
    assert traced.graph.outputs[0].dtype.name == "float32"
    with pytest.raises(ShapeError, match="would change the shape"):
        trace(fn, (np.ones(2), np.ones((3, 2))), dynamic=())
    with pytest.raises(DTypeError, match="would change the dtype"):
        trace(fn, (np.ones(2, int), np.ones(2)), dynamic=())


LEAKED: list[Any] = []


@pytest.mark.parametrize(
    ("fn", "args", "kind", "message", "hint"),
    [
        (lambda x, mode: x, (1.0, "fast"), UnsupportedError, "argument mode is a str", "partial"),
        (lambda x, f: x, (1.0, {"f": abs}), UnsupportedError, "argument f['f'] is a built", "clos"),
        (lambda x: x, (np.ones(2, complex),), DTypeError, "argument x: dtype complex128", "astype"),
        (
            lambda x: x,
            (torch.ones(2).cfloat(),),
            DTypeError,
            "argument x: dtype complex",
            "float()",
        ),
        (lambda x: {"a": "text"}, (1.0,), TraceError, "output['a'] is a str", "return arrays"),
        (lambda x: (i for i in [x]), (1.0,), TraceError, "output is a generator", "return arrays"),
        (lambda x: LEAKED[0] + x, (1.0,), TraceError, "outside the trace", "return it from"),
        (lambda x: LEAKED[0], (1.0,), TraceError, "another trace", "only what this call"),
        (lambda x: [1, 2][x], (1,), TraceError, "only when the kernel runs", "keep computing"),
        (lambda x: f"{x:.2f}", (1.0,), TraceError, "only when the kernel runs", "keep computing"),
        (lambda x: x and 1, (1.0,), TraceError, "`and`", "np.where"),
        (lambda x: x + "a", (1.0,), DTypeError, "got str", ""),
    ],
)
def test_errors(fn: Any, args: Any, kind: type[Exception], message: str, hint: str) -> None:
    LEAKED.clear()
    trace(lambda x: LEAKED.append(x) or x, (np.ones(()),))
    with pytest.raises(kind) as caught:
        trace(fn, args)
    error: Any = caught.value
    assert message in error.message
    assert hint in (error.hint or "")
    assert error.location.file == __file__


def test_a_number_of_a_partial_is_a_constant() -> None:
    def fn(scale: Any, x: Any) -> Any:
        return x * scale

    traced = trace(partial(fn, 2.0), (np.ones(2),))
    assert [leaf.name for leaf in traced.leaves] == ["x"]
    assert evaluate(traced.graph, [np.ones(2)])[0].tolist() == [2, 2]
