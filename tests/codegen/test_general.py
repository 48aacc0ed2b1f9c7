"""Functions that are no training steps: every form of node, against torch or NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import optree
import pytest
import torch
from general_cases import (
    BOTH,
    DIFFERENTIATED,
    INDEXING,
    KINDS,
    MOVEMENTS,
    OUTPUTS,
    PRODUCTS,
    REDUCTIONS,
    Case,
    real,
)
from torch.nn import functional as F

import graphir

BACKENDS = ["c", "interpret"]


def check(case: Case, backend: str) -> Any:
    """Compile, run, and compare values, shapes and dtypes."""
    compiled = graphir.compile(case.fn, backend=backend, dynamic=case.dynamic)
    got = compiled(*case.args)
    wanted = (case.expected or case.fn)(*case.args)
    assert_same(got, wanted)
    return compiled


def assert_same(got: Any, wanted: Any) -> None:
    ours, theirs = optree.tree_leaves(got), optree.tree_leaves(wanted)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        if not isinstance(b, torch.Tensor):
            assert a == b
            continue
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        unit = torch.finfo(b.dtype).eps if b.is_floating_point() else 0
        # Sums of many terms differ by their order.
        error = 500 * unit * max(1.0, float(b.double().abs().max()))
        torch.testing.assert_close(a, b, rtol=0, atol=error, check_stride=False)


def gradient_of(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient in the first argument, by torch."""

    def apply(x: Any, *rest: Any) -> Any:
        x = x.detach().requires_grad_()
        return torch.autograd.grad(fn(x, *rest), x)[0]

    return apply


SHAPES: list[tuple[int, ...]] = [
    (), (1,), (5,), (300,), (3, 4), (1, 1), (17, 65), (2, 3, 4), (2, 1, 3, 5), (70, 3, 66),
    (20, 20, 20, 20),
]  # fmt: skip


def tanh_times(x: Any, y: Any) -> Any:
    return torch.tanh(x) * y + 1


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_elementwise(backend: str, shape: tuple[int, ...], known: bool) -> None:
    axes = {name: tuple(range(len(shape))) for name in ("x", "y")}
    args = real(*shape), real(*shape, seed=1)
    check(Case("", tanh_times, args, dynamic=() if known else axes), backend)


