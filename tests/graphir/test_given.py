"""What is wrong with a call is said where it is made, in graphir's words, with one thing to try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import graphir
from graphir.errors import GraphirError

X = torch.ones(6, 2)
Y = torch.ones(6)
W = torch.zeros(2)


def loss(w: Any, x: Any, y: Any) -> Any:
    return ((x @ w - y) ** 2).mean()


def square(w: Any) -> Any:
    return (w**2).sum()


def train(**options: Any) -> Any:
    given = {
        "loss": loss, "params": W.clone(), "data": (X, Y), "optimizer": graphir.optim.SGD(lr=0.1),
        "backend": "reference", "progress": False,
    } | options  # fmt: skip
    return graphir.train(**given)


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "grad of a value": (
        lambda: graphir.grad(loss(W, X, Y)), "grad takes a function, got a torch.Tensor"
    ),
    "vmap of nothing": (lambda: graphir.vmap(None), "vmap takes a function, got None"),
    "compile of a number": (lambda: graphir.compile(3), "compile takes a function, got 3"),
    "jacobian of a list": (lambda: graphir.jacrev([square]), "takes a function, got a list"),
    "rule for a number": (lambda: graphir.custom_vjp(1.5), "custom_vjp takes a function, got 1.5"),
    "argnums by name": (lambda: graphir.grad(loss, "w")(W, X, Y), "argnums must be the number"),
    "argnums of None": (lambda: graphir.grad(loss, None)(W, X, Y), "argnums must be the number"),
    "primals without a tuple": (
        lambda: graphir.jvp(square, W, W), "primals must be a tuple .* got a torch.Tensor"
    ),
    "tangents without a tuple": (
        lambda: graphir.jvp(square, (W,), W), "tangents must be a tuple .* got a torch.Tensor"
    ),
    "checking without a tuple": (
        lambda: graphir.check_grads(square, W), "args must be a tuple .* got a torch.Tensor"
    ),
    "order of nothing": (
        lambda: graphir.check_grads(square, (W,), order=0), "order must be a whole number"
    ),
    "a tolerance in words": (
        lambda: graphir.check_grads(square, (W,), rtol="low"), "rtol must be a finite number"
    ),
    "training a value": (lambda: train(loss=0.5), "train takes a function, got 0.5"),
    "a loss without targets": (
        lambda: train(data=X), r"loss\(.*\) with \(params, data\): missing .* argument: 'y'"
    ),
    "a loss with too much data": (
        lambda: train(data=(X, Y, Y)), r"\(params, data\[0\], data\[1\], data\[2\]\): too many"
    ),
    "validation without targets": (lambda: train(validation=(X,)), r"\(params, validation\)"),
    "torch's optimizer": (
        lambda: train(optimizer=torch.optim.SGD([W.clone().requires_grad_()], lr=0.1)),
        "optimizer must be one of graphir.optim .* got a torch.optim.sgd.SGD",
    ),
    "an optimizer by name": (lambda: train(optimizer="adam"), "optimizer must be .* got 'adam'"),
    "an optimizer's class": (
        lambda: train(optimizer=graphir.optim.SGD), "optimizer must be .* got the class .*SGD"
    ),
    "an order in words": (lambda: train(shuffle="no"), "shuffle must be True or False, got 'no'"),
    "half an epoch": (lambda: train(epochs=0.5), "epochs must be a whole number"),
    "a schedule of one argument": (
        lambda: graphir.optim.SGD(lr=lambda step: 0.1), r"with \(step, total steps\): too many"
    ),
    "Nesterov in words": (
        lambda: graphir.optim.SGD(lr=0.1, momentum=0.9, nesterov="yes"), "nesterov must be True"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_call_is_refused_in_words(case: str) -> None:
    call, message = CASES[case]
    with pytest.raises(GraphirError, match=message) as caught:
        call()
    assert caught.value.location is not None
    assert caught.value.location.file == __file__
