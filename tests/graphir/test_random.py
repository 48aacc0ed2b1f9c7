"""Random numbers: the generator's known answers, one stream on every backend, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphir
from graphir import random
from graphir.errors import GraphirError, UnsupportedError
from graphir.ops.random import philox

BACKENDS = ["reference", "c", "interpret"]


def test_known_answers() -> None:
    """Philox4x32-10's published test vectors: the first two words of each."""
    zero, ones = np.zeros(1, np.int64), -np.ones(1, np.int64)
    assert int(philox(zero, zero, zero)[0]) == 0x6627E8D5E169C58D >> 11
    assert int(philox(ones, ones, ones)[0]) == 0x408F276D41C83B0E >> 11


def draws(x: Any, key: Any) -> Any:
    with random.seed(key):
        first, second = torch.rand_like(x), torch.randn_like(x)
        return first, second, F.dropout(x, 0.3), torch.bernoulli(torch.full_like(x, 0.25)), key * 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_backends_draw_the_same(dtype: torch.dtype) -> None:
    x = torch.ones(130, 7, dtype=dtype)
    results = [graphir.compile(draws, backend=b, dynamic=())(x, 12345678901) for b in BACKENDS]
    for other in results[1:]:
        for a, b in zip(results[0][:-1], other[:-1], strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=30 * torch.finfo(dtype).eps)
        assert torch.equal(results[0][0], other[0])
        assert torch.equal(results[0][2], other[2])
    outside = random.rand(130, 7, seed=12345678901, dtype=str(dtype).removeprefix("torch."))
    np.testing.assert_array_equal(results[0][0].numpy(), outside)


def test_a_seed_gives_its_own_numbers_and_a_call_too() -> None:
    a, b = random.rand(1000, seed=1), random.rand(1000, seed=2)
    c, d = random.rand(1000, seed=1, call=1), random.rand((10, 100), seed=1)
    assert not np.isin(a, b).mean() > 0.01
    assert not np.isin(a, c).mean() > 0.01
    np.testing.assert_array_equal(a, d.ravel())


def test_distributions() -> None:
    u, z = random.rand(200_000, seed=5), random.randn(200_000, seed=6, dtype="float64")
    assert u.dtype == np.float32
    assert 0 <= u.min() < 1e-4
    assert 1 - 1e-4 < u.max() < 1
    counts = np.histogram(u, 100, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 150  # chi-square of 99 degrees of freedom
    assert np.abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01
    assert abs((z**4).mean() - 3) < 0.1


def test_traced_sizes_and_seeds() -> None:
    def fn(w: Any, x: Any, key: Any) -> Any:
        return random.rand(x.shape[0], 3, seed=key) * w, random.randn(*x.shape, seed=4)

    compiled = graphir.compile(fn, backend="c")
    for n in (3, 8):
        w, x = torch.tensor(1.0), torch.zeros(n, 2)
        found = compiled(w, x, 9)
        np.testing.assert_array_equal(found[0].numpy(), random.rand(n, 3, seed=9))
        np.testing.assert_allclose(found[1].numpy(), random.randn(n, 2, seed=4), atol=1e-5)


def test_dropout_and_its_gradient() -> None:
    def loss(x: Any, key: Any) -> Any:
        with random.seed(key):
            return (F.dropout(x, 0.25) * 3).sum()

    x = torch.ones(4000)
    grads = graphir.grad(loss)(x, 3)
    kept = (grads != 0).double().mean().item()
    assert abs(kept - 0.75) < 0.03
    torch.testing.assert_close(grads[grads != 0], torch.full_like(grads[grads != 0], 4.0))
    assert torch.equal(grads, graphir.grad(loss)(x, 3))
    assert not torch.equal(grads, graphir.grad(loss)(x, 4))


def test_without_a_seed_it_says_what_to_do() -> None:
    with pytest.raises(UnsupportedError, match="explicit seed") as caught:
        graphir.trace(lambda x: F.dropout(x, 0.5), torch.ones(3))
    assert "graphir.random.seed" in (caught.value.hint or "")


def test_random_numbers_inside_vmap() -> None:
    def fn(x: torch.Tensor, key: object = 7) -> torch.Tensor:
        with random.seed(key):
            return torch.rand_like(x) + 0 * x + F.dropout(torch.ones_like(x), 0.5)

    x = torch.zeros(4, 3)
    with pytest.raises(UnsupportedError, match="inside vmap") as caught:
        graphir.vmap(fn)(x)
    assert "randomness=" in (caught.value.hint or "")
    with pytest.raises(GraphirError, match="no randomness 'some'"):
        graphir.vmap(fn, randomness="some")  # type: ignore[arg-type]
    same = graphir.vmap(fn, randomness="same")(x)
    assert torch.equal(same, same[:1].expand(4, 3))
    torch.testing.assert_close(same[0], graphir.compile(fn, backend="reference")(x[0]))
    # As one draw for all would give them, in each of the axes that are mapped.
    different = graphir.vmap(fn, randomness="different")(x)
    torch.testing.assert_close(different, graphir.compile(fn, backend="reference")(x))
    twice = graphir.vmap(graphir.vmap(fn, randomness="different"), randomness="different")
    torch.testing.assert_close(twice(x), different)
    torch.testing.assert_close(graphir.compile(twice, backend="c")(x), different)
    # A seed for each example makes numbers of its own, whatever the mode.
    keys = torch.arange(4)
    own = graphir.vmap(fn)(x, keys)
    torch.testing.assert_close(own[2], graphir.compile(fn, backend="reference")(x[2], 2))
