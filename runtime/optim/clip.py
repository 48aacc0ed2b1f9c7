"""Gradient clipping, between the loss's gradients and an optimizer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphir.value import Value, binary, reduce, unary

from .protocol import Optimizer, Rates, Schedule, State, check_number

# torch's: it keeps gradients of zeros from dividing 0 by 0.
_EPSILON = 1e-6


@dataclass(frozen=True)
class Clipped:
    """An optimizer that sees clipped gradients; made by `train` from its clip arguments.

    Args:
        optimizer: any.
        value: every element is clipped to [-value, value], as by torch's `clip_grad_value_`.
        norm: all gradients are scaled together until their norm is at most this, as by torch's
            `clip_grad_norm_`; after `value`, where both are given.

    Raises:
        GraphirError: for a limit that is not above 0.
    """

    optimizer: Optimizer
    value: float | None = None
    norm: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("clip_value", self.value), ("clip_norm", self.norm)):
            if limit is not None:
                check_number("train", name, limit, above_zero=True)

    @property
    def lr(self) -> float | Schedule:
        """The optimizer's."""
        return self.optimizer.lr

    def hyper(self) -> dict[str, float]:
        """The limits that there are, and the optimizer's numbers."""
        return self._limits() | self.optimizer.hyper()

    def stepped(self, rates: Rates, steps: Rates) -> dict[str, Rates]:
        """The optimizer's."""
        return self.optimizer.stepped(rates, steps)

    def structure(self) -> Hashable:
        """Which limits there are, and the optimizer's structure."""
        return tuple(self._limits()), self.optimizer.structure()

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """The optimizer's."""
        return self.optimizer.init(params)

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        numbers: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """The optimizer's step along clipped gradients."""
        if self.value is not None:
            limit = numbers["clip_value"]
            grads = [binary("maximum", binary("minimum", g, limit), -limit) for g in grads]
        if self.norm is not None:
            first, *others = [reduce("sum", g * g, None) for g in grads]
            norm = unary("sqrt", sum(others, first))
            factor = binary("minimum", numbers["clip_norm"] / (norm + _EPSILON), 1.0)
            grads = [g * factor for g in grads]
        return self.optimizer.step(params, grads, state, numbers)

    def _limits(self) -> dict[str, float]:
        limits = {"clip_value": self.value, "clip_norm": self.norm}
        return {name: float(limit) for name, limit in limits.items() if limit is not None}