@pytest.mark.parametrize(
    "case",
    [*PRODUCTS, *MOVEMENTS, *REDUCTIONS, *KINDS, *OUTPUTS, *INDEXING],
    ids=lambda c: c.name,
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_values(backend: str, case: Case) -> None:
    check(case, backend)


@pytest.mark.parametrize("case", DIFFERENTIATED, ids=lambda c: c.name)
@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients(backend: str, case: Case) -> None:
    gradient = graphir.grad(case.fn)
    check(Case(case.name, gradient, case.args, case.dynamic, gradient_of(case.fn)), backend)


def cubed(w: Any, x: Any) -> Any:
    return (torch.tanh(x @ w) ** 3).mean()


def soft(w: Any, x: Any) -> Any:
    return F.softplus(x @ w).mean()


@pytest.mark.parametrize("inner", [cubed, soft])
@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives(backend: str, inner: Callable[..., Any]) -> None:
    def penalty(w: Any, x: Any) -> Any:
        return (graphir.grad(inner)(w, x) * torch.sin(w)).sum()

    def by_torch(w: Any, x: Any) -> Any:
        w = w.detach().requires_grad_()
        (first,) = torch.autograd.grad(inner(w, x), w, create_graph=True)
        return torch.autograd.grad((first * torch.sin(w)).sum(), w)[0]

    args = real(5), real(40, 5)
    check(Case("", graphir.grad(penalty), args, expected=by_torch), backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_other_sizes_run_the_same_code(backend: str) -> None:
    compiled = graphir.compile(lambda x, y: (x @ y.T).exp().sum(1), backend=backend, dynamic=BOTH)
    for rows, others in ((5, 7), (1, 1), (130, 2), (2, 300), (64, 64)):
        x, y = real(rows, 5), real(others, 5, seed=1)
        torch.testing.assert_close(compiled(x, y), (x @ y.T).exp().sum(1))
    assert len(compiled.entries) == 1


def reversed_parts(w: Any, x: Any) -> Any:
    """Steps below zero, which torch's slices do not take."""
    z = np.exp(x[::-1]) * w
    return z[::-2].sum(axis=0), (x[4:1:-2] * w)[::-1], z[:, ::-1] * z


def scores(w: Any, x: Any) -> Any:
    z = np.tanh(x * w)
    return np.where(z > 0, z, 0.1 * z).sum(axis=0), np.linalg.norm(x, axis=1)


@pytest.mark.parametrize("fn", [scores, reversed_parts], ids=lambda f: f.__name__)
@pytest.mark.parametrize("backend", BACKENDS)
def test_numpy_functions(backend: str, fn: Callable[..., Any]) -> None:
    w = real(4).numpy()
    for rows in (9, 300):
        x = real(rows, 4, seed=1).numpy()
        compiled = graphir.compile(fn, backend=backend, dynamic=())
        for got, wanted in zip(compiled(w, x), fn(w, x), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_of_reversed_parts(backend: str) -> None:
    def total(x: Any, w: Any) -> Any:
        return sum((part**3).sum() for part in reversed_parts(w, x))

    w = real(4).numpy()
    for rows in (9, 300):
        x = real(rows, 4, seed=1).numpy()
        gradient = graphir.grad(total)
        got = graphir.compile(gradient, backend=backend, dynamic=())(x, w)
        np.testing.assert_allclose(got, gradient(x, w), rtol=1e-9)


# Names that the generated text uses itself, or that mean something in C, Python or Triton.
NAMES = [
    "i", "j", "k", "n", "m", "i0", "m_i", "i_", "pid", "tl", "triton", "programs", "step",
    "first", "last", "final", "part", "block", "rows", "batch", "order", "start", "size", "sizes",
    "kept", "scratch", "begin", "end", "call", "thread", "x_ptr", "out0", "out0_ptr", "tmp3",
    "double", "float", "NAN", "exp", "fabs", "sum_x", "reduce_maximum", "work", "barrier",
    "buffers", "main", "register", "sum", "t3", "m3", "e", "mine", "theirs", "lane", "v", "vec",
    "restrict",
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_name_of_an_argument(backend: str) -> None:
    """Whatever the user calls his arrays, the text builds and means the same."""
    text = f"def fn(scale, {', '.join(NAMES)}):\n    total = scale\n"
    for name in NAMES:
        text += f"    total = total + torch.log1p({name} * {name}) * torch.exp({name})\n"
    text += f"    return total, torch.amax(total), torch.cosh({NAMES[0]}).sum(0)\n"
    space: dict[str, Any] = {"torch": torch}
    exec(text, space)
    args = [real(), *(real(9, 3, seed=s) for s, _ in enumerate(NAMES, 1))]
    check(Case("", space["fn"], tuple(args)), backend)


@pytest.mark.parametrize("op", ["amax", "amin"])
@pytest.mark.parametrize("columns", [1, 7, 16, 33, 100])
def test_most_and_least_by_vectors(op: str, columns: int) -> None:

    def fn(x: Any) -> Any:
        return getattr(torch, op)(x * 1.0, 1)

    compiled = graphir.compile(fn, backend="c")
    x = torch.randn(9, columns)
    assert torch.equal(compiled(x), fn(x))
    x[3, columns // 2] = float("nan")
    x[4, :] = float("inf") if op == "amin" else -float("inf")
    torch.testing.assert_close(compiled(x), fn(x), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("shape", [(16, 16), (17, 50), (33, 16), (130, 47)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_matrix_transposed_for_its_product(shape: tuple[int, int], dtype: Any) -> None:
    def loss(w: Any, x: Any) -> Any:
        hidden = torch.tanh(x @ w)
        return ((hidden @ w.T - x) ** 2).mean()

    generator = torch.Generator().manual_seed(1)
    w = torch.randn(shape, generator=generator, dtype=dtype) * 0.2
    x = torch.randn(45, shape[0], generator=generator, dtype=dtype)
    got = graphir.compile(graphir.grad(loss), backend="c", dynamic={"x": 0})(w, x)
    wanted = torch.func.grad(loss)(w, x)
    close = 1e-11 if dtype is torch.float64 else 1e-4
    torch.testing.assert_close(got, wanted, rtol=close, atol=close)
