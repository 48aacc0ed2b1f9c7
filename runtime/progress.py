"""The progress bar of a training."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from .history import History


class EpochProgress:
    """A bar over all rows of all epochs, with the losses and the speed.

    Args:
        epochs, rows: of the training.
        show: False for silence; where there is no terminal it is silent anyway.
    """

    def __init__(self, epochs: int, rows: int, *, show: bool) -> None:
        console = Console(stderr=True)
        self.epochs, self.rows = epochs, rows
        self.shown = show and (console.is_terminal or console.is_jupyter)
        self._epoch = 0
        self._validation = ""
        self._started = time.perf_counter()
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not self.shown,
        )
        self._task = self._progress.add_task(
            "", total=epochs * rows, epoch=f"1/{epochs}", numbers=""
        )

    def advance(self, rows: int, loss: float) -> None:
        """`rows` of the current epoch are done; `loss` is that of the last batch."""
        if self.shown:
            done = self._epoch * self.rows + rows
            speed = done / max(time.perf_counter() - self._started, 1e-9)
            numbers = f"loss {loss:.4g}{self._validation}  {format_speed(speed)} rows/s"
            self._progress.update(self._task, completed=done, numbers=numbers)

    def finish_epochs(self, count: int, history: History) -> None:
        """So many epochs more are over, and the last one's validation loss known."""
        self._epoch += count
        if history.validation_loss:
            self._validation = f"  validation {history.validation_loss[-1]:.4g}"
        if self.shown:
            epoch = f"{min(self._epoch + 1, self.epochs)}/{self.epochs}"
            self._progress.update(self._task, epoch=epoch)
            self.advance(0, history.loss[-1])

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()


def format_speed(speed: float) -> str:
    """`950`, `12.3k`, `4.56M`."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if speed >= factor:
            return f"{speed / factor:.3g}{unit}"
    return f"{speed:.3g}"
