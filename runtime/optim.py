"""Optimizers, written over traced values so that they are compiled together with the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from graphir.errors import GraphirError
from graphir.value import Value

Schedule: TypeAlias = Callable[[int, int], float]
"""(step, total steps) -> learning rate, for the steps 0, …, total - 1; called on the host."""

State: TypeAlias = Any
"""A tree of arrays, or of values while the step is traced."""


class Optimizer(Protocol):
    """How a step changes the parameters.

    Attributes:
        lr: the learning rate, or how it changes over the steps.
    """

    lr: float | Schedule

    def hyper(self) -> dict[str, float]:
        """The numbers that a step reads: runtime scalars, so a sweep over them compiles once."""

    def structure(self) -> Hashable:
        """What the traced step depends on besides the arguments' types."""

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """The state before the first step, for parameters of these shapes and dtypes."""

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        lr: Value,
        hyper: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """One update as new values: (parameters, state)."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with torch's meaning of momentum and weight decay.

    Args:
        lr: the learning rate, or a schedule of it.
        momentum: how much of the last update is kept, at least 0 and less than 1; 0 keeps no
            buffers at all.
        weight_decay: the factor of the parameter that is added to its gradient, at least 0.

    Raises:
        GraphirError: for a value outside its range.
    """

    lr: float | Schedule
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if not callable(self.lr):
            _check("SGD", "lr", self.lr)
        _check("SGD", "momentum", self.momentum, below=1.0)
        _check("SGD", "weight_decay", self.weight_decay)

    def hyper(self) -> dict[str, float]:
        """Those that are not 0: leaving a term out is structure, its size is a number."""
        numbers = {"momentum": self.momentum, "weight_decay": self.weight_decay}
        return {name: float(number) for name, number in numbers.items() if number}

    def structure(self) -> Hashable:
        """Which terms there are."""
        return "SGD", tuple(self.hyper())

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """Momentum buffers of zeros: after one step they hold the gradient, as torch's do."""
        return [np.zeros_like(p) for p in params] if self.momentum else []

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        lr: Value,
        hyper: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """`p - lr * (momentum * buffer + gradient + weight_decay * p)`."""
        if self.weight_decay:
            grads = [g + hyper["weight_decay"] * p for p, g in zip(params, grads, strict=True)]
        if self.momentum:
            grads = [hyper["momentum"] * b + g for b, g in zip(state, grads, strict=True)]
        new = [p - lr * g for p, g in zip(params, grads, strict=True)]
        return new, list(grads) if self.momentum else []


@dataclass(frozen=True)
class _Cosine:
    lr: float
    final: float

    def __call__(self, step: int, total: int) -> float:
        return self.final + (self.lr - self.final) * (1 + math.cos(math.pi * step / total)) / 2


@dataclass(frozen=True)
class _Constant:
    lr: float

    def __call__(self, step: int, total: int) -> float:
        return self.lr


def constant(lr: float) -> Schedule:
    """The same learning rate at every step.

    Raises:
        GraphirError: for a negative or infinite one.
    """
    _check("constant", "lr", lr)
    return _Constant(float(lr))


def cosine(lr: float, final: float = 0.0) -> Schedule:
    """Half a cosine wave from `lr` at the first step down to `final` after the last.

    Raises:
        GraphirError: for a negative or infinite one.
    """
    _check("cosine", "lr", lr)
    _check("cosine", "final", final)
    return _Cosine(float(lr), float(final))


def learning_rates(
    lr: float | Schedule, first: int, last: int, total: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The learning rate of the steps first, …, last - 1 of `total`.

    Raises:
        GraphirError: where a schedule gives what is no finite number.
    """
    schedule = lr if callable(lr) else constant(lr)
    rates = np.array([schedule(step, total) for step in range(first, last)], np.float64)
    if not np.isfinite(rates).all():
        step = first + int(np.flatnonzero(~np.isfinite(rates))[0])
        raise GraphirError(
            f"the learning rate of step {step} of {total} is {rates[step - first]}",
            hint="check the schedule: it is called with (step, total steps)",
        )
    return rates


def _check(what: str, name: str, value: Any, below: float = math.inf) -> None:
    number = isinstance(value, (int, float, np.integer, np.floating)) and value is not True
    if not number or not 0 <= value < below:
        bounds = "a finite number of at least 0" if below == math.inf else f"in [0, {below:g})"
        hint = (
            "pass e.g. 0.1, or a schedule such as graphir.optim.cosine(0.1)"
            if (name == "lr")
            else f"pass e.g. {name}=0.9"
            if below < math.inf
            else "pass e.g. 1e-4, or leave it out"
        )
        raise GraphirError(f"{what}: {name} must be {bounds}, got {value!r}", hint=hint)
