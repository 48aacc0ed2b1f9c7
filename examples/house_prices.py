"""Train three models of house prices on the King County sales and set them beside the closed form.

1. price = w1 * bedrooms + w2 * bathrooms + w3 * living area + b,
2. price = a weighted sum of all numeric columns,
3. a small multi-layer perceptron (MLP) on the same columns.

``zipcode`` is left out: it is a label, not a quantity. Loss curves, predicted against actual
prices, the graphs and the generated kernels are written to ``out/house_prices/``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optree
import torch
from rich.console import Console

import graphir
from datasets import (
    FloatArray,
    Standardizer,
    choose_device,
    device_name,
    load_house_sales,
    split_indices,
)
from house_prices_report import print_report, write_files

TARGET = "price"
THREE_COLUMNS = ("bedrooms", "bathrooms", "sqft_living")
NOT_INPUTS = (TARGET, "zipcode")
TEST_FRACTION = 0.2
BATCH_SIZE = 256
EPOCHS = 60
HIDDEN = 64

Params = Any
Predict = Callable[[Params, torch.Tensor], torch.Tensor]


# ---------------------------------------------------------------------------------------------
# The models: plain Python functions of parameters and inputs.


def linear(params: Params, x: torch.Tensor) -> torch.Tensor:
    """Weighted sum of the inputs plus a bias."""
    w, b = params
    return x @ w + b


def mlp(params: Params, x: torch.Tensor) -> torch.Tensor:
    """Hidden layers with tanh, then a weighted sum."""
    *hidden, output = params
    for w, b in hidden:
        x = torch.tanh(x @ w + b)
    return linear(output, x)


def init_linear(inputs: int, generator: torch.Generator) -> Params:
    """Start from zero: the loss is convex."""
    return torch.zeros(inputs), torch.zeros(())


def init_mlp(inputs: int, generator: torch.Generator) -> Params:
    """Start two hidden layers with weights of variance 1 / fan-in, the output from the same."""

    def weights(fan_in: int, *fan_out: int) -> torch.Tensor:
        return torch.randn(fan_in, *fan_out, generator=generator) / fan_in**0.5

    return [
        (weights(inputs, HIDDEN), torch.zeros(HIDDEN)),
        (weights(HIDDEN, HIDDEN), torch.zeros(HIDDEN)),
        (weights(HIDDEN), torch.zeros(())),
    ]


@dataclass(frozen=True)
class Model:
    """A model with its inputs and the hyper-parameters of its training."""

    slug: str
    title: str
    columns: tuple[str, ...]
    predict: Predict
    init: Callable[[int, torch.Generator], Params]
    lr: float
    momentum: float = 0.0

    @property
    def has_closed_form(self) -> bool:
        """Whether least squares solves it."""
        return self.predict is linear


def models(columns: Sequence[str]) -> list[Model]:
    """List the three models, given the names of all columns."""
    numeric = tuple(name for name in columns if name not in NOT_INPUTS)
    every = f"{len(numeric)} columns"
    return [
        Model("linear_3", "linear, 3 columns", THREE_COLUMNS, linear, init_linear, lr=0.03),
        Model("linear_all", f"linear, {every}", numeric, linear, init_linear, lr=0.03),
        Model("mlp", f"MLP, {every}", numeric, mlp, init_mlp, lr=0.05, momentum=0.9),
    ]


# ---------------------------------------------------------------------------------------------
# The data, standardised.


@dataclass(frozen=True)
class Split:
    """Standardised inputs and targets; the scale of the price, to return to dollars."""

    x_train: FloatArray
    y_train: FloatArray
    x_test: FloatArray
    y_test: FloatArray
    price: Standardizer


def make_split(sales: dict[str, FloatArray], columns: Sequence[str], seed: int) -> Split:
    """Split the sales and standardise both parts by the training part's mean and deviation."""
    inputs = np.stack([sales[name] for name in columns], axis=1)
    train, test = split_indices(len(inputs), TEST_FRACTION, seed)
    scale, price = Standardizer.fit(inputs[train]), Standardizer.fit(sales[TARGET][train])
    return Split(
        x_train=scale.apply(inputs[train]),
        y_train=price.apply(sales[TARGET][train]),
        x_test=scale.apply(inputs[test]),
        y_test=price.apply(sales[TARGET][test]),
        price=price,
    )


def closed_form_predictions(split: Split) -> FloatArray:
    """Predict the held-out targets by least squares in float64.

    Living area is the sum of the areas above and below ground, so that with all columns the
    weights are not unique. The predictions are.
    """

    def with_bias(x: FloatArray) -> FloatArray:
        return np.column_stack([x, np.ones(len(x))])

    weights, *_ = np.linalg.lstsq(with_bias(split.x_train), split.y_train, rcond=None)
    return np.asarray(with_bias(split.x_test) @ weights)


