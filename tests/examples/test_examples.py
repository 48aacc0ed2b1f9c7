"""The examples do what they say, on the real data."""

from __future__ import annotations

import numpy as np
import pytest

import house_prices
import mnist_softmax


@pytest.mark.parametrize("seed", range(5))
def test_mini_batches_reach_the_closed_form(seed: int) -> None:
    """Held-out RMSE within 0.1 % of least squares for both linear models, by one kernel each."""
    sales = house_prices.load_house_sales()
    linear_models = [m for m in house_prices.models(list(sales)) if m.has_closed_form]
    assert len(linear_models) == 2
    for model in linear_models:
        split = house_prices.make_split(sales, model.columns, seed)
        trained = house_prices.fit(
            model,
            split,
            epochs=house_prices.EPOCHS,
            seed=seed,
            backend="c",
            progress=False,
        )
        gap = house_prices.evaluate(model, split, trained).gap
        assert gap is not None
        assert abs(gap) < 1e-3
        assert sorted(trained.kernels) == ["kernel_0.c", "kernel_0.triton.py"]


def test_digits_are_read() -> None:
    outcome = mnist_softmax.run(seed=0, backend="c")
    assert outcome.accuracy >= 0.88
    assert outcome.kernels == 1
    assert np.isfinite(outcome.final_loss)
