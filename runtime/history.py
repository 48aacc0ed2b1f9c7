"""What a training has to tell: its history and its result."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from graphir.codegen.program import Program
from graphir.graph import Graph

from .backends import Build, Kernel
from .explain import Explanation
from .tuning import Tuned

FloatArray: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


@dataclass
class History:
    """What was measured, an entry an epoch (`step_loss` and `learning_rate`: an entry a step).

    Attributes:
        loss: the mean over the epoch's rows, each batch at the parameters before its update.
        validation_loss: the loss of the validation data after the epoch; empty without such data.
        seconds: of training, without validation.
        rows_per_second: rows of the data per second of training.
    """

    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rows_per_second: list[float] = field(default_factory=list)
    # Numbers in a row of memory: a list of millions of floats would take longer than the steps.
    _losses: array[float] = field(default_factory=lambda: array("d"), repr=False)
    _rates: array[float] = field(default_factory=lambda: array("d"), repr=False)

    def add_steps(self, losses: FloatArray, rates: FloatArray) -> None:
        """Append the loss and the learning rate of each of some steps, as float64."""
        self._losses.frombytes(losses.tobytes())
        self._rates.frombytes(rates.tobytes())

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(self._losses)

    @property
    def step_loss(self) -> list[float]:
        """The loss of each batch."""
        return self._losses.tolist()

    @property
    def learning_rate(self) -> list[float]:
        """Of each step."""
        return self._rates.tolist()


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
        tuning: what `tune` chose; given to `train` again, it repeats this training to the bit.
    """

    params: Any
    history: History
    compile_seconds: float
    train_seconds: float
    backend: str
    threads: int
    _build: Build = field(repr=False)
    sizes: dict[str, int] = field(default_factory=dict, repr=False)
    tuning: Tuned | None = None

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
        return self._build.kernels_at(self.sizes)

    def explain(self) -> Explanation:
        """The kernels and the scheduler's decisions; print it."""
        timed = [s for s in self.history.seconds if s > 0]
        steps = max(1, self.history.steps // max(1, len(self.history.loss)))
        seconds = min(timed) / steps if timed else None
        return Explanation(
            self._build, self.sizes, self.threads,
            (lambda: seconds) if seconds is not None else None, self.history, self.tuning,
        )  # fmt: skip
