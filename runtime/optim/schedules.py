"""Learning-rate schedules: functions of (step, total steps), called on the host."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graphir.errors import GraphirError
from graphir.given import require_whole

from .protocol import Rates, Schedule, check_number, check_rate


@dataclass(frozen=True)
class _Constant:
    lr: float

    def __call__(self, step: int, total: int) -> float:
        return self.lr


@dataclass(frozen=True)
class _Step:
    lr: float
    every: int
    factor: float

    def __call__(self, step: int, total: int) -> float:
        return float(self.lr * self.factor ** (step // self.every))


@dataclass(frozen=True)
class _Cosine:
    lr: float
    final: float

    def __call__(self, step: int, total: int) -> float:
        return self.final + (self.lr - self.final) * (1 + math.cos(math.pi * step / total)) / 2


@dataclass(frozen=True)
class _Warmup:
    steps: int
    then: Schedule

    def __call__(self, step: int, total: int) -> float:
        rest = max(1, total - self.steps)
        if step < self.steps:
            return self.then(0, rest) * (step + 1) / (self.steps + 1)
        return self.then(step - self.steps, rest)


def constant(lr: float) -> Schedule:
    """The same learning rate at every step.

    Raises:
        GraphirError: for a negative or infinite one.
    """
    check_number("constant", "lr", lr)
    return _Constant(float(lr))


def step(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """`lr`, multiplied by `factor` after every `every` steps.

    Raises:
        GraphirError: for a negative or infinite number, or `every` below 1.
    """
    check_number("step", "lr", lr)
    check_number("step", "factor", factor)
    return _Step(float(lr), require_whole("step", "every", every, 1, 100), float(factor))


def cosine(lr: float, final: float = 0.0) -> Schedule:
    """Half a cosine wave from `lr` at the first step down to `final` after the last.

    Raises:
        GraphirError: for a negative or infinite one.
    """
    check_number("cosine", "lr", lr)
    check_number("cosine", "final", final)
    return _Cosine(float(lr), float(final))


def warmup(steps: int, then: float | Schedule) -> Schedule:
    """A straight line up to where `then` begins, over `steps` steps; then `then` over the rest.

    The first step has 1/(steps + 1) of that rate, the step after the last of the line all of it.

    Args:
        steps: how many.
        then: a schedule, e.g. `cosine(0.1)`, or a learning rate.

    Raises:
        GraphirError: for `steps` below 1, or no learning rate.
    """
    check_rate("warmup", then)
    return _Warmup(
        require_whole("warmup", "steps", steps, 1, 100), then if callable(then) else constant(then)
    )


def is_constant(lr: float | Schedule) -> bool:
    """Whether every step has the same learning rate."""
    return isinstance(lr, _Constant) or not callable(lr)


def learning_rates(lr: float | Schedule, first: int, last: int, total: int) -> Rates:
    """The learning rate of the steps first, …, last - 1 of `total`.

    Raises:
        GraphirError: where a schedule gives what is no finite number.
    """
    if is_constant(lr):
        return np.full(last - first, lr.lr if isinstance(lr, _Constant) else lr, np.float64)
    assert callable(lr)
    rates = np.array([lr(step, total) for step in range(first, last)], np.float64)
    if not np.isfinite(rates).all():
        step = first + int(np.flatnonzero(~np.isfinite(rates))[0])
        raise GraphirError(
            f"the learning rate of step {step} of {total} is {rates[step - first]}",
            hint="check the schedule: it is called with (step, total steps)",
        )
    return rates
