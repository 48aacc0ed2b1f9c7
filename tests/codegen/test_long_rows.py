"""Single results of long rows: each row is read to its end before the next."""

from __future__ import annotations

import numpy as np
import pytest

import graphir


def loss(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return ((x @ w - y) ** 2).sum()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [63, 64, 65, 100, 130, 512])
def test_gradients_at_every_number_of_rows(columns: int, dtype: str) -> None:
    rng = np.random.default_rng(columns)
    x = rng.standard_normal((70, columns)).astype(dtype)
    w, y = rng.standard_normal(columns).astype(dtype), rng.standard_normal(70).astype(dtype)
    step = graphir.compile(graphir.value_and_grad(loss), backend="c")
    for rows in (1, 2, 3, 4, 5, 16, 17, 33, 70):
        value, slope = step(w, x[:rows], y[:rows])
        r = x[:rows].astype(np.float64) @ w - y[:rows]
        close = 1e-4 if dtype == "float32" else 1e-11
        np.testing.assert_allclose(value, (r**2).sum(), rtol=close)
        np.testing.assert_allclose(slope, 2 * r @ x[:rows], rtol=close, atol=close * 100)


def test_the_text_reads_a_long_row_in_four_sums_and_a_short_one_beside_others() -> None:
    def text(columns: int) -> str:
        x, y = np.ones((50, columns), np.float32), np.ones(50, np.float32)
        step = graphir.compile(graphir.grad(loss), backend="c")
        return step.kernels(np.ones(columns, np.float32), x, y)[0].source

    assert "parts[4]" in text(512)
    assert "parts[4]" not in text(7)


def test_explain_says_how_long_rows_are_read_and_in_which_order_sums_are_taken() -> None:
    x, y = np.ones((50, 512), np.float32), np.ones(50, np.float32)
    step = graphir.compile(graphir.grad(loss), backend="c")
    told = str(step.explain(np.ones(512, np.float32), x, y))
    assert "row by row, in 4 partial sums" in " ".join(told.split())
