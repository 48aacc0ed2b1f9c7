"""`tune`: what is measured is few, kept, told, and can be run again to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_cuda import install
from regressions import by_name

import graphir
from graphir.errors import BackendError, GraphirError
from graphir.runtime import tuning
from graphir.runtime.optim import SGD
from graphir.runtime.tuning import MOST, Tuned


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHIR_CACHE_DIR", str(tmp_path))


def trained(name: str, backend: str = "c", **options: Any) -> Any:
    params, data = by_name(name).arguments(90, torch.float32)
    options = {"batch_size": 32, "epochs": 2, "seed": 2, **options}

    def loss(*args: Any) -> Any:
        return by_name(name).loss(*args)

    return graphir.train(
        loss, params, data, optimizer=SGD(lr=0.05), backend=backend, progress=False, **options
    )


def same_bits(one: Any, other: Any) -> None:
    assert one.history.step_loss == other.history.step_loss
    for a, b in zip(one.params, other.params, strict=True):
        assert torch.equal(a, b)


def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any) -> float:
        raise AssertionError("it was measured again")

    monkeypatch.setattr("graphir.runtime.train.shortest_step", measured)
    monkeypatch.setattr("graphir.runtime.entry.shortest_step", measured)


def test_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    got = trained("softmax", tune=True)
    found = got.tuning
    assert 2 <= len(found.seconds) <= MOST
    assert all(s > 0 for s in found.seconds.values())
    assert found.threads in (None, got.threads)
    np.testing.assert_allclose(
        got.history.step_loss, trained("softmax").history.step_loss, rtol=1e-5
    )
    assert "measured: by the model" in str(got.explain())
    nothing_is_measured(monkeypatch)
    # Another loss of the same text finds on disk what was chosen.
    again = trained("softmax", tune=True)
    assert again.tuning == found
    same_bits(got, again)
    same_bits(got, trained("softmax", tune=found))
    assert trained("softmax").tuning is None


def test_what_was_chosen_runs_again() -> None:
    chosen = Tuned("c", "another machine", threads=3)
    got = trained("linear", tune=Tuned.from_json(chosen.to_json()))
    assert got.threads == 3
    assert got.tuning == chosen
    same_bits(got, trained("linear", threads=3))


def test_a_compiled_function(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(300, 40)

    def total(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(x).sum(0)

    compiled = graphir.compile(total, backend="c", tune=True)
    got = compiled(x)
    torch.testing.assert_close(got, total(x))
    found = compiled.tuning(x)
    assert found is not None
    assert "by the model" in found.seconds
    nothing_is_measured(monkeypatch)
    assert torch.equal(graphir.compile(total, backend="c", tune=found)(x), got)


def test_the_fastest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"by the model": 3.0, "1 at once": 2.0, "2 at once": 1.0, "4 at once": 5.0}
    order = iter(times.values())
    monkeypatch.setattr(tuning, "thread_counts", lambda build: [1, 2, 4])
    monkeypatch.setattr("graphir.runtime.train.shortest_step", lambda *_: next(order))
    got = trained("linear", tune=True)
    assert got.tuning.seconds == times
    assert got.tuning.threads == got.threads == 2


def test_blocks_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every choice of blocks that the scheduler has; the fastest runs, and gives the same."""
    install(monkeypatch)
    monkeypatch.setattr(tuning, "device_name", lambda build: "a GPU")
    counted: list[float] = []

    def measured(backend: Any, steps: Any, count: int) -> float:
        steps(0, count)
        backend.gpu.drain()
        counted.append(1.0 / (1 + len(counted)))
        return counted[-1]

    monkeypatch.setattr("graphir.runtime.train.shortest_step", measured)
    got = trained("linear", "triton", tune=True)
    (kernel,) = got.program.kernels
    assert kernel.choices > 1
    blocks = [n for n in got.tuning.seconds if n.startswith(kernel.name)]
    assert len(blocks) == min(kernel.choices, MOST) - 1
    # Each was faster than the one before.
    assert got.tuning.choices[kernel.name] == kernel.choice > 0
    same_bits(got, trained("linear", "triton", tune=got.tuning))
    np.testing.assert_allclose(
        got.history.step_loss, trained("linear").history.step_loss, rtol=1e-4
    )


def test_refusals() -> None:
    with pytest.raises(BackendError, match="tune must be True, False or an earlier result's"):
        trained("linear", tune="fast")
    with pytest.raises(BackendError, match="backend 'interpret' runs them for tests only"):
        trained("linear", "interpret", tune=True)
    with pytest.raises(BackendError, match="needs tensors on a GPU, got NumPy arrays"):
        graphir.compile(lambda x: x + 1, backend="triton", tune=True)(np.ones(3))
    with pytest.raises(BackendError, match="measured with backend 'triton', this is 'c'"):
        trained("linear", tune=Tuned("triton", "a GPU"))
    with pytest.raises(GraphirError, match=r"no text of Tuned.to_json\(\)"):
        Tuned.from_json("{}")
