"""graphir itself: `graphir.train`, and on a GPU its steps alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .peer_torch import tensors, torch_ops
from .runner import Timed
from .workloads import Array, Data, Params, Workload


def _named_loss(workload: Workload) -> Callable[[Any, Any, Any], Any]:
    """The workload's loss in torch; the kernels carry the workload's name."""
    ops = torch_ops()

    def loss(params: Any, x: Any, y: Any) -> Any:
        return workload.loss(ops, params, x, y)

    loss.__name__ = workload.name
    return loss


class Graphir:
    """`graphir.train`; the seconds are its own history's, of the epochs without preparations."""

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first = workload, params
        self.device, self.data = device, tensors(data, device)
        self.loss = _named_loss(workload)
        self.reset()

    def reset(self) -> None:
        self.now: Any = tuple(p.clone() for p in tensors(self.first, self.device))

    def run(self, epochs: int) -> float:
        import graphir

        w = self.workload
        self.result = graphir.train(
            self.loss, self.now, tuple(self.data), batch_size=w.batch, epochs=epochs,
            optimizer=graphir_sgd(w), shuffle=False, progress=False,
        )  # fmt: skip
        self.now = self.result.params
        return sum(self.result.history.seconds)

    def params(self) -> list[Array]:
        return [p.cpu().numpy() for p in self.now]


class GraphirSteps(Timed):
    """The steps of `graphir.train` alone, as it puts them on a GPU's stream epoch after epoch; so
    that the cache can be emptied before each epoch, as for the peers."""

    tuned = False

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first = workload, params
        self.device, self.data = device, tensors(data, device)
        self.loss = _named_loss(workload)
        self.training = self._begin()

    def _begin(self) -> Any:
        from graphir.runtime.arrays import leaves_of
        from graphir.runtime.epochs import Epochs
        from graphir.runtime.history import History
        from graphir.runtime.progress import EpochProgress
        from graphir.runtime.train import compiled_step, initial_state, tuned_step
        from graphir.runtime.train_checks import Task

        w, optimizer = self.workload, graphir_sgd(self.workload)
        params = tuple(tensors(self.first, self.device))
        task = Task.checked(self.loss, params, tuple(self.data), None, w.batch, 1, 0)
        step = compiled_step(task, optimizer, False, "auto", None, "highest")
        if self.tuned:
            step, _ = tuned_step(task, step, optimizer, True)
        state = leaves_of(initial_state(task, optimizer))[0]
        bar = EpochProgress(1, w.rows, show=False)
        training = Epochs(task, step, optimizer, state, 0, History(), bar, None)
        training.prepare(0)
        return training

    def reset(self) -> None:
        # In place: what was captured in CUDA graphs stays.
        training = self.training
        for memory, first in zip(training.weights, self.first, strict=True):
            training.backend.write(memory, first)
        for memory in training.state:
            training.backend.write(memory, np.zeros(tuple(memory.shape), np.float32))

    def work(self, epochs: int) -> None:
        for _ in range(epochs):
            self.training.call.run(0, self.training.steps)

    def params(self) -> list[Array]:
        return [p.cpu().numpy() for p in self.training.params()]


class GraphirTuned(GraphirSteps):
    """The same with `tune=True`: what measuring brings beyond the model."""

    tuned = True


def graphir_sgd(workload: Workload) -> Any:
    """graphir's descent for a workload."""
    from graphir.runtime.optim import SGD

    return SGD(workload.lr, workload.momentum, workload.weight_decay)
