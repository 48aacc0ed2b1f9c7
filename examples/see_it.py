"""See what graphir makes of three models: dumps, drawings and pages, for a browser.

    python examples/see_it.py

trains linear regression, softmax regression and a small MLP on real house sales and digits, and
writes for each, to out/see_it/:

    page.html           one page: source, graph and kernels, linked; opens offline
    traced.txt          the graph of the loss
    differentiated.txt  the graph of the whole step, with what was pruned and why
    graph.svg           the step, kernels as frames; .dot, .mmd, .json, .graphml: the same for tools
    explain.txt         kernels, bytes, operations, time against this machine's roofline
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optree
import torch
from torch.nn import functional as F

import graphir
from datasets import Standardizer, choose_device, device_name, load_house_sales, load_mnist

Tensors = tuple[torch.Tensor, ...]


def linear(params: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The price as a weighted sum."""
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


def softmax(params: Tensors, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Ten classes of digits."""
    w, b = params
    logits = x @ w + b
    return F.cross_entropy(logits, y)


def mlp(params: tuple[Tensors, ...], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Two hidden layers."""
    (w1, b1), (w2, b2), (w3, b3) = params
    h = torch.tanh(x @ w1 + b1)
    h = torch.tanh(h @ w2 + b2)
    return ((h @ w3 + b3 - y) ** 2).mean()


@dataclass(frozen=True)
class Model:
    """What is trained."""

    name: str
    loss: Callable[..., Any]
    params: Any
    data: Tensors
    lr: float
    epochs: int = 20


def models(place: torch.device) -> list[Model]:
    """The three models with their data, on a device."""
    sales = load_house_sales()
    columns = ("bedrooms", "bathrooms", "sqft_living")
    table = np.stack([sales[name] for name in columns], axis=1)
    x = torch.tensor(Standardizer.fit(table).apply(table), dtype=torch.float32)
    price = sales["price"]
    y = torch.tensor(Standardizer.fit(price).apply(price), dtype=torch.float32)
    images, labels = (torch.as_tensor(a) for a in load_mnist())
    digits = (images, labels)
    made = torch.Generator().manual_seed(0)

    def layer(rows: int, columns: int) -> Tensors:
        return torch.randn(rows, columns, generator=made) / rows**0.5, torch.zeros(columns)

    head = torch.randn(16, generator=made) / 4, torch.zeros(())
    hidden = layer(3, 16), layer(16, 16), head
    found = [
        Model("linear", linear, (torch.zeros(3), torch.zeros(())), (x, y), lr=0.03),
        Model("softmax", softmax, (torch.zeros(784, 10), torch.zeros(10)), digits, lr=0.1),
        Model("mlp", mlp, hidden, (x, y), lr=0.05),
    ]
    return [replace(m, params=moved(m.params, place), data=moved(m.data, place)) for m in found]


def moved(tree: Any, place: torch.device) -> Any:
    """Tensors on a device."""
    return optree.tree_map(lambda x: x.to(place), tree)


def show(model: Model, output: Path) -> str:
    """Train one model and write all that there is to see; what was written, in a sentence."""
    result = graphir.train(
        model.loss, model.params, model.data, optimizer=graphir.optim.SGD(lr=model.lr),
        batch_size=256, epochs=model.epochs,
    )  # fmt: skip
    explanation = result.explain()
    graph, program = result.graph, result.program
    batch = tuple(a[:256] for a in model.data)
    folder = output / model.name
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "traced.txt": str(graphir.trace(model.loss, model.params, *batch)),
        "differentiated.txt": str(graph),
        "graph.svg": graph.to_svg(program=program),
        "graph.dot": graph.to_dot(program=program),
        "graph.mmd": graph.to_mermaid(program=program),
        "graph.json": graph.to_json(indent=1),
        "graph.graphml": graph.to_graphml(),
        "explain.txt": str(explanation),
    }.items():
        (folder / name).write_text(text, encoding="utf-8")
    page = explanation.to_html(folder / "page.html")
    kernels = len(result.kernels)
    return (
        f"{model.name}: {len(graph.live())} nodes, {len(graph.pruned)} pruned, "
        f"{kernels} kernel{'s' * (kernels != 1)}: open {page}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Make everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("out/see_it"))
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cuda, cpu")
    args = parser.parse_args(argv)
    place = choose_device(args.device, "auto")
    print(f"on {device_name(place)}")
    for model in models(place):
        print(show(model, args.output))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
