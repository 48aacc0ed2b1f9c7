"""check_grads, and automatic, symbolic and numerical differentiation side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F
from functions import FUNCTIONS, Function

import graphir

Array = Any

SMOOTH = [f for f in FUNCTIONS if f.name != "constant"]


@pytest.mark.parametrize("function", SMOOTH, ids=str)
def test_all_functions(function: Function) -> None:
    graphir.check_grads(function.fn, function.arguments())


def test_trees_numbers_and_arguments_that_stay() -> None:
    def loss(params: Any, x: Array, labels: Array, scale: float) -> Array:
        return F.cross_entropy(x @ params["w"] * scale + params["b"], labels)

    rng = torch.Generator().manual_seed(0)
    params = {"w": torch.randn(3, 2, generator=rng), "b": torch.zeros(2)}
    x, labels = torch.randn(4, 3, generator=rng), torch.tensor([0, 1, 1, 0])
    # The arguments are float32: what is checked is computed in float64.
    graphir.check_grads(loss, (params, x, labels, 0.5))


def test_numpy_and_third_derivatives() -> None:
    graphir.check_grads(lambda x: np.sin(x) * np.exp(-x), (np.array([0.3, 1.2]),), order=3)
    graphir.check_grads(lambda x: x**3, (2.0,), order=3)


def test_a_module() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    graphir.check_grads(lambda net, x: net(x).sum(), (net, torch.ones(2, 2)))


def test_the_worst_entry_is_named() -> None:
    def fn(w: Array, x: Array) -> Any:
        return {"y": x @ w, "z": (w.detach() * w).sum()}

    w, x = torch.tensor([1.0, -3.0]), torch.ones(2, 2)
    with pytest.raises(graphir.GradientError) as caught:
        graphir.check_grads(fn, (w, x))
    # d z / d w is 2 w where w counts twice, and w where one factor is detached.
    assert caught.value.entry == "d output['z'] / d w[1]"
    assert caught.value.reverse == caught.value.forward == -3.0
    assert caught.value.numerical == pytest.approx(-6.0)
    assert "first derivatives differ, most at d output['z'] / d w[1]" in str(caught.value)
    assert "stop_gradient" in str(caught.value)
    assert "test_checking.py" in str(caught.value)


def test_second_derivatives_are_named_by_both_arguments() -> None:
    def fn(x: Array, y: Array) -> Array:
        # Its first derivatives are right at this point, where y is 0; its second are not.
        return (x * y).sum() + (x.detach() * y * y).sum()

    x, y = torch.tensor([1.0, 2.0]), torch.zeros(2)
    graphir.check_grads(fn, (x, y), order=1)
    graphir.check_grads(fn, (x, y), order=2)
    with pytest.raises(graphir.GradientError, match="third derivatives differ, most at d\\^3"):
        graphir.check_grads(fn, (x, y), order=3)


def test_a_kink() -> None:
    graphir.check_grads(torch.abs, (torch.tensor([0.5, -0.5]),))
    with pytest.raises(graphir.GradientError, match="away from kinks"):
        graphir.check_grads(torch.relu, (torch.tensor([0.5, 0.0]),))


def test_nothing_floating() -> None:
    with pytest.raises(graphir.DTypeError, match="no argument is floating"):
        graphir.check_grads(lambda x: x * 1.0, (torch.tensor([1, 2]),))
    with pytest.raises(graphir.DTypeError, match="output is bool"):
        graphir.check_grads(lambda x: x > 0, (torch.ones(2),))


# -- three kinds of differentiation ---------------------------------------------------------------

EXPRESSIONS = (
    "x**7 - 3*x**2 + x", "exp(x)*sin(x)", "log(1 + x**2)", "sin(exp(x))", "cos(x)**3",
    "sin(x)/x", "1/(1 + exp(-x))", "tanh(x)**2", "x**x", "sqrt(1 + x**4)", "exp(-x**2/2)",
    "log(x)*sqrt(x)", "sin(x)*cos(x)*exp(x)", "x/(1 + x**2)", "cosh(x)/sinh(x)", "2**x",
    "sin(cos(sin(x)))", "(x**2 + 1)**(1/3)", "log(log(2 + x))", "exp(sin(x)**2)",
)  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_automatic_symbolic_and_numerical(text: str) -> None:
    x = sympy.Symbol("x", positive=True)
    expression = sympy.sympify(text, locals={"x": x})
    fn = sympy.lambdify(x, expression, "numpy")
    points = np.array([0.3, 0.9, 1.7])
    derivative, symbolic = graphir.vmap(graphir.grad(fn)), expression
    for _ in range(2):
        symbolic = sympy.diff(symbolic, x)
        expected = [float(symbolic.subs(x, p).evalf(30)) for p in points]
        np.testing.assert_allclose(derivative(points), expected, rtol=1e-11, atol=1e-12)
        derivative = graphir.vmap(graphir.grad(graphir.grad(fn)))
    # The numerical derivatives are compared in here.
    graphir.check_grads(fn, (points,), order=2)
