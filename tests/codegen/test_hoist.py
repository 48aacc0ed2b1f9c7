"""Late scalars are taken out of sums, where that is exact and saves a pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.codegen.axes import name_axes
from graphir.codegen.hoist import hoist
from graphir.codegen.machine import CPU
from graphir.codegen.prepare import prepare
from graphir.codegen.schedule import plan
from graphir.codegen.stream import choose_stream
from graphir.evaluate import evaluate
from graphir.graph import Graph
from graphir.simplify import simplify

ROWS = 23


def gradient_graph(loss: Callable[..., Any]) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """Value and gradient of a loss of (w, x, y), and arguments."""
    rng = np.random.default_rng(0)
    args = rng.normal(size=5), rng.normal(size=(ROWS, 5)), rng.normal(size=ROWS)
    return simplify(graphir.trace(graphir.value_and_grad(loss), *map(torch.tensor, args))), [*args]


def hoisted(graph: Graph) -> tuple[Graph, Graph]:
    """The prepared graph, before and after."""
    graph = prepare(graph)
    axes = name_axes(graph)
    stream = choose_stream(graph, axes)
    assert stream is not None
    return graph, hoist(graph, axes, stream)


def rooted(w: Any, x: Any, y: Any) -> Any:
    return torch.sqrt(((x @ w - y) ** 2).mean())


def logarithm(w: Any, x: Any, y: Any) -> Any:
    return torch.log(((x @ w - y) ** 2).sum() + 1)


def shared(w: Any, x: Any, y: Any) -> Any:
    """Divided by a sum over the rows, and by a scalar that is known early."""
    return ((x @ w - y) ** 2).sum() / (y * y).sum() / (w * w).sum()


def two_sums(w: Any, x: Any, y: Any) -> Any:
    """A product of two late values."""
    z = x @ w
    return (z - y).abs().mean() * torch.exp(z).mean()


def selected(w: Any, x: Any, y: Any) -> Any:
    """Late on one side of a choice, zero on the other."""
    return torch.sqrt(torch.where(y > 0, (x @ w) ** 2, 0.0).mean())


def three_sums(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return torch.sqrt((z**2).mean()) + torch.sqrt((z - y).abs().mean()) + torch.log((z * z).sum())


ONE_PASS = [rooted, logarithm, shared, two_sums, selected, three_sums]


@pytest.mark.parametrize("loss", ONE_PASS, ids=lambda f: f.__name__)
def test_one_pass_and_the_same_values(loss: Callable[..., Any]) -> None:
    graph, args = gradient_graph(loss)
    before, after = hoisted(graph)
    assert after is not before
    for got, wanted in zip(evaluate(after, args), evaluate(graph, args), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12)
    assert len(plan(graph, name="f", machine=CPU).kernels) == 1


def test_without_it_there_are_two_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, _ = gradient_graph(rooted)
    monkeypatch.setattr("graphir.codegen.schedule.hoist", lambda graph, axes, stream: graph)
    assert len(plan(graph, name="f", machine=CPU).kernels) == 2


def centred(w: Any, x: Any, y: Any) -> Any:
    """Not linear in the mean: as sums of squares and products it would lose all digits."""
    z = x @ w
    return ((z - z.mean()) ** 2).mean()


def weighted_by_rank(w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return (z / torch.maximum(z, z.mean())).mean()


@pytest.mark.parametrize("loss", [centred, weighted_by_rank], ids=lambda f: f.__name__)
def test_what_is_not_linear_takes_another_pass(loss: Callable[..., Any]) -> None:
    graph, _ = gradient_graph(loss)
    assert len(plan(graph, name="f", machine=CPU).kernels) > 1


def test_nothing_late_leaves_the_graph_alone() -> None:
    graph, _ = gradient_graph(lambda w, x, y: ((x @ w - y) ** 2).mean())
    before, after = hoisted(graph)
    assert after is before


def test_too_many_terms_are_left_to_a_second_pass() -> None:
    def many(w: Any, x: Any, y: Any) -> Any:
        z = x @ w
        total = torch.zeros_like(z)
        for k in range(6):
            total = total + torch.sqrt(((z - k) ** 2).sum()) * torch.sin(z + k)
        return total.sum()

    rng = np.random.default_rng(0)
    args = rng.normal(size=5), rng.normal(size=(ROWS, 5)), rng.normal(size=ROWS)
    graph = simplify(graphir.trace(many, *map(torch.tensor, args)))
    assert len(plan(graph, name="f", machine=CPU).kernels) == 2


def test_integers_stay_where_they_are() -> None:
    """A count times a sum could overflow where a sum of counts does not."""

    def counts(a: Any, i: Any) -> Any:
        return (i * i.sum()).sum()

    graph = simplify(graphir.trace(counts, torch.tensor(1.0), torch.arange(9)))
    before, after = hoisted(graph)
    assert after is before


def test_the_user_keeps_his_names_and_lines() -> None:
    graph, _ = gradient_graph(rooted)
    _, after = hoisted(graph)
    assert [after.names[n] for n in after.inputs] == ["w", "x", "y"]
    assert all(after.locations.get(n) for n in after.live() if n.op == "contract")


def test_terms_of_one_scalar_share_their_sum() -> None:
    def entropy(w: Any, x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(x @ w, y)

    w, x = torch.randn(6, 4), torch.randn(ROWS, 6)
    y = torch.randint(0, 4, (ROWS,))
    graph = simplify(graphir.trace(graphir.value_and_grad(entropy), w, x, y))
    (kernel,) = plan(graph, name="step", machine=CPU).kernels
    # The loss, how many labels count, and the gradient once.
    assert len(kernel.accumulators) == 3


@pytest.mark.parametrize("backend", ["c", "interpret"])
def test_the_square_of_a_difference_is_not_spelt_out(backend: str) -> None:
    """Three squares would cancel: the values are 3,000 times as large as their spread."""

    def spread(x: Any) -> Any:
        share = x / x.sum()
        return torch.var(share)

    x = 1000 + torch.rand(200, generator=torch.Generator().manual_seed(1))
    got = graphir.compile(spread, backend=backend, dynamic={"x": (0,)})(x)
    torch.testing.assert_close(got.double(), spread(x.double()), rtol=5e-3, atol=0)
