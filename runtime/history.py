"""What a training has to tell: its history and its result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphir.codegen.program import Program
from graphir.graph import Graph

from .backends import Build, Kernel
from .explain import Explanation


@dataclass
class History:
    """What was measured, an entry an epoch (`step_loss` and `learning_rate`: an entry a step).

    Attributes:
        loss: the mean over the epoch's rows, each batch at the parameters before its update.
        validation_loss: the loss of the validation data after the epoch; empty without such data.
        seconds: of training, without validation.
        rows_per_second: rows of the data per second of training.
        step_loss: the loss of each batch.
        learning_rate: of each step.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rows_per_second: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
    learning_rate: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TrainResult:
    """A trained model.

    Attributes:
        params: the same tree and kinds of arrays as were given.
        history: losses, learning rates and speed.
        compile_seconds: tracing, scheduling and building, or finding what was built before.
        train_seconds: the epochs, without validation.
        backend: what ran.
        threads: how many shared the work.
    """

    params: Any
    history: History
    compile_seconds: float
    train_seconds: float
    backend: str
    threads: int
    _build: Build = field(repr=False)
    sizes: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def graph(self) -> Graph:
        """The simplified graph of a whole step, with what was pruned from the gradient."""
        return self._build.graph

    @property
    def program(self) -> Program:
        """How the step was scheduled."""
        return self._build.program

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The generated kernels, with their text for either target."""
        return self._build.kernels

    def explain(self) -> Explanation:
        """The kernels and the scheduler's decisions; print it."""
        timed = [s for s in self.history.seconds if s > 0]
        steps = max(1, len(self.history.step_loss) // max(1, len(self.history.loss)))
        seconds = min(timed) / steps if timed else None
        return Explanation(
            self._build, self.sizes, self.threads,
            (lambda: seconds) if seconds is not None else None, self.history,
        )  # fmt: skip
