"""Softmax regression on 5,000 hand-written digits: 784 pixels in, ten classes out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch.nn import functional as F

import graphir
from datasets import choose_device, device_name, load_mnist, stratified_split_indices

CLASSES = 10
TEST_FRACTION = 0.2
BATCH_SIZE = 128
EPOCHS = 20
LR = 0.05
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-3

Params = tuple[torch.Tensor, torch.Tensor]


def logits(params: Params, x: torch.Tensor) -> torch.Tensor:
    """Score each class: log-probabilities up to a constant."""
    w, b = params
    return x @ w + b


def loss(params: Params, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(logits(params, x), labels)


@dataclass(frozen=True)
class Outcome:
    """Held-out labels beside the predicted ones, and what there is to tell of the training."""

    train_rows: int
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    final_loss: float
    kernels: int
    compile_seconds: float
    train_seconds: float
    device: str
    backend: str

    @property
    def accuracy(self) -> float:
        """Fraction of the held-out digits that is recognised."""
        return float(np.mean(self.predicted == self.labels))


def run(
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    backend: str = "auto",
    device: str = "auto",
    progress: bool = False,
) -> Outcome:
    """Train on 4,000 digits and predict the other 1,000."""
    pixels, labels = load_mnist()
    train, test = stratified_split_indices(labels, TEST_FRACTION, seed)
    place = choose_device(device, backend)
    x, y = torch.from_numpy(pixels).to(place), torch.from_numpy(labels).to(place)

    result = graphir.train(
        loss,
        (torch.zeros(pixels.shape[1], CLASSES, device=place), torch.zeros(CLASSES, device=place)),
        (x[train], y[train]),
        optimizer=graphir.optim.SGD(
            lr=graphir.optim.cosine(LR), momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        ),
        batch_size=BATCH_SIZE,
        epochs=epochs,
        seed=seed,
        validation=(x[test], y[test]),
        backend=backend,
        progress=progress,
    )
    scores = graphir.compile(logits, backend=backend)(result.params, x[test])
    return Outcome(
        train_rows=len(train),
        labels=labels[test],
        predicted=scores.argmax(1).cpu().numpy(),
        final_loss=result.history.loss[-1],
        kernels=len(result.kernels),
        compile_seconds=result.compile_seconds,
        train_seconds=result.train_seconds,
        device=device_name(place),
        backend=result.backend,
    )


def confusion_table(outcome: Outcome) -> Table:
    """Count the held-out digits by true and predicted class."""
    table = Table(title="Held-out digits: true (rows) and predicted (columns)")
    table.add_column("", justify="right", style="bold")
    for digit in range(CLASSES):
        table.add_column(str(digit), justify="right")
    table.add_column("recall", justify="right")
    for digit in range(CLASSES):
        counts = np.bincount(outcome.predicted[outcome.labels == digit], minlength=CLASSES)
        cells = [str(count) if count else "·" for count in counts]
        cells[digit] = f"[bold]{cells[digit]}[/]"
        table.add_row(str(digit), *cells, f"{counts[digit] / max(counts.sum(), 1):.0%}")
    return table


def summary_table(outcome: Outcome) -> Table:
    """Tell the sizes, the accuracy, the kernels and the times."""
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("digits for training", f"{outcome.train_rows:,}")
    table.add_row("digits held out", f"{len(outcome.labels):,}")
    table.add_row("training loss, last epoch", f"{outcome.final_loss:.4f}")
    table.add_row("held-out accuracy", f"[bold]{outcome.accuracy:.1%}[/]")
    table.add_row("ran on", f"{outcome.device}, backend {outcome.backend}")
    table.add_row("kernels", str(outcome.kernels))
    table.add_row("compile", f"{outcome.compile_seconds:.2f} s")
    table.add_row("train", f"{outcome.train_seconds:.2f} s")
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0, help="of the split and the order")
    parser.add_argument("--backend", default="auto", help="auto, triton, c, interpret or reference")
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cuda, cpu")
    args = parser.parse_args(argv)

    console = Console()
    outcome = run(
        seed=args.seed, epochs=args.epochs, backend=args.backend, device=args.device, progress=True
    )
    console.print(confusion_table(outcome))
    console.print(summary_table(outcome))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
