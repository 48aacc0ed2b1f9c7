"""float16 and bfloat16: computed in float32 and rounded once, and numbers beside them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import graphir

HALVES = (torch.float16, torch.bfloat16)
BACKENDS = ("reference", "c")


def values(dtype: torch.dtype, *shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=generator) * 3 + 0.5).to(dtype)


# What IEEE arithmetic settles to the bit.
BESIDE_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "x * c": lambda x: x * 57.29578,
    "c * x": lambda x: 0.3 * x,
    "x / c": lambda x: x / 0.3,
    "x + c": lambda x: x + 0.3,
    "c - x": lambda x: 0.3 - x,
    "x *= c": lambda x: x.clone().mul_(0.3),
    "x * a 0-d tensor": lambda x: x * torch.tensor(0.3),
    "leaky_relu": lambda x: F.leaky_relu(-x, 0.137),
    "hardswish": F.hardswish,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", BESIDE_NUMBERS)
def test_torchs_bits_beside_a_number(name: str, dtype: torch.dtype, backend: str) -> None:
    fn = BESIDE_NUMBERS[name]
    x = values(dtype, 2001)
    assert torch.equal(graphir.compile(fn, backend=backend)(x), fn(x))


def test_numpy_rounds_the_number_first() -> None:
    x = values(torch.float16, 2001).numpy()
    got = graphir.compile(lambda x: np.multiply(x, 57.29578), backend="reference")(x)
    np.testing.assert_array_equal(got, x * 57.29578)
    assert (got != (x.astype(np.float32) * np.float32(57.29578)).astype(np.float16)).any()


ROUNDED_ONCE: dict[str, Callable[[Any], Any]] = {
    "lerp": lambda x: torch.lerp(x, x / 4, 0.37),
    "addcmul": lambda x: torch.addcmul(x, x, x / 4, value=1.37),
    "gelu": F.gelu,
    "tanh gelu": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "elu": lambda x: F.elu(-x, 1.37),
    "selu": lambda x: F.selu(-x),
    "softplus": lambda x: F.softplus(x, beta=1.37),
    "logsigmoid": F.logsigmoid,
    "mish": F.mish,
    "softsign": F.softsign,
    "logaddexp": lambda x: torch.logaddexp(x, x / 2),
    "rad2deg": torch.rad2deg,
    "huber": lambda x: F.huber_loss(x, x / 4, reduction="none", delta=0.37),
    "logits": lambda x: F.binary_cross_entropy_with_logits(x, x / 4, reduction="none"),
    "softmax": lambda x: torch.softmax(x.reshape(-1, 23), 1),
    "log_softmax": lambda x: torch.log_softmax(x.reshape(-1, 23), 1),
    "logsumexp": lambda x: torch.logsumexp(x.reshape(-1, 23), 1),
    "mean": lambda x: x.reshape(-1, 23).mean(1),
    "var": lambda x: x.reshape(-1, 23).var(1),
    "norm": lambda x: torch.norm(x.reshape(-1, 23), dim=1),
    "layer_norm": lambda x: F.layer_norm(x.reshape(-1, 23), (23,)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", ROUNDED_ONCE)
def test_what_is_one_function_is_rounded_once(name: str, dtype: torch.dtype, backend: str) -> None:
    fn = ROUNDED_ONCE[name]
    x = values(dtype, 23 * 87)
    exact = fn(x.double()).numpy()
    got = graphir.compile(fn, backend=backend)(x).double().numpy()
    kind: Any = np.float16 if dtype is torch.float16 else ml_dtypes.bfloat16
    # Half a place, and what float32 is off before it is rounded: of what cancels, more places.
    unit = np.spacing(np.maximum(np.abs(exact), 0.25).astype(kind)).astype(np.float64)
    assert np.max(np.abs(got - exact) / unit) <= 0.51


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sum_beyond_float16_does_not_spoil_its_mean(backend: str) -> None:
    x = values(torch.float16, 60, 2000)
    fns: list[Callable[[Any], Any]] = [
        torch.mean, torch.var, torch.std, torch.norm, lambda x: F.mse_loss(x, 3 * x),
        lambda x: F.cross_entropy(x, torch.zeros(60, dtype=torch.int64)),
        lambda x: torch.nanmean(x, 0), lambda x: F.layer_norm(x, (60, 2000)),
        lambda x: torch.softmax(x.flatten() * 0, 0),
    ]  # fmt: skip
    for fn in fns:
        got = graphir.compile(fn, backend=backend)(x)
        torch.testing.assert_close(got, fn(x.float()).half(), atol=0, rtol=2e-3)


def test_a_mean_of_float16_in_numpy() -> None:
    x = values(torch.float16, 120_000).numpy()
    got = graphir.compile(np.mean, backend="c")(x)
    assert np.asarray(got).dtype == np.float16
    assert got == np.mean(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weighted = graphir.compile(lambda x: np.average(x, weights=x), backend="c")(x)
    np.testing.assert_allclose(weighted, np.average(x.astype(float), weights=x), rtol=1e-3)


def test_the_wider_of_two_types_is_kept() -> None:
    x, y = values(torch.float16, 30), values(torch.float32, 30, seed=1)
    for fn in (torch.logaddexp, lambda x, y: torch.addcmul(x, y, y)):
        got = graphir.compile(fn, backend="reference")(x, y)
        assert got.dtype is torch.float32
    assert graphir.compile(lambda x: torch.mean(x, dtype=torch.float32))(x).dtype is torch.float32


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_derivatives_are_rounded_once_too(dtype: torch.dtype) -> None:
    x = values(dtype, 500)
    for fn in (F.gelu, F.silu, F.softplus, lambda x: x * 0.3, lambda x: x / 0.3):
        wanted = x.clone().requires_grad_()
        fn(wanted).sum().backward()
        got = graphir.grad(lambda x, fn=fn: fn(x).sum())(x)
        exact = x.double().requires_grad_()
        fn(exact).sum().backward()
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(got.double(), exact.grad, rtol=0.51 * eps, atol=1e-6)
