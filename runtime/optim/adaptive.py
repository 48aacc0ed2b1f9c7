"""Optimizers that scale each parameter's step by its own past gradients."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphir.errors import GraphirError
from graphir.given import require_flag
from graphir.value import Value, unary

from .protocol import Rates, Schedule, State, check_number, check_rate, zeros


@dataclass(frozen=True)
class Adam:
    """Adam, as `torch.optim.Adam`: `weight_decay` is added to the gradient.

    Args:
        lr: the learning rate, or a schedule of it.
        betas: how much of the means of the gradients and of their squares is kept.
        eps: added to the root of the mean square.
        weight_decay: the factor of the parameter that is added to its gradient, at least 0.

    Raises:
        GraphirError: for a value outside its range.
    """

    lr: float | Schedule = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, below_one=(), others=("eps", "weight_decay"))
        given: Any = self.betas
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise GraphirError(
                f"{type(self).__name__}: betas must be two numbers, got {self.betas!r}",
                hint="pass e.g. betas=(0.9, 0.999)",
            )
        for beta in given:
            check_number(type(self).__name__, "betas", beta, below=1.0)

    def hyper(self) -> dict[str, float]:
        """1 - beta is taken in float64: in float32 that of 0.999 has four digits left."""
        beta1, beta2 = self.betas
        numbers = {
            "beta1": beta1,
            "beta2": beta2,
            "rest1": 1 - beta1,
            "rest2": 1 - beta2,
            "eps": self.eps,
        }
        return numbers | ({"weight_decay": self.weight_decay} if self.weight_decay else {})

    def stepped(self, rates: Rates, steps: Rates) -> dict[str, Rates]:
        """The corrections for means that began at 0; the learning rate is in the size."""
        beta1, beta2 = self.betas
        return {
            "size": rates / (1 - beta1**steps),
            "correction2": np.sqrt(1 - beta2**steps),
        }

    def structure(self) -> Hashable:
        """Which optimizer, and whether there is weight decay."""
        return "Adam", bool(self.weight_decay)

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """The means of the gradients and of their squares."""
        return {"mean": zeros(params), "square": zeros(params)}

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        numbers: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """`p - size * mean / (sqrt(square) / correction2 + eps)`."""
        params, grads = self._decay(params, grads, numbers)
        mean = _blend(state["mean"], grads, numbers["beta1"], numbers["rest1"])
        squares = [g * g for g in grads]
        square = _blend(state["square"], squares, numbers["beta2"], numbers["rest2"])
        new = [
            p - numbers["size"] * m / (unary("sqrt", v) / numbers["correction2"] + numbers["eps"])
            for p, m, v in zip(params, mean, square, strict=True)
        ]
        return new, {"mean": mean, "square": square}

    def _decay(
        self, params: Sequence[Value], grads: Sequence[Value], numbers: Mapping[str, Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        return params, _decayed(self.weight_decay, params, grads, numbers)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, as `torch.optim.AdamW`.

    Args:
        lr, betas, eps: as Adam's.
        weight_decay: each step multiplies the parameters by 1 - lr * weight_decay, whatever
            their gradients are.
    """

    weight_decay: float = 1e-2

    def hyper(self) -> dict[str, float]:
        """Adam's, but for the weight decay."""
        return {name: number for name, number in super().hyper().items() if name != "weight_decay"}

    def stepped(self, rates: Rates, steps: Rates) -> dict[str, Rates]:
        """Adam's, and what is kept of the parameters."""
        return super().stepped(rates, steps) | {"kept": 1 - rates * self.weight_decay}

    def structure(self) -> Hashable:
        """Always the same."""
        return "AdamW"

    def _decay(
        self, params: Sequence[Value], grads: Sequence[Value], numbers: Mapping[str, Value]
    ) -> tuple[Sequence[Value], Sequence[Value]]:
        return [p * numbers["kept"] for p in params], grads


