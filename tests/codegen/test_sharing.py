"""Threads of a C call: who joins their partial sums, and that the bits do not depend on luck."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphir
from graphir.codegen.program import C_ENTRY
from graphir.runtime.optim import SGD, Adam


def softmax(params: Any, x: Any, y: Any) -> Any:
    import torch.nn.functional as F

    w, b = params
    return F.cross_entropy(x @ w + b, y)


def train(threads: int, optimizer: Any, inputs: int = 37, classes: int = 5) -> Any:
    rng = np.random.default_rng(0)
    params = (rng.standard_normal((inputs, classes)).astype("f4"), np.zeros(classes, "f4"))
    data = (rng.standard_normal((500, inputs)).astype("f4"), rng.integers(0, classes, 500))
    return graphir.train(
        softmax, params, data, optimizer=optimizer, batch_size=64, epochs=3, seed=3,
        threads=threads, backend="c", progress=False,
    )  # fmt: skip


def work_of(result: Any) -> str:
    source: str = result.kernels[0].c
    return source[source.index("static void work(") : source.index(f"int {C_ENTRY}(")]


def test_small_parameters_need_one_barrier_a_step() -> None:
    work = work_of(train(2, SGD(lr=0.1)))
    assert work.count("barrier(call);") == 1
    assert "if (thread == 0 && call->first < call->last)" in work


def test_large_parameters_are_finished_once() -> None:
    work = work_of(train(2, SGD(lr=0.1), inputs=30000))
    assert work.count("barrier(call);") >= 2


@pytest.mark.parametrize("optimizer", [SGD(lr=0.1, momentum=0.9), Adam(lr=0.01)])
@pytest.mark.parametrize("inputs", [37, 30000])
def test_threads_agree(optimizer: Any, inputs: int) -> None:
    one = train(1, optimizer, inputs)
    for threads in (2, 3, 7):
        many = train(threads, optimizer, inputs)
        for a, b in zip(many.params, one.params, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
        np.testing.assert_allclose(many.history.loss, one.history.loss, rtol=1e-4)


def test_same_bits_every_time() -> None:
    first = [p.tobytes() for p in train(3, Adam(lr=0.01)).params]
    for _ in range(100):
        assert [p.tobytes() for p in train(3, Adam(lr=0.01)).params] == first


def test_explain_says_what_was_chosen_for_threads_and_vectors() -> None:
    text = str(train(2, SGD(lr=0.1)).explain())
    for word in ("layout", "copies", "product", "sums", "threads", "one barrier"):
        assert word in " ".join(text.split())
