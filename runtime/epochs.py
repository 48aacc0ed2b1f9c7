"""A training under way: its memory, and its epochs, a slice of steps after the other.

A GPU never waits for the host within an epoch, nor between two: a slice is launched while the one
before it runs, and losses come to the host behind it. On a CPU a slice may be many epochs: they are
one call, as long as nobody asks to hear of each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphir.errors import DivergedError
from graphir.row_order import order_keys

from .arrays import check_ranges, is_tensor, to_memory, to_user
from .executable import Call, Fetched, Memory, Passed, count_steps
from .history import History
from .optim import Optimizer, is_constant, learning_rates
from .progress import EpochProgress
from .step import CompiledStep
from .train_checks import Task, diverged

SLICE_SECONDS = 0.05
"""How long the kernels run at a time: progress shows and Ctrl-C works in between."""

_MOST_TOGETHER = 1 << 18
"""Steps of a call of several epochs, at most: each has its numbers in memory."""


@dataclass(frozen=True)
class _Slice:
    """Steps that were launched, whose losses are on their way."""

    epoch: int
    first: int
    last: int
    began: Passed
    losses: Fetched
    rates: np.ndarray[Any, Any]


class Epochs:
    """One training under way.

    Args:
        state: the optimizer's first state, flattened.
        history, bar: what is told.
        validate: gives the loss of the validation data after an epoch, if there is such data.
    """

    def __init__(
        self,
        task: Task,
        step: CompiledStep,
        optimizer: Optimizer,
        state: Sequence[Any],
        seed: int,
        history: History,
        bar: EpochProgress,
        validate: Callable[[Sequence[Any], int], float] | None,
    ) -> None:
        self.task, self.optimizer, self.seed = task, optimizer, seed
        self.history, self.bar, self.validate = history, bar, validate
        self.build = step.build
        executable = step.build.executable
        self.backend, graph, form = executable.backend, step.build.graph, step.form
        self.steps = count_steps(task.rows, task.batch)
        leaves = [_copy(x) for x in task.param_leaves]
        leaves += state
        leaves += [np.zeros(self.steps, graph.inputs[i].dtype.numpy) for i in form.stepwise]
        hyper = optimizer.hyper()
        leaves += [hyper[name] for name in form.hyper]
        leaves += task.data_leaves
        leaves += [graph.captured[x] for x in graph.inputs[len(leaves) :]]
        memory = [
            to_memory(x, node.dtype.numpy, self.backend)
            for node, x in zip(graph.inputs, leaves, strict=True)
        ]
        check_ranges(graph, memory)
        self.weights: list[Memory] = memory[: form.params]
        self.state: list[Memory] = memory[form.params : form.params + form.state]
        self.stepped = {n: memory[i] for n, i in zip(form.stepped, form.stepwise, strict=True)}
        self.data: list[Memory] = [memory[i] for i in form.batched]
        loop = step.build.loop
        self.order: Memory | None = None
        if loop is not None and loop.shuffled:
            self.order = self.backend.upload(np.arange(task.rows, dtype=np.int64))
        sizes = {"rows": task.rows, "batch": task.batch}
        self.call: Call = executable.bind(memory, sizes, order=self.order)
        self.losses: Memory = self.call.outputs[-1]
        # Where the buffers lie that have a number for each step.
        self._places = dict(zip(form.stepped, form.stepwise, strict=True))
        self._losses_place = executable.outputs[-1]
        self.slice = 1
        self._under_way: deque[_Slice] = deque()
        self._epoch_losses = np.empty(self.steps)
        self._first = np.arange(1, self.steps + 1, dtype=np.float64)
        self._rates: np.ndarray[Any, Any] | None = None
        self._written: dict[str, np.ndarray[Any, Any]] = {}
        self._began: Passed | None = None
        self._last: Passed | None = None

    def params(self) -> list[Any]:
        """The parameters as they stand, in the kinds that the user gave."""
        kinds = self.task.param_leaves
        return [to_user(w, tensor=is_tensor(x)) for w, x in zip(self.weights, kinds, strict=True)]

    def run(self) -> None:
        """All epochs; several in one call where they are short."""
        epoch, last = 0, self.task.epochs
        while epoch < last:
            together = min(self.slice, _MOST_TOGETHER) // self.steps
            if self.call.in_epochs is None or self.validate is not None or together < 2:
                self.epoch(epoch)
                epoch += 1
            else:
                count = min(together, last - epoch)
                self._together(epoch, count)
                epoch += count
        self.finish()

    def _together(self, epoch: int, count: int) -> None:
        """So many epochs in one call."""
        task, steps, began = self.task, self.steps, self.backend.mark()
        first, last = epoch * steps, (epoch + count) * steps
        rates = learning_rates(self.optimizer.lr, first, last, task.epochs * steps)
        numbered = np.arange(first + 1, last + 1, dtype=np.float64)
        parts = {
            self._places[name]: np.ascontiguousarray(numbers, self.stepped[name].dtype)
            for name, numbers in self.optimizer.stepped(rates, numbered).items()
        }
        parts = {place: numbers.reshape(count, steps) for place, numbers in parts.items()}
        found = parts[self._losses_place] = np.empty((count, steps), self.losses.dtype)
        shuffled = self.order is not None
        keys = [order_keys(self.seed, e) for e in range(epoch, epoch + count)] if shuffled else []
        assert self.call.in_epochs is not None
        self.call.in_epochs(steps, parts, keys)
        seconds = self.backend.mark().since(began)
        losses = found.astype(np.float64)
        self._check(losses.ravel(), epoch, 0, rates)
        self._pace(count * steps, seconds)
        self._record(losses, rates, seconds)

    def epoch(self, epoch: int) -> None:
        """Launch all steps of one epoch; those of its end may still be under way."""
        steps = self.steps
        began = self.backend.mark() if not self._under_way else self._last
        rates = self.prepare(epoch)
        first = 0
        while first < steps:
            last = min(first + self.slice, steps)
            assert began is not None
            self.call.run(first, last)
            losses = self.backend.fetch(self.losses, slice(first, last))
            self._under_way.append(_Slice(epoch, first, last, began, losses, rates))
            began = self._last = losses.mark
            first = last
            while len(self._under_way) > self.backend.queue:
                self._finish(self._under_way.popleft())
        if self.validate is not None:
            self.finish()

    def prepare(self, epoch: int) -> np.ndarray[Any, Any]:
        """Write the order of the rows and the optimizer's numbers of each step of an epoch.

        Returns:
            The learning rates.
        """
        task, steps = self.task, self.steps
        if self.order is not None:
            self.backend.shuffle(self.order, order_keys(self.seed, epoch))
        rates = self._rates
        if rates is None or not is_constant(self.optimizer.lr):
            rates = self._rates = learning_rates(
                self.optimizer.lr, epoch * steps, (epoch + 1) * steps, task.epochs * steps
            )
        for name, numbers in self.optimizer.stepped(rates, self._first + epoch * steps).items():
            # The same array again is what the kernel has already.
            if self._written.get(name) is not numbers:
                self.backend.write(self.stepped[name], numbers)
                self._written[name] = numbers
        return rates

    def finish(self) -> None:
        """Wait for all that is under way."""
        while self._under_way:
            self._finish(self._under_way.popleft())

    def _finish(self, done: _Slice) -> None:
        losses = done.losses.wait()
        self._epoch_losses[done.first : done.last] = losses
        if done.first == 0:
            self._began = done.began
        self._check(self._epoch_losses[: done.last], done.epoch, done.first, done.rates)
        self._pace(done.last - done.first, done.losses.mark.since(done.began))
        rows = min(done.last * self.task.batch, self.task.rows)
        self.bar.advance(rows, float(losses[-1]))
        if done.last == self.steps:
            self._finish_epoch(done)

    def _finish_epoch(self, done: _Slice) -> None:
        assert self._began is not None
        seconds = done.losses.mark.since(self._began)
        if self.validate is not None:
            loss = self.validate(self.params(), done.epoch)
            self.history.validation_loss.append(loss)
        self._record(self._epoch_losses[None], done.rates, seconds)

    def _record(
        self, losses: np.ndarray[Any, Any], rates: np.ndarray[Any, Any], seconds: float
    ) -> None:
        """Add epochs to the history: their losses (epochs, steps), and the seconds of them all."""
        history, task, count = self.history, self.task, len(losses)
        history.add_steps(losses, rates)
        rest = task.rows - (self.steps - 1) * task.batch
        total = task.batch * losses[:, :-1].sum(axis=1) + rest * losses[:, -1]
        history.loss += (total / task.rows).tolist()
        each = max(seconds, 1e-9) / count
        history.seconds += [each] * count
        history.rows_per_second += [task.rows / each] * count
        self.bar.finish_epochs(count, history)

    def check_params(self) -> None:
        """Raise DivergedError where the last step left parameters that are not finite."""
        for name, w in zip(self.task.names, self.weights, strict=False):
            if not np.isfinite(self.backend.read(w)).all():
                raise DivergedError(
                    f"the parameter `{name}` is not finite after the last step",
                    hint="lower the learning rate, or standardise the data",
                )

    def _check(
        self, losses: np.ndarray[Any, Any], epoch: int, first: int, rates: np.ndarray[Any, Any]
    ) -> None:
        """Raise DivergedError where a loss from step `first` of an epoch on is not finite."""
        finite = np.isfinite(losses[first:])
        if finite.all():
            return
        bad = first + int(np.argmin(finite))
        before = [*self.history.step_loss[-1:], *losses[:bad].tolist()][-1:]
        raise diverged(
            self.task.names[len(self.weights) :],
            [self.backend.read(x) for x in self.data],
            f"the loss is {losses[bad]} in epoch {epoch + bad // self.steps + 1}, "
            f"step {bad % self.steps + 1}",
            before=before[0] if before else None,
            lr=float(rates[bad]),
        )

    def _pace(self, steps: int, seconds: float) -> None:
        """Aim the next slice at SLICE_SECONDS; how steps are sliced never changes their bits."""
        aimed = int(steps * SLICE_SECONDS / max(seconds, 1e-9))
        self.slice = max(1, min(aimed, 8 * self.slice))


def _copy(x: Any) -> Any:
    return x.detach().clone() if is_tensor(x) else np.array(x, order="C")