@dataclass(frozen=True)
class RMSprop:
    """RMSprop, as `torch.optim.RMSprop`.

    Args:
        lr: the learning rate, or a schedule of it.
        alpha: how much of the mean square is kept.
        eps: added to the root of the mean square.
        weight_decay: the factor of the parameter that is added to its gradient.
        momentum: how much of the last update is kept; 0 keeps no buffers.
        centered: divide by the standard deviation of the gradients, not the root mean square.

    Raises:
        GraphirError: for a value outside its range.
    """

    lr: float | Schedule = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        _check(self, below_one=("alpha", "momentum"), others=("eps", "weight_decay"))
        require_flag("RMSprop", "centered", self.centered)

    def hyper(self) -> dict[str, float]:
        """1 - alpha is taken in float64, as in Adam."""
        numbers = {"alpha": self.alpha, "rest": 1 - self.alpha, "eps": self.eps}
        optional = {"momentum": self.momentum, "weight_decay": self.weight_decay}
        return numbers | {name: number for name, number in optional.items() if number}

    def stepped(self, rates: Rates, steps: Rates) -> dict[str, Rates]:
        """The learning rate."""
        return {"lr": rates}

    def structure(self) -> Hashable:
        """Which terms there are."""
        return "RMSprop", bool(self.momentum), bool(self.weight_decay), self.centered

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """The mean squares, and what the options need."""
        state = {"square": zeros(params)}
        if self.centered:
            state["mean"] = zeros(params)
        if self.momentum:
            state["momentum"] = zeros(params)
        return state

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        numbers: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """`p - lr * g / (sqrt(square) + eps)`, or the same through a momentum buffer."""
        grads = _decayed(self.weight_decay, params, grads, numbers)
        alpha, rest = numbers["alpha"], numbers["rest"]
        square = _blend(state["square"], [g * g for g in grads], alpha, rest)
        new_state, spread = {"square": square}, square
        if self.centered:
            mean = _blend(state["mean"], grads, alpha, rest)
            new_state["mean"] = mean
            spread = [s - m * m for s, m in zip(square, mean, strict=True)]
        updates = [
            g / (unary("sqrt", s) + numbers["eps"]) for g, s in zip(grads, spread, strict=True)
        ]
        if self.momentum:
            buffers = zip(state["momentum"], updates, strict=True)
            updates = [numbers["momentum"] * b + u for b, u in buffers]
            new_state["momentum"] = updates
        return [p - numbers["lr"] * u for p, u in zip(params, updates, strict=True)], new_state


@dataclass(frozen=True)
class Adagrad:
    """Adagrad, as `torch.optim.Adagrad`.

    Args:
        lr: the learning rate, or a schedule of it.
        lr_decay: step t, from 0, has lr / (1 + t * lr_decay).
        weight_decay: the factor of the parameter that is added to its gradient.
        eps: added to the root of the sum of squares.

    Raises:
        GraphirError: for a value outside its range.
    """

    lr: float | Schedule = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        _check(self, below_one=(), others=("lr_decay", "weight_decay", "eps"))

    def hyper(self) -> dict[str, float]:
        """The numbers that do not depend on the step."""
        return {"eps": self.eps} | (
            {"weight_decay": self.weight_decay} if self.weight_decay else {}
        )

    def stepped(self, rates: Rates, steps: Rates) -> dict[str, Rates]:
        """The learning rate with its decay."""
        return {"lr": rates / (1 + (steps - 1) * self.lr_decay)}

    def structure(self) -> Hashable:
        """Whether there is weight decay."""
        return "Adagrad", bool(self.weight_decay)

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """The sums of squares."""
        return {"sum": zeros(params)}

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        numbers: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """`p - lr * g / (sqrt(sum) + eps)`."""
        grads = _decayed(self.weight_decay, params, grads, numbers)
        total = [s + g * g for s, g in zip(state["sum"], grads, strict=True)]
        new = [
            p - numbers["lr"] * g / (unary("sqrt", s) + numbers["eps"])
            for p, g, s in zip(params, grads, total, strict=True)
        ]
        return new, {"sum": total}


def _blend(old: Sequence[Value], new: Sequence[Value], kept: Value, entering: Value) -> list[Value]:
    """A running mean, one step on."""
    return [kept * a + entering * b for a, b in zip(old, new, strict=True)]


def _decayed(
    weight_decay: float,
    params: Sequence[Value],
    grads: Sequence[Value],
    numbers: Mapping[str, Value],
) -> Sequence[Value]:
    if not weight_decay:
        return grads
    return [g + numbers["weight_decay"] * p for p, g in zip(params, grads, strict=True)]


def _check(optimizer: Any, below_one: Sequence[str], others: Sequence[str]) -> None:
    what = type(optimizer).__name__
    check_rate(what, optimizer.lr)
    for name in (*below_one, *others):
        below = 1.0 if name in below_one else float("inf")
        check_number(what, name, getattr(optimizer, name), below=below)
