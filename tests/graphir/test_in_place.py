"""Writing in place: what torch or NumPy would compute, or an error; never another number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import graphir

Array = Any


def accumulated(x: Array) -> Array:
    total = torch.zeros_like(x)
    other = torch.zeros_like(x)
    for k in range(3):
        total += x * k
        other -= x
    return total, other


def powers(x: Array) -> Array:
    y = x * 1.0
    y **= 2
    y /= 3
    z = y.T @ y
    z *= 2
    return z


def activations(x: Array) -> Array:
    h = F.relu(x * 2, inplace=True)
    return torch.nn.ReLU(inplace=True)(h - 1)


def kept_axes(x: Array) -> Array:
    s = x.sum(0, keepdim=True)
    s += 1
    return x / s


@pytest.mark.parametrize("fn", [accumulated, powers, activations, kept_axes])
def test_exact(fn: Callable[..., Any]) -> None:
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(graphir.compile(fn, backend="reference")(x), fn(x))
    torch.testing.assert_close(graphir.jacrev(fn)(x), torch.func.jacrev(fn)(x))


def same_name(x: Array) -> Array:
    y = x * 1
    z = y
    y += 1
    return z * 2


def returned_under_its_old_name(x: Array) -> Array:
    y = z = x * 1
    y += 1
    return z


def base_of_a_view(x: Array) -> Array:
    y = x * 1
    row = y[0]
    row += 1
    return y.sum()


def view_of_a_base(x: Array) -> Array:
    y = x * 1
    turned = y.T
    y += 1
    return turned @ y


def sibling_views(x: Array) -> Array:
    y = x * 1
    a, b = y[0], y.reshape(9)
    b *= 2
    return a.sum()


@pytest.mark.parametrize(
    "fn", [same_name, returned_under_its_old_name, base_of_a_view, view_of_a_base, sibling_views]
)
@pytest.mark.parametrize("array", [np.ones((3, 3)), torch.ones(3, 3)])
def test_what_would_see_the_write_is_not_read(fn: Callable[..., Any], array: Any) -> None:
    with pytest.raises(
        graphir.UnsupportedError, match="under another name, or as a view"
    ) as caught:
        graphir.trace(fn, array)
    assert "x = x + y for x += y" in str(caught.value)
    assert "test_in_place.py" in str(caught.value)


def test_numpy_s_numbers_are_not_written() -> None:
    def fn(x: Array) -> Array:
        total = kept = x.sum()
        total += 1.0
        return total * kept

    x = np.arange(3.0)
    np.testing.assert_allclose(graphir.compile(fn, backend="reference")(x), fn(x))


def test_an_argument_may_be_written_and_differentiated() -> None:
    def fn(x: Array) -> Array:
        x *= 2
        return (x * x).sum()

    x = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(graphir.grad(fn)(x), 8 * x)
    # What the caller holds stays: a traced function has no side effects.
    assert torch.equal(x, torch.tensor([1.0, 2.0]))
