"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphir.errors import GraphirError
from graphir.given import require_flag
from graphir.value import Value

from .protocol import Rates, Schedule, State, check_number, check_rate, zeros


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, as `torch.optim.SGD`.

    Args:
        lr: the learning rate, or a schedule of it.
        momentum: how much of the last update is kept, at least 0 and less than 1; 0 keeps no
            buffers at all.
        weight_decay: the factor of the parameter that is added to its gradient, at least 0.
        nesterov: look ahead: step along the gradient plus momentum times the new buffer.
        dampening: how much of each gradient after the first is kept from the buffer, in [0, 1).

    Raises:
        GraphirError: for a value outside its range, and for Nesterov's form without momentum or
            with dampening.
    """

    lr: float | Schedule
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0

    def __post_init__(self) -> None:
        check_rate("SGD", self.lr)
        check_number("SGD", "momentum", self.momentum, below=1.0)
        check_number("SGD", "weight_decay", self.weight_decay)
        check_number("SGD", "dampening", self.dampening, below=1.0)
        require_flag("SGD", "nesterov", self.nesterov)
        if self.nesterov and (not self.momentum or self.dampening):
            raise GraphirError(
                "SGD: nesterov needs a momentum above 0 and no dampening, "
                f"got momentum={self.momentum}, dampening={self.dampening}",
                hint="pass e.g. momentum=0.9, nesterov=True",
            )

    def hyper(self) -> dict[str, float]:
        """Those that are not 0: leaving a term out is structure, its size is a number."""
        numbers = {"momentum": self.momentum, "weight_decay": self.weight_decay}
        return {name: float(number) for name, number in numbers.items() if number}

    def stepped(self, rates: Rates, steps: Rates) -> dict[str, Rates]:
        """The learning rate, and how much of the gradient enters: the first time all of it."""
        if not self._damped:
            return {"lr": rates}
        return {"lr": rates, "kept": np.where(steps == 1, 1.0, 1.0 - self.dampening)}

    @property
    def _damped(self) -> bool:
        return bool(self.momentum and self.dampening)

    def structure(self) -> Hashable:
        """Which terms there are."""
        return "SGD", tuple(self.hyper()), self.nesterov, self._damped

    def init(self, params: Sequence[np.ndarray[Any, Any]]) -> State:
        """Momentum buffers of zeros: after one step they hold the gradient, as torch's do."""
        return {"momentum": zeros(params)} if self.momentum else {}

    def step(
        self,
        params: Sequence[Value],
        grads: Sequence[Value],
        state: State,
        numbers: Mapping[str, Value],
    ) -> tuple[list[Value], State]:
        """`p - lr * (momentum * buffer + gradient + weight_decay * p)`."""
        lr, new_state = numbers["lr"], {}
        if self.weight_decay:
            grads = [g + numbers["weight_decay"] * p for p, g in zip(params, grads, strict=True)]
        if self.momentum:
            momentum = numbers["momentum"]
            entering = [numbers["kept"] * g for g in grads] if self._damped else grads
            buffers = [momentum * b + g for b, g in zip(state["momentum"], entering, strict=True)]
            new_state = {"momentum": buffers}
            if self.nesterov:
                grads = [g + momentum * b for g, b in zip(grads, buffers, strict=True)]
            else:
                grads = buffers
        return [p - lr * g for p, g in zip(params, grads, strict=True)], new_state
