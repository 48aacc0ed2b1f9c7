"""NaN and infinity come out where torch has them, and nowhere else: blocks of rows and of columns
are padded, and what lies beyond an axis' end never reaches a result."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import graphir

BACKENDS = ["c", "interpret"]
DTYPES = [torch.float32, torch.float64]
NAN, INF = math.nan, math.inf
SPECIAL = [
    NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 1e-30, 3e38, -3e38, 100.0, -100.0, 88.0, -104.0, 709.0,
    -745.0, 0.5, 2.5,
]  # fmt: skip

ONE: dict[str, Callable[..., Any]] = {
    "exp": torch.exp, "expm1": torch.expm1, "log": torch.log, "log1p": torch.log1p,
    "sqrt": torch.sqrt, "tanh": torch.tanh,
    "sinh": torch.sinh, "cosh": torch.cosh, "sigmoid": torch.sigmoid, "softplus": F.softplus,
    "relu": torch.relu, "abs": torch.abs, "neg": torch.neg, "reciprocal": torch.reciprocal,
    "square": torch.square, "cube": lambda x: x**3, "root": lambda x: x**0.5,
    "inverse_square": lambda x: x**-2, "clamp": lambda x: x.clamp(-1, 1),
    "logsigmoid": F.logsigmoid, "silu": F.silu, "is_number": lambda x: x == x,
    "positive": lambda x: x > 0, "at_most_one": lambda x: x <= 1,
    "without_nan": lambda x: torch.where(x == x, x, 0.0),
    "or_one": lambda x: torch.maximum(x, torch.ones_like(x)),
    "at_most": lambda x: torch.minimum(x, torch.ones_like(x)),
}  # fmt: skip
# In C they say NaN from 2^50 on, where neighbouring numbers lie far apart on the circle.
PERIODIC: dict[str, Callable[..., Any]] = {"sin": torch.sin, "cos": torch.cos}
TWO: dict[str, Callable[..., Any]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow,
    "maximum": torch.maximum, "minimum": torch.minimum, "lt": torch.lt, "ne": torch.ne,
}  # fmt: skip


def assert_alike(got: torch.Tensor, wanted: torch.Tensor) -> None:
    """The same places of NaN, the same infinities, and the same numbers."""
    assert got.dtype == wanted.dtype
    unit = torch.finfo(wanted.dtype).eps if wanted.is_floating_point() else 0
    torch.testing.assert_close(got, wanted, rtol=20 * unit, atol=20 * unit, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_function_of_special_values(backend: str, dtype: torch.dtype) -> None:
    near = [v for v in SPECIAL if not 2**50 < abs(v) < INF]
    for functions, values in ((ONE, SPECIAL), (PERIODIC, near)):
        x = torch.tensor(values, dtype=dtype)
        compiled = graphir.compile(
            lambda x, functions=functions: {name: fn(x) for name, fn in functions.items()},
            backend=backend,
            dynamic=(),
        )
        for name, got in compiled(x).items():
            assert_alike(got, functions[name](x))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_function_of_pairs(backend: str, dtype: torch.dtype) -> None:
    x = torch.tensor(SPECIAL, dtype=dtype)
    x, y = x.repeat(len(SPECIAL)), x.repeat_interleave(len(SPECIAL))
    compiled = graphir.compile(
        lambda x, y: {name: fn(x, y) for name, fn in TWO.items()}, backend=backend, dynamic=()
    )
    for name, got in compiled(x, y).items():
        assert_alike(got, TWO[name](x, y))


def table(rows: int = 37, columns: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    x[3, 1], x[7, 2], x[8, 0] = NAN, INF, -INF
    x[11] = -INF
    x[12] = NAN
    return x


BY_ROW: dict[str, Callable[..., Any]] = {
    "softmax": lambda x: torch.softmax(x, 1),
    "log_softmax": lambda x: torch.log_softmax(x, 1),
    "logsumexp": lambda x: torch.logsumexp(x, 1),
    "largest": lambda x: x.amax(1),
    "smallest": lambda x: x.amin(1),
    "sum": lambda x: x.sum(1),
    "columns": lambda x: x.sum(0),
    "largest_of_columns": lambda x: x.amax(0),
    "largest_of_all": lambda x: x.amax(),
    "logs": lambda x: torch.log(x * x).sum(1),
    "inverses": lambda x: (1 / x).sum(0),
    "inverses_of_differences": lambda x: (1 / (x - 1)).sum(),
    "product": lambda x: x @ torch.ones(5, 3, dtype=x.dtype),
    "product_with_inverse": lambda x: x.T @ (1 / x),
    "numbers_only": lambda x: torch.where(abs(x) < 1e9, x, 0.0).sum(0),
    "mean_of_numbers": lambda x: torch.where(x == x, x, 0.0).amax(1),
    "next_row": lambda x: x[1:] - x[:-1],
    "every_other": lambda x: torch.exp(x)[:, ::2] * 2,
    "norms": lambda x: torch.sqrt((x * x).sum(1)),
}


@pytest.mark.parametrize("name", BY_ROW)
@pytest.mark.parametrize("rows", [13, 37, 300])
@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_do_not_leak(backend: str, rows: int, name: str) -> None:
    """One bad row changes no other; blocks of rows are cut off at the last one."""
    x = table(rows)
    compiled = graphir.compile(BY_ROW[name], backend=backend, dynamic={"x": 0})
    assert_alike(compiled(x), BY_ROW[name](x))


def finite_outside(params: Any, x: Any, y: Any) -> Any:
    """A loss whose terms are infinite or NaN at zeros, which is what padding holds."""
    w, b = params
    z = x @ w + b
    return (y / z + torch.log(z * z) + torch.exp(1 / (z * z)).log()).mean()


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_is_not_part_of_a_loss(backend: str) -> None:
    generator = torch.Generator().manual_seed(1)
    for rows in (1, 3, 17, 257):
        x = torch.rand(rows, 3, generator=generator, dtype=torch.float64) + 0.5
        y = torch.rand(rows, generator=generator, dtype=torch.float64) + 0.5
        params = torch.ones(3, dtype=torch.float64), torch.ones((), dtype=torch.float64)
        value, grads = graphir.compile(graphir.value_and_grad(finite_outside), backend=backend)(
            params, x, y
        )
        leaves = tuple(p.clone().requires_grad_() for p in params)
        wanted = finite_outside(leaves, x, y)
        assert math.isfinite(wanted.item())
        torch.testing.assert_close(value, wanted.detach())
        for got, exact in zip(grads, torch.autograd.grad(wanted, leaves), strict=True):
            torch.testing.assert_close(got, exact)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bad_row_reaches_the_loss(backend: str) -> None:
    """A NaN in the data is never lost on its way to loss and gradient."""

    def loss(w: Any, x: Any) -> Any:
        return torch.relu(x @ w).mean()

    w, x = torch.ones(5, dtype=torch.float64), table(37)
    value, gradient = graphir.compile(graphir.value_and_grad(loss), backend=backend)(w, x)
    assert math.isnan(value)
    assert gradient.isnan().any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_integers_have_no_nan(backend: str) -> None:
    x = torch.tensor([3, -7, 0, 2**40])
    compiled = graphir.compile(
        lambda x: (x.amax(), x.amin(), x.sum(), torch.relu(x)), backend=backend, dynamic=()
    )
    got = compiled(x)
    for ours, wanted in zip(got, (x.amax(), x.amin(), x.sum(), torch.relu(x)), strict=True):
        assert torch.equal(ours, wanted)
