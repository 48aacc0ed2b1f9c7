"""The debugging ladder, and `check=True`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import models_to_see as models
import numpy as np
import pytest
import torch

import graphir
from graphir.runtime import check as check_module
from graphir.runtime.check import CheckError
from graphir.runtime.debug import LADDER, configure


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """Loggers and handlers as they were."""
    parent = logging.getLogger("graphir")
    handlers, levels = list(parent.handlers), [logger.level for logger in LADDER]
    yield
    parent.handlers[:] = handlers
    for logger, level in zip(LADDER, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("step", [0, 1, 2, 3, 4])
def test_each_step_adds_to_the_one_before(step: int, caplog: pytest.LogCaptureFixture) -> None:
    assert configure({"GRAPHIR_DEBUG": str(step)}) == step
    compiled = graphir.compile(graphir.value_and_grad(models.huber), backend="c")
    compiled(models.linear_params(), *models.data())
    names = ["graphir.passes", "graphir.fusion", "graphir.kernels", "graphir.launches"]
    told = {r.name for r in caplog.records if r.name.startswith("graphir")}
    assert told == set(names[:step])
    text = caplog.text
    if step >= 1:
        for what in ("trace took", "simplify took", "schedule for c took", "build for c took"):
            assert what in text
    if step >= 2:
        assert "one pass over n" in text
    if step >= 3:
        assert "graphir_run" in text
    if step >= 4:
        assert "huber_0, steps 0 to 0" in text


def test_no_variable_and_a_bad_one() -> None:
    assert configure({}) == 0
    with pytest.warns(RuntimeWarning, match="not one of 1, 2, 3 and 4"):
        assert configure({"GRAPHIR_DEBUG": "verbose"}) == 0


def test_training_tells_of_its_launches(caplog: pytest.LogCaptureFixture) -> None:
    configure({"GRAPHIR_DEBUG": "4"})

    def fresh(params: Any, x: Any, y: Any) -> Any:
        # What was compiled before would not be traced again.
        return models.linear(params, x, y)

    graphir.train(fresh, models.linear_params(), models.data(), epochs=1, batch_size=16,
                  optimizer=graphir.optim.SGD(lr=0.1), progress=False)  # fmt: skip
    assert "trace and differentiate took" in caplog.text
    assert "fresh_step_0, steps 0 to 0" in caplog.text


@pytest.mark.parametrize(
    ("loss", "params"),
    [
        (models.linear, models.linear_params()),
        (models.huber, models.linear_params()),
        (models.mlp, models.mlp_params()),
    ],
)
def test_checking_changes_nothing(loss: Any, params: Any) -> None:
    args = (params, *models.data(1000))
    plain = graphir.compile(graphir.value_and_grad(loss))(*args)
    checked = graphir.compile(graphir.value_and_grad(loss), check=True)
    for _ in range(2):
        a, b = plain[0], checked(*args)[0]
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_the_first_node_that_turns_nan_is_named() -> None:
    @graphir.compile(check=True)
    def loss(w: Any, x: Any) -> Any:
        z = x @ w
        return torch.log(z).mean() + (z * z).mean()

    assert torch.isfinite(loss(torch.ones(3), torch.ones(5, 3)))
    x = torch.ones(5, 3)
    x[2] = -1.0
    told = r"log\([\s\S]*1 of 5 elements turn NaN, the first at \(2,\)"
    with pytest.raises(CheckError, match=told) as raised:
        loss(torch.ones(3), x)
    assert raised.value.node.op == "log"
    assert raised.value.location is not None
    assert raised.value.location.file == __file__


def test_nan_in_the_data_is_not_the_model_s_doing() -> None:
    @graphir.compile(check=True)
    def total(w: Any, x: Any) -> Any:
        return (x * w).sum()

    x = torch.ones(4)
    x[1] = float("nan")
    assert torch.isnan(total(torch.ones(()), x))


def test_a_wrong_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that disagrees about sin stands for a kernel that computes it wrong."""
    true = check_module.evaluate_nodes

    def altered(graph: Any, arguments: Any, **options: Any) -> Any:
        values = true(graph, arguments, **options)
        by_op = {n.op: n for n in values}
        if "sin" in by_op:
            for node in graph.live():
                if node.id >= by_op["sin"].id and node in values and node.dtype.is_float:
                    values[node] = values[node] + np.asarray(0.25, values[node].dtype)
        return values

    monkeypatch.setattr(check_module, "evaluate_nodes", altered)

    @graphir.compile(check=True)
    def f(w: Any, x: Any) -> Any:
        y = torch.exp(x * w)
        return torch.sin(y).sum()

    with pytest.raises(CheckError, match=r"sin\([\s\S]*kernel differs") as raised:
        f(torch.ones(4), torch.linspace(0, 1, 12).reshape(3, 4))
    assert raised.value.node.op == "sin"
    assert raised.value.location is not None


def test_sums_with_cancellation_are_no_error() -> None:
    @graphir.compile(check=True)
    def total(w: Any, x: Any) -> Any:
        return (x * w).sum()

    x = torch.randn(200_001, generator=torch.Generator().manual_seed(0)) * 1e3
    total(torch.ones(()), torch.cat([x, -x]))
