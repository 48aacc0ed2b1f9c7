"""`x[mask]` that is computed with and written where the same mask holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from comparison import assert_alike, graphirs, torchs
from operations import Operation

import graphir

M = torch.tensor(
    [[True, False, True, True], [False, False, True, False], [True, True, False, True]]
)
ROWS = torch.tensor([True, False, True])
NONE = torch.zeros(3, 4, dtype=torch.bool)


def written(change: Callable[..., Any]) -> Callable[..., torch.Tensor]:
    """`change(y, x, v)` of a copy y of x, then something that is not linear."""

    def fn(x: Any, v: Any) -> Any:
        y = x * 1
        change(y, x, v)
        return y * torch.tanh(y)

    return fn


def _add(y, x, v):
    y[y > 0] += v


def _all_operators(y, x, v):
    y[M] += 0.5
    y[M] -= v
    y[M] *= 2
    y[M] /= 3
    y[M] **= 2
    y[~M] %= 0.7


def _set(y, x, v):
    y[M] = v * 2
    y[~M] = 0.25


def _of_itself(y, x, v):
    y[M] = -y[M]
    y[M] = v * y[M] + x[M] * y[M]
    y[x > 0.5] = 1 - y[x > 0.5]


def _functions(y, x, v):
    y[M] = torch.exp(x[M]) + x[M].sin().abs()
    y[M] = torch.maximum(y[M], x[M] * v)


def _away_from_poles(y, x, v):
    zeroed = torch.where(M, x.abs() + 0.1, 0.0)
    y[M] = torch.log(zeroed[M]) + zeroed[M].sqrt() + 1 / zeroed[M] + zeroed[M] ** -1.5


def _rows(y, x, v):
    y[ROWS] += x[1]
    y[ROWS] = y[ROWS] * x[0] + v
    y[ROWS] *= torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=x.dtype)


def _in_parts(y, x, v):
    y[ROWS, 1:] += v
    y[:, x[0] > 0] -= 1
    y[1:][M[1:]] *= 3
    y[..., 0][ROWS] = 5.0
    turned = M.T
    y.T[turned] += x.T[turned]


def _none(y, x, v):
    y[NONE] += v
    y[NONE] = torch.log(x[NONE])


def _accumulated(y, x, v):
    y.index_put_((M,), v, accumulate=True)
    y.index_put_((ROWS,), x[2], accumulate=True)


CHANGES = (
    _add, _all_operators, _set, _of_itself, _functions, _away_from_poles, _rows, _in_parts, _none,
    _accumulated,
)  # fmt: skip


def operations() -> list[Operation]:
    return [Operation(c.__name__, written(c), shapes=((3, 4), ())) for c in CHANGES]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_value_gradient_and_second_gradient_are_torchs(backend: str, dtype: torch.dtype) -> None:
    mine = operations()
    args = [x for o in mine for x in o.arguments(dtype)]
    found, wanted = graphirs(mine, backend)(*args), torchs(mine, args)
    for operation, ours, theirs in zip(mine, found, wanted, strict=True):
        try:
            assert_alike(ours, theirs, 1000)
        except AssertionError as error:
            raise AssertionError(f"{operation.name}: {error}") from None


def test_masks_of_a_size_that_varies() -> None:
    def fn(v, x, keep):
        y = x * 1
        y[x > 0] += v
        y[keep] = y[keep] * 2
        return y

    compiled = graphir.compile(fn, backend="c")
    for rows in (4, 2):
        x = torch.linspace(-1, 1, 3 * rows).reshape(rows, 3)
        keep = torch.arange(rows) % 2 == 0
        torch.testing.assert_close(compiled(torch.tensor(2.0), x, keep), fn(2.0, x, keep))
    assert not compiled.graph(torch.tensor(2.0), x, keep).notes


@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_in_numpy(backend: str) -> None:
    keep = np.array([True, False, True])
    left = ~keep

    def fn(x, v):
        y = x.copy()
        y[y > 0] += v
        y[keep] *= 2.0
        y[left] = -y[left]
        y[x < 0] = np.exp(x[x < 0]) + np.float64(1.0) * x[x < 0]
        y[keep, 0] = 7.0
        return y

    x = np.linspace(-1, 1, 12).reshape(3, 4)
    compiled = graphir.compile(fn, backend=backend, dynamic=())
    np.testing.assert_allclose(compiled(x, np.float64(0.5)), fn(x, 0.5), rtol=1e-12)

    def loss(x, v):
        return (fn(x, v) ** 2).sum()

    found = graphir.compile(graphir.grad(loss), backend=backend, dynamic=())(x, np.float64(0.5))
    step, moved = 1e-6, np.zeros_like(x)
    for at in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            other = x.copy()
            other[at] += sign * step
            ends.append(loss(other, 0.5))
        moved[at] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(found, moved, rtol=1e-6, atol=1e-7)


def test_what_is_read_keeps_what_was_there() -> None:
    def fn(x):
        y = x * 1
        before = y[x > 0]
        y[x > 0] = 0.0
        y[x > 0] = before + 1
        return y

    x = torch.tensor([1.0, -2.0, 3.0])
    assert torch.equal(graphir.compile(fn, backend="reference")(x), torch.tensor([2.0, -2.0, 4.0]))


def test_integers_stay_integers() -> None:
    def fn(x):
        y = x + 0
        y[y > 2] *= 2
        return y

    x = torch.arange(5)
    assert torch.equal(graphir.compile(fn, backend="c")(x), torch.tensor([0, 1, 2, 6, 8]))

    def mixed(x):
        y = x + 0
        y[y > 2] += 0.5
        return y

    with pytest.raises(graphir.DTypeError, match="would change the dtype"):
        graphir.trace(mixed, x)


def _assign(x: Any, mask: Any, new: Any) -> None:
    x[mask] = new


REFUSED: Sequence[tuple[Callable[..., Any], str]] = [
    (lambda x: x[x > 0], "is not supported here"),
    (lambda x: x[x > 0].sum(), "sum does not take"),
    (lambda x: torch.sum(x[x > 0]), "sum does not take"),
    (lambda x: torch.stack([x[x > 0], x[x > 0]]), "stack does not take"),
    (lambda x: x[x > 0] @ x, "is not supported here"),
    (lambda x: torch.ones(3).add(x[x > 0]), "as many elements of y"),
    (lambda x: len(x[x > 0]), "is not supported here"),
    (lambda x: x[x > 0][0], "is not supported here"),
    (lambda x: x[x > 0].add_(1), "add_ does not take"),
    (lambda x: x[x > 0] + x[x > 1], "another mask"),
    (lambda x: _assign(x, x > 0, x[x > 1]), "another mask"),
    (lambda x: _assign(x, x > 0, torch.ones(3)), "as many elements of y"),
]


@pytest.mark.parametrize(("fn", "message"), REFUSED)
def test_what_needs_the_elements_side_by_side_is_refused(fn: Any, message: str) -> None:
    with pytest.raises(graphir.UnsupportedError) as caught:
        graphir.trace(fn, torch.ones(3, 3))
    assert message in caught.value.message
    assert "torch.where(mask" in (caught.value.hint or "")
    assert caught.value.location is not None


def test_bytes_are_a_mask_to_torch_and_positions_to_numpy() -> None:
    x, mask = torch.arange(12.0).reshape(3, 4), ROWS.to(torch.uint8)

    def doubled(x: Any, mask: Any) -> Any:
        y = x.clone()
        y[mask] = y[mask] * 2
        return y

    wanted = torch.where(ROWS[:, None], 2 * x, x)
    torch.testing.assert_close(graphir.compile(doubled, backend="c")(x, mask), wanted)
    rows = graphir.compile(lambda x, mask: x[mask], backend="c")(x.numpy(), mask.numpy())
    np.testing.assert_array_equal(rows, x.numpy()[[1, 0, 1]])
