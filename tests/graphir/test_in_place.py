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
    z @= z
    return z


def activations(x: Array) -> Array:
    h = F.relu(x * 2, inplace=True)
    return torch.nn.ReLU(inplace=True)(h - 1)


def activation_of_an_argument(x: Array) -> Array:
    y = x * 2
    h = F.hardtanh(y, -3.0, 3.0, inplace=True)
    return y, h


def kept_axes(x: Array) -> Array:
    s = x.sum(0, keepdim=True)
    s += 1
    return x / s


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


def views_of_one_array(x: Array) -> Array:
    y = x * 1
    a, b = y[0], y[:, 1:]
    b *= 2
    return a.sum()


def copies(x: Array) -> Array:
    y = x * 1
    kept = [y[[0, 1]], y.sum(0), 1 * y]
    y *= 2
    y[0] += 1
    return *kept, y


def axes_split_and_added(x: Array) -> Array:
    y = x * 1
    z = y.reshape(3, 1, 3, 1)
    z[1] = 4
    return y, z


@pytest.mark.parametrize(
    "fn",
    [
        accumulated, powers, activations, activation_of_an_argument, kept_axes, same_name,
        returned_under_its_old_name, base_of_a_view, view_of_a_base, views_of_one_array, copies,
        axes_split_and_added,
    ],
)  # fmt: skip
def test_exact(fn: Callable[..., Any]) -> None:
    x = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(graphir.compile(fn, backend="reference")(x), fn(x))
    torch.testing.assert_close(graphir.jacrev(fn)(x), torch.func.jacrev(fn)(x))


def of_numpy(x: Array) -> Any:
    y = x * 1
    view, copy, power = np.flip(y, 0), y.flatten(), y**1
    row, number = y[0], y[1, 1]
    y[1:, :2] -= 3.0
    y[0, 0] = view[2, 1]
    row[1:] = 7
    number += 1
    np.add(y, 1, out=y)
    np.multiply(y, 2, out=y, where=x > 0)
    np.add.at(y, ([0, 0, 1], [1, 1, 2]), 10.0)
    np.subtract.at(y, 2, x[0])
    np.copyto(row, -1.0, where=row > 8)
    np.putmask(y, y > 12, 0.5)
    np.fill_diagonal(y, x.sum())
    np.put_along_axis(y, np.argmax(x, 1)[:, None], 3.0, 1)
    total = np.zeros_like(x[0])
    total += x[0]
    total[...] = np.sum(x, axis=0, out=total) + total
    other = np.zeros_like(x)
    other.fill(2)
    return y, view, copy, power, number, total, other


def numpy_s_own(x: Array) -> Any:
    y = x * 1
    y[np.array([True, False, True]), 1] = 5.0
    y[[2, 1], [0, 0]] = x[0, :2]
    y[x > 1] = 1
    y[:, np.newaxis, 2] = 4
    y[-1, ::-1] = x[0]
    return y


