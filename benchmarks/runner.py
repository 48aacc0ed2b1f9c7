"""What a contestant of the benchmark is, and what several of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from .clock import repeated
from .workloads import Array, Data, Params, Workload


class Runner(Protocol):
    """One contestant on one workload. The data is where it needs it before any time counts."""

    def reset(self) -> None:
        """Begin again at the first parameters."""

    def run(self, epochs: int) -> float:
        """Train on for some epochs and wait for the end; the seconds that the steps took."""

    def params(self) -> list[Array]:
        """The parameters as they stand."""


Make = Callable[[Workload, Params, Data, str], Runner]


class Timed:
    """Wall time on a CPU; device events on a GPU."""

    device: str

    def run(self, epochs: int) -> float:
        return repeated(lambda: self.work(1), self.device, epochs)

    def work(self, epochs: int) -> None:
        raise NotImplementedError


def descend(workload: Workload, params: Any, buffers: Any, grads: Any) -> tuple[Any, Any]:
    """One update of gradient descent: new parameters and momentum buffers."""
    if workload.weight_decay:
        grads = [g + workload.weight_decay * p for p, g in zip(params, grads, strict=True)]
    if workload.momentum:
        grads = [workload.momentum * b + g for b, g in zip(buffers, grads, strict=True)]
        buffers = tuple(grads)
    return tuple(p - workload.lr * g for p, g in zip(params, grads, strict=True)), buffers
