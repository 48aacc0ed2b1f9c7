"""The second call of a signature: fast, and guarded like the first."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphir
from graphir.runtime.arrays import call_key
from graphir.runtime.direct import DirectCall

BACKENDS = ["reference", "c"]


def predict(params: Any, x: Any) -> Any:
    w, b = params
    return x @ w + b


def numbers(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def calls_of(compiled: Any) -> list[bool]:
    """For each signature that was met, whether its calls are direct."""
    cells = [[c.cell_contents for c in call.__closure__] for call in compiled._ready.values()]
    return [any(isinstance(c, DirectCall) for c in one) for one in cells]


def test_plain_arguments_are_called_directly_and_others_are_not() -> None:
    compiled = graphir.compile(predict, backend="c")
    w, x = numbers(3), numbers(4, 3)
    compiled((w, np.zeros((), "f")), x)
    compiled((w, 0.5), x)
    compiled(tuple(map(torch.from_numpy, (w, np.zeros((), "f")))), torch.from_numpy(x))
    assert calls_of(compiled) == [True, True, True]
    compiled((numbers(6)[::2], 0.5), x)
    assert calls_of(compiled) == [True, True, True, False]
    # One of NumPy's numbers is read through an array of its own at each call.
    for number in (np.float32(0.5), np.float32(0.25)):
        np.testing.assert_allclose(compiled((w, number), x), x @ w + number, rtol=1e-6)
    assert calls_of(compiled) == [True, True, True, False, True]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["numpy", "torch", "read-only", "strided", "parameter"])
def test_every_call_reads_its_own_arguments(backend: str, kind: str) -> None:
    compiled = graphir.compile(predict, backend=backend)

    def convert(a: np.ndarray[Any, Any]) -> Any:
        if kind == "read-only":
            a.setflags(write=False)
        if kind == "strided":
            return np.repeat(a[..., None], 2, axis=-1)[..., 0]
        if kind == "parameter":
            return torch.nn.Parameter(torch.from_numpy(a))
        return torch.from_numpy(a) if kind == "torch" else a

    kept = []
    with torch.no_grad():
        for seed in range(4):
            w, b, x = numbers(3, seed=seed), numbers(1, seed=seed)[0], numbers(5, 3, seed=seed)
            got = compiled((convert(w), convert(np.asarray(b))), convert(x))
            kept.append((got, x @ w + b))
    # No call writes over what another one gave.
    for got, want in kept:
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-6)
    assert len(compiled.entries) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_later_call_of_another_layout_dtype_or_shape(backend: str) -> None:
    compiled = graphir.compile(predict, backend=backend)
    w, b = torch.randn(3), torch.randn(())
    for x in (torch.randn(3, 3), torch.randn(3, 3).T, torch.randn(2, 3), torch.randn(6, 3)[::2]):
        torch.testing.assert_close(compiled((w, b), x), x @ w + b)
    wide = [t.double() for t in (w, b, x)]
    torch.testing.assert_close(compiled((wide[0], wide[1]), wide[2]), wide[2] @ wide[0] + wide[1])
    assert len(compiled.entries) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tracked_tensor_is_followed_after_plain_ones(backend: str) -> None:
    compiled = graphir.compile(predict, backend=backend)
    w, b, x = torch.randn(3), torch.zeros(()), torch.ones(2, 3)
    compiled((w, b), x)
    w.requires_grad_()
    for _ in range(2):
        with torch.no_grad():
            assert not compiled((w, b), x).requires_grad
        assert compiled((w, b), x).requires_grad


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_index_out_of_range_in_a_later_call(backend: str) -> None:
    @graphir.compile(backend=backend)
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels)

    logits = torch.zeros(3, 4)
    for labels in ([0, 1, 2], [3, 3, 3]):
        assert loss(logits, torch.tensor(labels)).item() == pytest.approx(np.log(4))
    with pytest.raises(graphir.GraphirError, match=r"`labels\[1\]`: index 7 is out of range"):
        loss(logits, torch.tensor([0, 7, 2]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_in_and_out(backend: str) -> None:
    @graphir.compile(backend=backend)
    def scaled(x: Any, factor: float, count: int, positive: bool) -> Any:
        return {"x": x * factor + count, "n": factor * 2, "same": positive}

    x = numbers(3)
    for factor, count, positive in ((0.5, 3, True), (-1.25, 7, False), (2.0, -1, True)):
        got = scaled(x, factor, count, positive)
        np.testing.assert_allclose(got["x"], x * np.float32(factor) + count, rtol=1e-6)
        assert (got["n"], got["same"]) == (factor * 2, positive)
        assert type(got["n"]) is float
    with pytest.raises(OverflowError):
        scaled(x, 0.5, 1 << 80, True)


def test_arrays_that_are_closed_over() -> None:
    offset = np.ones(3, np.float32)
    compiled = graphir.compile(lambda scale, x: scale * x + offset, backend="c")
    x = numbers(4, 3)
    for value in (1.0, 5.0):
        offset[:] = value
        np.testing.assert_allclose(compiled(2.0, x), 2 * x + value, rtol=1e-6)
    assert calls_of(compiled) == [True]


def test_many_threads_call_at_once() -> None:
    compiled = graphir.compile(predict, backend="c")
    wrong = []

    def work(seed: int) -> None:
        w, x = numbers(8, seed=seed), numbers(16, 8, seed=seed)
        want = x @ w + np.float32(seed)
        for _ in range(300):
            got = compiled((w, float(seed)), x)
            if not np.allclose(got, want, rtol=1e-4, atol=1e-4):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(compiled.entries) == 1


def test_what_has_no_key() -> None:
    assert call_key("tree", [numbers(2), 1.0, torch.zeros(2)]) is not None
    assert call_key("tree", [np.float32(1)]) is not None
    assert call_key("tree", ["text"]) is None
