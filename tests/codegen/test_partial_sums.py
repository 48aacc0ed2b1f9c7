"""Long sums in float32 are as good as sums in blocks can be: off by some 1e-6, not by 1e-3."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import graphir

LONG = 250_000
SUMS: dict[str, tuple[Callable[..., torch.Tensor], tuple[int, ...]]] = {
    "mean": (lambda x: x.mean(), (4 * LONG,)),
    "columns": (lambda x: x.sum(0), (LONG, 4)),
    "many columns": (lambda x: x.sum(0), (LONG, 40)),
    "few long rows": (lambda x: x.sum(1), (4, LONG)),
    "all of short rows": (lambda x: x.sum(), (LONG, 5)),
    "rows, then all": (lambda x: x.sum(1).sum(), (LONG, 3)),
    "squares by column": (lambda x: (x * x).sum(0), (LONG, 2)),
    "product": (lambda x: x.T @ x, (LONG, 3)),
    "short middle axis": (lambda x: x.sum((0, 1)), (LONG, 3, 2)),
    "inner axes": (lambda x: x.sum(), (60, 2048, 2, 2)),
    "inner axes by row": (lambda x: x.sum((1, 2, 3)), (20, 64, 64, 3)),
    "an inner axis between others": (lambda x: x.sum((0, 2)), (40, 3, 4096, 2)),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", SUMS)
def test_long_sums_are_exact_to_a_few_roundings(name: str, threads: int, dynamic: bool) -> None:
    fn, shape = SUMS[name]
    # Equal terms: each rounding goes the same way, so that one running sum is off by 1e-3.
    x = torch.full(shape, 0.1)
    axes = (max(range(len(shape)), key=lambda d: shape[d]),)
    compiled = graphir.compile(
        fn, backend="c", threads=threads, dynamic={"x": axes} if dynamic else {}
    )
    exact = fn(x.double())
    assert ((compiled(x).double() - exact).abs() <= 8e-6 * exact.abs()).all()


def test_gradients_over_many_rows_are_as_good() -> None:
    x, y = torch.full((LONG, 3), 0.1), torch.full((LONG,), 0.7)

    def loss(w: torch.Tensor, b: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((x @ w + b - y) ** 2).mean()

    w, b = torch.full((3,), 0.5), torch.tensor(0.1)
    got = graphir.compile(graphir.grad(loss, (0, 1)), backend="c")(w, b, x, y)
    exact = torch.func.grad(loss, (0, 1))(w.double(), b.double(), x.double(), y.double())
    for g, e in zip(got, exact, strict=True):
        assert ((g.double() - e).abs() <= 8e-6 * e.abs()).all()


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_without_rows_add_nothing(threads: int) -> None:
    """A thread's first block sets the sums of products; where it has no block, they are zero."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 20)), rng.standard_normal((3, 18))

    def loss(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return ((x @ w - y) ** 2).sum()

    w = rng.standard_normal((20, 18))
    step = graphir.compile(graphir.grad(loss), backend="c", threads=threads)
    for rows in (3, 1):
        got = step(w, x[:rows], y[:rows])
        np.testing.assert_allclose(got, 2 * x[:rows].T @ (x[:rows] @ w - y[:rows]), atol=1e-12)
