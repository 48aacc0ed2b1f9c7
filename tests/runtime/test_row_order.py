"""The order of an epoch's rows: every row once, the same on every backend, and well mixed."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch

import graphir
from graphir.row_order import order_keys, row_order, table
from graphir.runtime.device_order import write_order


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 12, 64, 100, 1823, 65_536, 100_003])
def test_every_row_comes_once(rows: int) -> None:
    for epoch in range(3):
        order = row_order(rows, order_keys(7, epoch))
        np.testing.assert_array_equal(np.sort(order), np.arange(rows))


@pytest.mark.parametrize("rows", [1, 2, 3, 10, 1000, 10**6, 2**31 + 5, 10**12])
def test_the_table_has_a_cell_for_every_row_and_few_more(rows: int) -> None:
    lines, columns = table(rows)
    assert rows <= lines * columns < rows + lines
    assert abs(lines - columns) <= 1


@pytest.mark.parametrize("rows", [1, 2, 3, 64, 1823, 100_003])
def test_torch_gives_the_same_order(rows: int) -> None:
    for epoch in range(3):
        order = torch.full((rows,), -1)
        write_order(order, order_keys(2, epoch))
        np.testing.assert_array_equal(order.numpy(), row_order(rows, order_keys(2, epoch)))


def test_seeds_and_epochs_give_orders_of_their_own() -> None:
    orders = {
        row_order(50, order_keys(seed, epoch)).tobytes()
        for seed in (0, 1, -1, 2**63)
        for epoch in range(5)
    }
    assert len(orders) == 20


def test_few_rows_come_in_every_order() -> None:
    """All 24 orders of four rows, none of 6,000 seeds' more than twice as often as it should be."""
    count = Counter(tuple(row_order(4, order_keys(seed, 0))) for seed in range(6000))
    assert set(count) == set(permutations(range(4)))
    assert max(count.values()) < 2 * 6000 / 24


@pytest.mark.parametrize("rows", [37, 300])
def test_every_place_gets_every_row_as_often(rows: int) -> None:
    """Pearson's statistic of where ten rows go lies within six deviations of its mean."""
    seeds = 40 * rows
    watched = np.linspace(0, rows - 1, 10).astype(int)
    found = np.zeros((10, rows))
    for seed in range(0, seeds, 40):
        for epoch in range(40):
            order = row_order(rows, order_keys(seed, epoch))
            found[np.arange(10), order[watched]] += 1
    expected = seeds / rows
    statistic = ((found - expected) ** 2 / expected).sum(axis=1)
    deviation = np.sqrt(2 * (rows - 1))
    assert np.all(np.abs(statistic - (rows - 1)) < 6 * deviation)


def test_neighbours_are_parted() -> None:
    """Steps from one row to the next are as a drawn order's: rows / 3 on average, up and down."""
    rows = 100_000
    steps = np.diff(row_order(rows, order_keys(3, 1)))
    assert abs(np.abs(steps).mean() / (rows / 3) - 1) < 0.02
    assert abs((steps > 0).mean() - 0.5) < 0.01
    halves = row_order(rows, order_keys(3, 1)) < rows // 2
    assert np.abs(halves.reshape(100, -1).mean(axis=1) - 0.5).max() < 0.08


@pytest.mark.parametrize("rows", [2, 5, 63, 64, 65, 4097, 30_001])
def test_the_c_text_gives_the_same_order(rows: int) -> None:
    x = np.arange(rows, dtype=np.float32)

    def loss(p: np.ndarray, x: np.ndarray) -> np.ndarray:
        return ((p * x) ** 2).mean()

    seen = {}
    for backend in ("c", "reference"):
        result = graphir.train(
            loss, np.ones((), np.float32), (x,), optimizer=graphir.optim.SGD(lr=0.0),
            batch_size=1 if rows < 100 else 1000, epochs=2, seed=5, backend=backend,
            progress=False,
        )  # fmt: skip
        seen[backend] = result.history.step_loss
    np.testing.assert_allclose(seen["c"], seen["reference"], rtol=1e-5)
