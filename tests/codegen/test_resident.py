"""Updates of short parameters run over whole vectors, into padding that stays 0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from regressions import Regression
from steps import step_program

import graphir
from graphir.codegen.c_text import print_c
from graphir.codegen.machine import CPU
from graphir.runtime.optim import SGD


@dataclass(frozen=True)
class Normalised:
    """Steps of one length: where there is no gradient, as in padding, 0 / 0 is NaN."""

    lr: float

    def hyper(self) -> dict[str, float]:
        return {}

    def stepped(self, rates: Any, steps: Any) -> dict[str, Any]:
        return {"lr": rates}

    def structure(self) -> str:
        return "Normalised"

    def init(self, params: Any) -> Any:
        return ()

    def step(
        self, params: Any, grads: Any, state: Any, numbers: Mapping[str, Any]
    ) -> tuple[list[Any], Any]:
        return [p - numbers["lr"] * (g / abs(g)) for p, g in zip(params, grads, strict=True)], ()


def linear(params: Any, x: Any, y: Any) -> Any:
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


def data(width: int, rows: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(width)
    return (
        rng.standard_normal((rows, width)).astype(np.float32),
        rng.standard_normal(rows).astype(np.float32),
    )


@pytest.mark.parametrize(
    ("width", "bound"), [(2, 4), (3, 4), (5, 8), (13, 16), (20, 32), (16, None), (40, None)]
)
def test_the_loop_runs_over_one_vector_of_about_the_rows_length(
    width: int, bound: int | None
) -> None:
    def rows(rng: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
        return rng.standard_normal((count, width)), rng.standard_normal(count)

    regression = Regression("linear", linear, ((width,), ()), rows)
    source = print_c(step_program(regression, CPU))
    (update,) = re.findall(r"for \(int64_t (\w+) = 0; \1 < (\d+); .*\n.*\n.*\n(.*= .*)\n", source)[
        -1:
    ]
    index, end, written = update
    assert int(end) == (bound or width)
    assert (f"{index} < {width} ? " in written) == (bound is not None)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.05), Normalised(0.01)], ids=["sgd", "normalised"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("width", [2, 3, 5, 13, 20, 33])
def test_padding_stays_zero(width: int, threads: int, optimizer: Any) -> None:
    """What lies there is multiplied by the next step's rows: a NaN would show."""
    params = np.zeros(width, np.float32), np.float32(0)
    options: dict[str, Any] = {
        "optimizer": optimizer, "batch_size": 8, "epochs": 3, "seed": 1, "progress": False,
    }  # fmt: skip
    got = graphir.train(linear, params, data(width), backend="c", threads=threads, **options)
    wanted = graphir.train(linear, params, data(width), backend="reference", **options)
    np.testing.assert_allclose(got.params[0], wanted.params[0], rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=2e-4)