@pytest.mark.parametrize("fn", [of_numpy, numpy_s_own])
@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_numpy(fn: Callable[..., Any], backend: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 3))
    found = graphir.compile(fn, backend=backend)(x)
    for ours, theirs in zip(found, fn(x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-14)


def reshaped(x: Array) -> Array:
    y = x * 1
    flat = y.reshape(9)
    flat *= 2
    return y.sum()


def base_of_what_was_reshaped(x: Array) -> Array:
    y = x * 1
    flat = y.reshape(-1)
    y += 1
    return flat.sum()


def ravelled(x: Array) -> Array:
    y = x * 1
    a, b = y[0], y.ravel()
    b *= 2
    return a.sum()


@pytest.mark.parametrize("fn", [reshaped, base_of_what_was_reshaped, ravelled])
@pytest.mark.parametrize("array", [np.ones((3, 3)), torch.ones(3, 3)])
def test_what_may_be_a_view_or_a_copy_is_not_read(fn: Callable[..., Any], array: Any) -> None:
    with pytest.raises(graphir.UnsupportedError, match="may or may not share") as caught:
        graphir.trace(fn, array)
    assert "x.clone()" in str(caught.value)
    first = fn.__code__.co_firstlineno
    assert f"test_in_place.py:{first + 3}" in str(caught.value)  # the write
    assert f"test_in_place.py:{first + 4}" in str(caught.value)  # what reads after it


def test_what_was_reshaped_may_be_written_where_nothing_else_is_read() -> None:
    def fn(x: Array) -> Array:
        flat = (x * 2).reshape(-1)
        flat[3] = 0
        kept = x.reshape(-1).clone()
        x += 1
        return flat, kept, x

    x = torch.randn(3, 3)
    torch.testing.assert_close(graphir.compile(fn, backend="reference")(x), fn(x.clone()))


@pytest.mark.parametrize(
    ("fn", "message", "hint"),
    [
        (lambda x: x[0].expand(3, 3).add_(1), "share memory", "clone()"),
        (lambda x: x.detach().mul_(2), "behind the back", "detach().clone()"),
        (lambda x: x.data.clamp_(0), "behind the back", "detach().clone()"),
        (lambda x: torch.zeros(3, 3).add_(x), "not traced", "zeros_like"),
        (lambda x: torch.exp(x, out=torch.zeros(3, 3)), "not traced", "total + x"),
        (lambda x: torch.zeros(3, 3).__setitem__(0, x[0]), "not traced", "x.new_zeros"),
        (lambda x: x.__setitem__(x > 0, x[0, :2]), "number that depends", "torch.where"),
        (lambda x: x.__setitem__((x[0] > 0, torch.tensor([0, 1, 2])), 1.0), "beside", "&"),
        (lambda x: x.t_(), "Tensor.t_", "x = x.t("),
        (lambda x: x.normal_(), "Tensor.normal_", ""),
        (lambda x: x.scatter_(1, (x > 0).long(), x, reduce="multiply"), "reduce=", "scatter_add"),
    ],
)
def test_refused(fn: Callable[..., Any], message: str, hint: str) -> None:
    with pytest.raises(graphir.UnsupportedError) as caught:
        graphir.trace(fn, torch.ones(3, 3))
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
    assert caught.value.location is not None
    assert caught.value.location.line == fn.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("fn", "kind", "message"),
    [
        (lambda x: x.__setitem__(0, torch.ones(2)), graphir.ShapeError, "(2,) and (3,)"),
        (lambda x: x.__setitem__((0, 0, 0), 1.0), graphir.ShapeError, "3 indices"),
        (lambda x: x.__setitem__(5, 1.0), graphir.ShapeError, "outside axis 0"),
        (lambda x: x.__setitem__(x[0] > 0, torch.ones(2)), graphir.ShapeError, "(2,) and (1, 3)"),
        (lambda x: x.__setitem__((x > 0)[:2], 1.0), graphir.ShapeError, "mask"),
        (lambda x: x[0].add_(x), graphir.ShapeError, "would change the shape"),
        (lambda x: x.long().add_(0.5), graphir.DTypeError, "would change the dtype"),
        (lambda x: x.index_add_(0, torch.tensor([0]), x), graphir.ShapeError, "source of (1, 3)"),
        (lambda x: x.index_copy_(0, torch.tensor([0]), x[:1].double()), graphir.DTypeError, "f64"),
        (lambda x: x.scatter_(0, x, x), graphir.DTypeError, "integers"),
    ],
)
def test_what_does_not_fit(fn: Callable[..., Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as caught:
        graphir.trace(fn, torch.ones(3, 3))
    assert message in str(caught.value).replace("float64", "f64")


def test_indices_are_checked() -> None:
    def fn(x: Array, i: Array) -> Array:
        return x.index_add_(0, i, x[:2])

    compiled = graphir.compile(fn, backend="reference", dynamic=())
    compiled(torch.ones(3, 3), torch.tensor([0, 2]))
    with pytest.raises(graphir.GraphirError, match="index 3 is out of range"):
        compiled(torch.ones(3, 3), torch.tensor([0, 3]))


@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_of_several_writes_the_last_one_counts(backend: str) -> None:
    ids = np.array([1, 0, 1, 1])

    def fn(x: Array, v: Array) -> Array:
        x[ids] = v
        x[0, ids % 2] = v[:, 0]
        return x

    x, v = np.zeros((3, 2)), np.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(
        graphir.compile(fn, backend=backend, dynamic=())(x, v), fn(x.copy(), v)
    )


@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_sizes_that_vary(backend: str) -> None:
    def fn(scale: Array, x: Array) -> Array:
        y = x * scale
        y[1:] += y[:-1].clone()
        y[:, 0] = y[:, 1]
        y[0] = y.sum(0)
        y[y > 2] = 2.0
        return y

    compiled = graphir.compile(fn, backend=backend)
    for n in (4, 9):
        x = torch.randn(n, 3, generator=torch.Generator().manual_seed(n))
        scale = torch.tensor(0.5)
        torch.testing.assert_close(compiled(scale, x), fn(scale, x))


def test_numpy_s_numbers_are_not_written() -> None:
    def fn(x: Array) -> Array:
        total = kept = x.sum()
        total += 1.0
        first = x[0]
        first *= 5
        return total * kept + x[0]

    x = np.arange(1.0, 4.0)
    np.testing.assert_allclose(graphir.compile(fn, backend="reference")(x), fn(x))


@pytest.mark.parametrize("array", [np.array(2.0), torch.tensor(2.0)])
def test_a_0_d_argument_is_an_array(array: Array) -> None:
    def fn(x: Array) -> Array:
        y = x
        x += 1
        x += 1
        return y * 2

    assert graphir.compile(fn, backend="reference")(array) == 8


def test_an_argument_may_be_written_and_differentiated() -> None:
    def fn(x: Array) -> Array:
        x *= 2
        x[0] *= 3
        return (x * x).sum()

    x = torch.tensor([1.0, 2.0])
    wanted = torch.tensor([72.0, 16.0])
    torch.testing.assert_close(graphir.grad(fn)(x), wanted)
    torch.testing.assert_close(graphir.jacfwd(fn)(x), wanted)
    torch.testing.assert_close(graphir.vjp(fn, x)[1](torch.tensor(1.0))[0], wanted)
    torch.testing.assert_close(graphir.jvp(fn, (x,), (torch.ones(2),))[1], wanted.sum())
    leaf = x.clone().requires_grad_()
    graphir.compile(fn, backend="reference")(leaf).backward()
    torch.testing.assert_close(leaf.grad, wanted)
    # What the caller holds stays: a traced function has no side effects.
    assert torch.equal(x, torch.tensor([1.0, 2.0]))


def test_inside_a_trace_arguments_stay_as_well() -> None:
    def inner(x: Array) -> Array:
        x *= 3
        return (x * x).sum()

    def outer(x: Array) -> Array:
        y = x * 1
        g = graphir.grad(inner)(y)
        y[0] = 0
        return g, y, graphir.vmap(lambda row: row.mul_(2).sum())(y), y

    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    g, y, sums, again = graphir.compile(outer, backend="reference")(x)
    torch.testing.assert_close(g, 18 * x)
    assert y.tolist() == again.tolist() == [[0, 0], [3, 4]]
    assert sums.tolist() == [0, 14]


def test_vmap_over_writes() -> None:
    def fn(x: Array, i: Array) -> Array:
        y = x * 1
        y[1:] *= 2
        y[i] = 0.5
        return y.index_add(0, i, y[:2]).scatter(0, i, -1.0)

    x, i = torch.randn(4, 3, dtype=torch.float64), torch.tensor([[0, 2], [1, 0], [2, 1], [0, 1]])
    wanted = torch.stack([fn(a, b) for a, b in zip(x, i, strict=True)])
    torch.testing.assert_close(graphir.vmap(fn)(x, i), wanted)


def test_what_is_recorded_may_be_written() -> None:
    with graphir.record() as tape:
        x = tape.watch(torch.tensor([1.0, 2.0, 3.0]), "x")
        y = x * 2
        y[1:] += x[0]
        assert y.tolist() == [2, 5, 7]
        y[y > 6] = 0.0
        loss = (y * y).sum()
    tape.backward(loss)
    assert x.grad.tolist() == [4 * 2 + 2 * 5, 2 * 2 * 5, 0]
