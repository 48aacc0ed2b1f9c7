"""What an optimizer is to the training step, and the check of its numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from graphir.errors import GraphirError
from graphir.given import described, is_number, require_call
from graphir.value import Value

Schedule: TypeAlias = Callable[[int, int], float]
"""(step, total steps) -> learning rate, for the steps 0, …, total - 1; called on the host."""

State: TypeAlias = Any
"""A tree of arrays, or of values while the step is traced."""

Rates: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
"""One number for each step."""


@runtime_checkable
class Optimizer(Protocol):
    """How a step changes the parameters.

    Its numbers are runtime scalars: a sweep over them compiles once. What depends on the step
    (the learning rate, Adam's corrections of its bias) is computed on the host in float64.

    Attributes:
        lr: the learning rate, or how it changes over the steps.
    """

    @property
    def lr(self) -> float | Schedule: ...

    def hyper(self) -> dict[str, float]:
        """The numbers that stay the same over a training."""

    def stepped(self, rates: Rates, steps: Rates) -> dict[str, Rates]:
        """The numbers that change from step to step.

        Args:
            rates: the learning rate of each step.
            steps: which steps they are, counted from 1 over the whole training.
        """

    def structure(self) -> Hashable:
        """What the traced step depends on besides the arguments' types."""

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """The state before the first step, for parameters of these shapes and dtypes."""

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        numbers: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """One update as new values: (parameters, state).

        Args:
            numbers: those of `hyper` and `stepped`.
        """


def zeros(params: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """One array of zeros for each parameter."""
    return [np.zeros_like(p) for p in params]


def check_number(
    what: str, name: str, value: Any, *, below: float = math.inf, above_zero: bool = False
) -> None:
    """Raise unless `value` is a number in [0, below), or (0, below).

    Raises:
        GraphirError: naming the argument `name` of `what`.
    """
    if is_number(value) and 0 <= value < below and not (above_zero and value == 0):
        return
    least = "above 0" if above_zero else "of at least 0"
    bounds = f"a finite number {least}" if below == math.inf else f"in [0, {below:g})"
    if name == "lr":
        hint = "pass e.g. 0.1, or a schedule such as graphir.optim.cosine(0.1)"
    elif below < math.inf:
        hint = f"pass e.g. {name}={'(0.9, 0.999)' if name == 'betas' else 0.9}"
    else:
        hint = "pass e.g. 1.0, or leave it out" if above_zero else "pass e.g. 1e-4, or leave it out"
    raise GraphirError(f"{what}: {name} must be {bounds}, got {value!r}", hint=hint)


def check_rate(what: str, lr: float | Schedule) -> None:
    """Raise unless `lr` is a schedule or a learning rate."""
    if callable(lr):
        require_call(what, lr, (0, 1), "(step, total steps)", "let it take both")
    else:
        check_number(what, "lr", lr)


def check_optimizer(optimizer: Any) -> None:
    """Raise unless it is an optimizer."""
    if not isinstance(optimizer, Optimizer) or isinstance(optimizer, type):
        raise GraphirError(
            "train: optimizer must be one of graphir.optim (SGD, Adam, AdamW, RMSprop, Adagrad), "
            f"got {described(optimizer)}",
            hint="pass e.g. optimizer=graphir.optim.SGD(lr=0.1)",
        )
