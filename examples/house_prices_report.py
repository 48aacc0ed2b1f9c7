"""The report of `house_prices.py`: tables of scores, and figures, graphs and kernels in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from house_prices import Outcome, Score

# Okabe and Ito's colours stay distinct for colour-blind readers.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#666666"


def split_table(outcomes: Sequence[Outcome], seed: int) -> Table:
    """Describe the split."""
    split = outcomes[0].split
    table = Table(title=f"King County house sales, split with seed {seed}", title_justify="left")
    for heading in ("part", "sales", "mean price", "standard deviation"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for part, target in (("training", split.y_train), ("held out", split.y_test)):
        prices = split.price.invert(target)
        table.add_row(part, f"{len(prices):,}", f"${prices.mean():,.0f}", f"${prices.std():,.0f}")
    return table


def score_table(outcomes: Sequence[Outcome]) -> Table:
    """Compare the models on the held-out sales."""
    table = Table(title="Held-out sales", title_justify="left")
    table.add_column("model")
    table.add_column("trained by")
    for heading in ("RMSE", "R²", "vs closed form"):
        table.add_column(heading, justify="right")

    def add(model: str, by: str, score: Score, gap: str = "") -> None:
        table.add_row(model, by, f"${score.rmse:,.0f}", f"{score.r2:.4f}", gap)

    add("mean price", "-", outcomes[0].mean)
    for outcome in outcomes:
        table.add_section()
        if outcome.closed_form is not None and outcome.gap is not None:
            add(outcome.model.title, "closed form", outcome.closed_form)
            add(outcome.model.title, "graphir", outcome.score, f"{outcome.gap:+.4%}")
        else:
            add(outcome.model.title, "graphir", outcome.score)
    return table


def training_table(outcomes: Sequence[Outcome]) -> Table:
    """Tell what was compiled and how long it took."""
    table = Table(title="Compiling and training", title_justify="left")
    table.add_column("model")
    for heading in ("kernels", "pruned", "epochs", "compile", "train", "rows/s"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        trained, rows = outcome.fit, len(outcome.split.y_train)
        epochs = len(trained.loss)
        table.add_row(
            outcome.model.title,
            str(len(trained.kernels) // 2),
            str(len(trained.pruned)),
            str(epochs),
            f"{trained.compile_seconds:.2f} s",
            f"{trained.train_seconds:.2f} s",
            f"{epochs * rows / max(trained.train_seconds, 1e-9):,.0f}",
        )
    return table


def print_report(outcomes: Sequence[Outcome], seed: int, console: Console) -> None:
    """Print the tables and what was pruned."""
    for table in (split_table(outcomes, seed), score_table(outcomes), training_table(outcomes)):
        console.print(table)
    for outcome in outcomes:
        if outcome.fit.pruned:
            console.print(f"Pruned from the gradient of [bold]{outcome.model.title}[/]:")
            for entry in outcome.fit.pruned:
                console.print(f"  {entry}", markup=False, highlight=False)


def style(ax: Axes) -> None:
    """Quiet frame and grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(color="#e0e0e0", linewidth=0.6)
    ax.set_axisbelow(True)


def loss_figure(outcomes: Sequence[Outcome]) -> Figure:
    """Draw training and held-out loss by epoch, one panel per model."""
    figure = Figure(figsize=(4 * len(outcomes), 3.8), layout="constrained")
    axes = figure.subplots(1, len(outcomes), sharey=True, squeeze=False)[0]
    for ax, outcome in zip(axes, outcomes, strict=True):
        epochs = range(1, len(outcome.fit.loss) + 1)
        marker = "o" if len(epochs) == 1 else ""
        ax.plot(epochs, outcome.fit.loss, color=BLUE, marker=marker, label="training")
        ax.plot(
            epochs,
            outcome.fit.validation_loss,
            color=VERMILION,
            marker=marker,
            linestyle="--",
            label="held out",
        )
        if outcome.closed_form is not None:
            level = (outcome.closed_form.rmse / float(outcome.split.price.std)) ** 2
            ax.axhline(level, color=GREY, linestyle=":", label="held out, closed form")
        ax.set_title(outcome.model.title, fontsize=11)
        ax.set_xlabel("epoch")
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        style(ax)
    axes[0].legend(frameon=False, fontsize=9)
    axes[0].set_ylabel("mean squared error (price variance = 1)")
    return figure


def prediction_figure(outcomes: Sequence[Outcome]) -> Figure:
    """Draw predicted against actual price of the held-out sales, as densities."""
    figure = Figure(figsize=(4 * len(outcomes) + 0.8, 4.4), layout="constrained")
    axes = figure.subplots(1, len(outcomes), sharex=True, sharey=True, squeeze=False)[0]
    first = outcomes[0].split
    # A handful of mansions would squeeze all other sales into a corner.
    limit = float(np.quantile(first.price.invert(first.y_test), 0.995)) / 1e6
    for ax, outcome in zip(axes, outcomes, strict=True):
        price = outcome.split.price
        actual = price.invert(outcome.split.y_test) / 1e6
        predicted = price.invert(outcome.fit.predicted) / 1e6
        shown = (actual <= limit) & (predicted >= 0) & (predicted <= limit)
        density = ax.hexbin(
            actual, predicted, gridsize=45, extent=(0, limit, 0, limit),
            bins="log", mincnt=1, cmap="cividis", linewidths=0.1,
        )  # fmt: skip
        ax.plot([0, limit], [0, limit], color=VERMILION, linewidth=1.2)
        ax.annotate(
            "predicted = actual", (limit * 0.97, limit * 0.97), color=VERMILION, fontsize=8,
            ha="right", va="bottom", rotation=45, rotation_mode="anchor",
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
        )  # fmt: skip
        ax.text(
            0.03, 0.97, f"RMSE ${outcome.score.rmse:,.0f}\nR² {outcome.score.r2:.3f}",
            transform=ax.transAxes, va="top", fontsize=9,
        )  # fmt: skip
        ax.text(
            0.97, 0.03, f"{(~shown).sum()} of {len(shown):,} sales lie outside",
            transform=ax.transAxes, ha="right", fontsize=8, color=GREY,
        )  # fmt: skip
        ax.set(xlim=(0, limit), ylim=(0, limit), aspect="equal")
        ax.set_title(outcome.model.title, fontsize=11)
        ax.set_xlabel("actual price (million $)")
        style(ax)
    axes[0].set_ylabel("predicted price (million $)")
    figure.colorbar(density, ax=axes, label="held-out sales per cell", pad=0.01)
    return figure


def write_files(outcomes: Sequence[Outcome], output: Path) -> None:
    """Write figures, graphs, explanations and the text of the kernels."""
    output.mkdir(parents=True, exist_ok=True)
    loss_figure(outcomes).savefig(output / "loss.png", dpi=150)
    prediction_figure(outcomes).savefig(output / "predicted_vs_actual.png", dpi=150)
    for outcome in outcomes:
        folder = output / outcome.model.slug
        folder.mkdir(exist_ok=True)
        # An earlier run may have had more kernels.
        for stale in folder.glob("kernel_*"):
            stale.unlink()
        texts = {
            "graph.svg": outcome.fit.graph_svg,
            "explain.txt": outcome.fit.explanation,
            **outcome.fit.kernels,
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
