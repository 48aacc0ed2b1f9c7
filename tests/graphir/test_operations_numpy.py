"""Every function of NumPy that graphir has, against NumPy itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optree
import pytest

import graphir

X = np.random.default_rng(2).uniform(-2, 2, (3, 4))
Y = np.random.default_rng(3).uniform(0.2, 2, (3, 4))
IDS = np.array([[2, 0], [1, 2], [2, 2]])

UNARY = [
    "abs",
    "absolute",
    "fabs",
    "sign",
    "square",
    "exp",
    "expm1",
    "exp2",
    "sin",
    "cos",
    "tan",
    "arctan",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "negative",
    "positive",
    "floor",
    "ceil",
    "trunc",
    "rint",
    "deg2rad",
    "rad2deg",
    "radians",
    "degrees",
    "isnan",
    "isinf",
    "isfinite",
    "nan_to_num",
    "logical_not",
    "fix",
]
POSITIVE = ["log", "log2", "log10", "log1p", "sqrt", "reciprocal"]
INSIDE = ["arcsin", "arccos"]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "true_divide",
    "maximum",
    "minimum",
    "power",
    "arctan2",
    "hypot",
    "logaddexp",
    "remainder",
    "mod",
    "fmod",
    "floor_divide",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "float_power",
]
REDUCTIONS = [
    "sum",
    "mean",
    "prod",
    "max",
    "amax",
    "min",
    "amin",
    "var",
    "std",
    "any",
    "all",
    "argmax",
    "argmin",
    "ptp",
    "count_nonzero",
]

FORMS: dict[str, Callable[..., Any]] = {
    **{n: lambda x, y, n=n: getattr(np, n)(x) for n in UNARY},
    **{n: lambda x, y, n=n: getattr(np, n)(y) for n in POSITIVE},
    **{n: lambda x, y, n=n: getattr(np, n)(x / 2.5) for n in INSIDE},
    **{n: lambda x, y, n=n: getattr(np, n)(y, np.abs(x)) for n in BINARY},
    **{n: lambda x, y, n=n: (getattr(np, n)(x), getattr(np, n)(x, axis=1)) for n in REDUCTIONS},
    "keepdims": lambda x, y: (np.sum(x, 0, keepdims=True), np.std(x, 1, ddof=1), x.argmax(axis=0)),
    "cumulative": lambda x, y: (np.cumsum(x), np.cumsum(x, 0), np.cumprod(x, axis=1), x.cumsum(1)),
    "norms": lambda x, y: (
        np.linalg.norm(x),
        np.linalg.norm(x, 1),
        np.linalg.norm(x, -np.inf),
        np.linalg.norm(x, axis=1),
        np.linalg.norm(x, 3, axis=0),
        np.linalg.norm(x[0], 0),
        np.linalg.norm(x, "fro", keepdims=True),
    ),
    "missing": lambda x, y: (
        np.fmax(np.where(x > 1, np.nan, x), y),
        np.fmin(y, np.where(x > 1, np.nan, x)),
        np.nansum(np.where(x > 1, np.nan, x)),
        np.nansum(x, axis=1, keepdims=True),
        np.nanmean(np.where(x > 1, np.nan, x), axis=1),
    ),
    "covariance": lambda x, y: (
        np.cov(x),
        np.cov(x[0], y[0]),
        np.cov(x, y, rowvar=False),
        np.cov(x, bias=True),
        np.cov(x, ddof=0),
        np.corrcoef(x),
        np.corrcoef(x[0], y[0]),
        np.corrcoef(x, rowvar=False),
    ),
    "average": lambda x, y: (np.average(x), np.average(x, 0, y), np.average(x, 1, y[0])),
    "rounding": lambda x, y: (np.round(x, 1), np.around(x), x.round(2), x // 0.7, x % 0.7, 3 % y),
    "clip": lambda x, y: (np.clip(x, -1, 1), x.clip(0, None), np.where(x > 0, x, y)),
    "heaviside": lambda x, y: (
        np.heaviside(np.round(x), y),
        np.heaviside(np.round(x).astype("float32"), y),
        np.heaviside(np.round(x), 0.5),
    ),
    "bits": lambda x, y: ((x > 0) & (y > 1) | ~(x < 1), (x > 0) ^ (y > 1)),
    "products": lambda x, y: (
        x @ y.T,
        np.dot(x, y.T),
        np.inner(x, y),
        np.outer(x[0], y[1]),
        np.vdot(x[0], y[0]),
        np.matmul(x, y[0]),
        np.linalg.outer(x[0], y[0]),
    ),
    "einsum": lambda x, y: (
        np.einsum("ij,ij->i", x, y),
        np.einsum("ij,kj,kl->il", x, y, y),
        np.einsum("ii", x[:, :3]),
        np.einsum("...j->...", x),
    ),
    "tensordot": lambda x, y: (np.tensordot(x, y.T, 1), np.tensordot(x, y, axes=([0, 1], [0, 1]))),
    "diagonals": lambda x, y: (
        np.trace(x),
        np.diagonal(x, 1),
        np.diag(x[0]),
        np.diag(x, -1),
        np.tril(x),
        np.triu(x, 1),
        x.trace(),
        x.diagonal(),
    ),
    "joining": lambda x, y: (
        np.concatenate([x, y], 1),
        np.stack([x, y], -1),
        np.hstack([x, y]),
        np.vstack([x, y[0]]),
        np.dstack([x, y]),
        np.column_stack([x[0], y[0]]),
    ),
    "splitting": lambda x, y: (
        *np.split(x, 2, 1),
        *np.array_split(x, 3, axis=1),
        *np.split(x, [1, 2]),
    ),
    "turning": lambda x, y: (
        np.flip(x),
        np.flip(x, 1),
        np.fliplr(x),
        np.flipud(x),
        np.roll(x, 1),
        np.roll(x, 2, axis=0),
        x[::-1],
        x[:, ::-2],
        x[-1:0:-1],
    ),
    "repeating": lambda x, y: (
        np.tile(x, 2),
        np.tile(x, (2, 1, 3)),
        np.repeat(x, 2),
        np.repeat(x, 3, axis=0),
        x.repeat(2, 1),
    ),
    "padding": lambda x, y: (
        np.pad(x, 1),
        np.pad(x, ((1, 0), (2, 1)), constant_values=2.0),
        np.pad(x, (0, 1), mode="constant"),
    ),
    "axes": lambda x, y: (
        x.T,
        np.transpose(x),
        np.moveaxis(x[None], 0, 2),
        np.swapaxes(x, 0, 1),
        np.moveaxis(x[None], (0, 1), (2, 0)),
        np.expand_dims(x, (0, 3)),
        np.squeeze(x[None]),
        np.ravel(x),
        x.reshape(2, 6),
        np.matrix_transpose(x),
    ),
    "taking": lambda x, y: (
        np.take(x, IDS),
        np.take(x, IDS, axis=1),
        x[IDS],
        x[IDS[:, 0], IDS[:, 1]],
        np.take_along_axis(x, IDS, 1),
        x[..., -1],
        x[1, 2],
    ),
    "creating": lambda x, y: (
        np.zeros(4) + x,
        np.ones((3, 1)) * x,
        np.arange(4) * x,
        x @ np.eye(4),
        np.full(4, 2.0) + x,
        np.zeros_like(x),
        np.ones_like(x) + x,
        np.full_like(x, 3),
        np.broadcast_to(x, (2, 3, 4)),
    ),
    "casting": lambda x, y: (
        x.astype("float32"),
        y.astype(int),
        (x > 0).astype(np.float64),
        x.astype(np.float16),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_value_shape_and_dtype(name: str) -> None:
    fn = FORMS[name]
    found = graphir.compile(fn, backend="reference", dynamic=())(X, Y)
    ours, theirs = optree.tree_leaves(found), optree.tree_leaves(fn(X, Y))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        b = np.asarray(b)
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_negative_steps_have_gradients() -> None:
    def loss(x: Any) -> Any:
        return np.sum(x[::-1] * np.arange(3.0)[:, None] * x[:, ::-2][:, :1])

    found = graphir.grad(loss)(X)
    step, expected = 1e-6, np.zeros_like(X)
    for at in np.ndindex(X.shape):
        moved = np.zeros_like(X)
        moved[at] = step
        expected[at] = (loss(X + moved) - loss(X - moved)) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