@dataclass(frozen=True)
class Score:
    """Quality of predictions on the held-out sales."""

    rmse: float  # dollars
    r2: float

    @classmethod
    def of(cls, predicted: FloatArray, split: Split) -> Score:
        """Compare standardised predictions with the held-out targets."""
        mse = np.mean((predicted - split.y_test) ** 2)
        return cls(float(np.sqrt(mse) * split.price.std), float(1 - mse / split.y_test.var()))


# ---------------------------------------------------------------------------------------------
# Training: everything that this script asks of graphir is in this section.


@dataclass(frozen=True)
class Fit:
    """A trained model and what there is to tell of its training."""

    predicted: FloatArray  # held-out rows, standardised
    loss: list[float]
    validation_loss: list[float]
    kernels: dict[str, str]  # file name -> text
    pruned: list[str]
    graph_svg: str
    explanation: str
    compile_seconds: float
    train_seconds: float


def fit(
    model: Model,
    split: Split,
    *,
    epochs: int,
    seed: int,
    backend: str,
    progress: bool,
    device: str = "auto",
) -> Fit:
    """Train a model by mini-batch SGD with a cosine schedule and predict the held-out rows."""
    place = choose_device(device, backend)

    def tensor(values: FloatArray) -> torch.Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=place)

    def loss(params: Params, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((model.predict(params, x) - y) ** 2).mean()

    x_test = tensor(split.x_test)
    # Drawn on the CPU, so that the start is the same on every device.
    start = model.init(len(model.columns), torch.Generator().manual_seed(seed))
    result = graphir.train(
        loss,
        optree.tree_map(lambda w: w.to(place), start),
        (tensor(split.x_train), tensor(split.y_train)),
        optimizer=graphir.optim.SGD(lr=graphir.optim.cosine(model.lr), momentum=model.momentum),
        batch_size=BATCH_SIZE,
        epochs=epochs,
        seed=seed,
        validation=(x_test, tensor(split.y_test)),
        backend=backend,
        progress=progress,
    )
    predict = graphir.compile(model.predict, backend=backend)
    predicted = predict(result.params, x_test)

    kernels = {}
    for number, kernel in enumerate(result.kernels):
        kernels[f"kernel_{number}.triton.py"] = kernel.triton
        kernels[f"kernel_{number}.c"] = kernel.c
    return Fit(
        predicted=predicted.cpu().numpy().astype(np.float64),
        loss=list(result.history.loss),
        validation_loss=list(result.history.validation_loss),
        kernels=kernels,
        pruned=[str(entry) for entry in result.graph.pruned],
        graph_svg=result.graph.to_svg(),
        explanation=str(result.explain()),
        compile_seconds=result.compile_seconds,
        train_seconds=result.train_seconds,
    )


# ---------------------------------------------------------------------------------------------
# The outcome; house_prices_report.py tells it.


@dataclass(frozen=True)
class Outcome:
    """One model's split, training and scores; ``gap`` compares its RMSE with the closed form's."""

    model: Model
    split: Split
    fit: Fit
    mean: Score
    closed_form: Score | None
    score: Score

    @property
    def gap(self) -> float | None:
        """Relative excess of the held-out RMSE over the closed form's."""
        return None if self.closed_form is None else self.score.rmse / self.closed_form.rmse - 1


def evaluate(model: Model, split: Split, trained: Fit) -> Outcome:
    """Score a trained model beside the mean of the training prices and the closed form."""
    return Outcome(
        model=model,
        split=split,
        fit=trained,
        # Standardised prices have mean zero over the training rows.
        mean=Score.of(np.zeros_like(split.y_test), split),
        closed_form=(
            Score.of(closed_form_predictions(split), split) if model.has_closed_form else None
        ),
        score=Score.of(trained.predicted, split),
    )


def run(
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
    backend: str = "auto",
    device: str = "auto",
    console: Console | None = None,
) -> list[Outcome]:
    """Train and score the three models; with a console, show progress."""
    sales = load_house_sales()
    outcomes = []
    for model in models(list(sales)):
        if console is not None:
            console.rule(model.title, align="left")
        split = make_split(sales, model.columns, seed)
        trained = fit(
            model, split, epochs=epochs, seed=seed, backend=backend, device=device,
            progress=console is not None,
        )  # fmt: skip
        outcomes.append(evaluate(model, split, trained))
    return outcomes


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=0, help="of the split, the start and the order")
    parser.add_argument("--output", type=Path, default=Path("out/house_prices"))
    parser.add_argument("--backend", default="auto", help="auto, triton, c, interpret or reference")
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cuda, cpu")
    args = parser.parse_args(argv)

    console = Console()
    place = choose_device(args.device, args.backend)
    console.print(f"Training on {device_name(place)}", highlight=False)
    outcomes = run(
        seed=args.seed, epochs=args.epochs, backend=args.backend, device=args.device,
        console=console,
    )  # fmt: skip
    print_report(outcomes, args.seed, console)
    write_files(outcomes, args.output)
    console.print(f"Figures, graphs and kernels are in {args.output}/", highlight=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
