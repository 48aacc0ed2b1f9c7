"""Several epochs in one call of C: the same bits, the same history and the same errors as one by
one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.runtime.epochs import Epochs
from graphir.runtime.optim import SGD, Adam, cosine

EPOCHS = 300
OPTIMIZERS = {
    "constant": SGD(0.05),
    "momentum, schedule": SGD(cosine(0.05), momentum=0.9, dampening=0.1),
    "Adam": Adam(0.01),
}


def loss(params: Any, x: Any, y: Any) -> Any:
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many epochs each call of several took."""
    found: list[int] = []
    original = Epochs._together

    def counted(run: Epochs, epoch: int, count: int) -> None:
        found.append(count)
        original(run, epoch, count)

    monkeypatch.setattr(Epochs, "_together", counted)
    return found


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(103, 3, generator=torch.Generator().manual_seed(0))
    return x, x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3


def trained(**options: Any) -> graphir.TrainResult:
    settings: dict[str, Any] = {
        "optimizer": SGD(0.05), "epochs": EPOCHS, "backend": "c", "progress": False, "seed": 3,
    }  # fmt: skip
    start = torch.zeros(3), torch.zeros(())
    return graphir.train(loss, start, problem(), **settings | options)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_size", [None, 10], ids=["full", "ragged batches"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_one_call_is_as_good_as_many(
    name: str, batch_size: int | None, threads: int, together: list[int]
) -> None:
    options = {"optimizer": OPTIMIZERS[name], "batch_size": batch_size, "threads": threads}
    got = trained(**options)
    assert max(together) > 1
    before = len(together)
    # The validation comes after each epoch: these run one by one.
    wanted = trained(**options, validation=problem())
    assert len(together) == before
    for mine, theirs in zip(got.params, wanted.params, strict=True):
        assert torch.equal(mine, theirs)
    assert got.history.step_loss == wanted.history.step_loss
    assert got.history.learning_rate == wanted.history.learning_rate
    np.testing.assert_allclose(got.history.loss, wanted.history.loss, rtol=1e-14)
    assert len(got.history.seconds) == len(got.history.rows_per_second) == EPOCHS


def test_an_epoch_that_diverges_is_named_as_it_is_alone(
    together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(graphir.DivergedError, match="in epoch") as got:
        trained(optimizer=SGD(1.2), batch_size=50, shuffle=False)
    before = len(together)
    assert before
    monkeypatch.setattr("graphir.runtime.epochs._MOST_TOGETHER", 1)
    with pytest.raises(graphir.DivergedError) as wanted:
        trained(optimizer=SGD(1.2), batch_size=50, shuffle=False)
    assert len(together) == before
    assert got.value.message == wanted.value.message


def test_who_listens_to_launches_hears_each(
    together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphir.runtime.executable.logs_launches", lambda: True)
    trained(epochs=20)
    assert not together
