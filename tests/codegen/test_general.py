"""Functions that are no training steps: every form of node, against torch or NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree
import pytest
import torch
from torch.nn import functional as F

import graphir

BACKENDS = ["c", "interpret"]
GENERATOR = torch.Generator()


def real(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=GENERATOR.manual_seed(seed), dtype=torch.float64).to(dtype)


def whole(high: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=GENERATOR.manual_seed(seed))


@dataclass(frozen=True)
class Case:
    """A function, arguments for it, and which axes vary. `expected` is the function itself, or
    what to compare with where graphir's own transformations are in it."""

    name: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    dynamic: Any = None
    expected: Callable[..., Any] | None = None


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


BOTH = {"x": 0, "y": 0}

PRODUCTS = [
    Case("rows_by_rows", lambda x, y: x @ y.T, (real(19, 5), real(23, 5)), BOTH),
    Case("row_sums", lambda x, y: torch.exp(x @ y.T).sum(1), (real(19, 5), real(23, 5)), BOTH),
    Case("column_sums", lambda x, y: (x @ y.T).sum(0), (real(190, 5), real(23, 5)), BOTH),
    Case("all_sums", lambda x, y: torch.exp(x @ y.T).sum(), (real(90, 5), real(23, 5)), BOTH),
    Case("with_itself", lambda a, x: x @ x.T, (real(), real(19, 5))),
    Case("with_itself_known", lambda x: x @ x.T, (real(19, 5),), ()),
    Case("sum_with_itself", lambda a, x: (x @ x.T).sum(), (real(), real(19, 5))),
    Case("gram", lambda x: x.T @ x, (real(19, 5),), {"x": 0}),
    Case("big_gram", lambda x: x.T @ x, (real(190, 129),), {"x": 0}),
    Case("plus_transposed", lambda w: w + w.T, (real(6, 6),), ()),
    Case("plus_transposed_big", lambda w: torch.exp(w) + torch.exp(w).T, (real(160, 160),), ()),
    Case("batched", lambda x, y: x @ y, (real(4, 5, 6), real(4, 6, 7)), ()),
    Case("batched_unknown", lambda x, y: torch.exp(x @ y).sum(-1),
         (real(40, 5, 6), real(40, 6, 7)), BOTH),
    Case("batched_big", lambda x, y: x @ y, (real(4, 50, 60), real(4, 60, 70)), ()),
    Case("big", lambda x, y: x @ y, (real(300, 700), real(700, 500)), ()),
    Case("big_single", lambda x, y: x @ y,
         (real(300, 700, dtype=torch.float32), real(700, 500, dtype=torch.float32)), ()),
    Case("big_of_integers", lambda x, y: x @ y, (whole(9, 40, 90), whole(9, 90, 70)), ()),
    Case("chain", lambda x, a, b: torch.relu(x @ a) @ b,
         (real(20, 40), real(40, 50), real(50, 6)), {"x": 0}),
    Case("rows_left_over", lambda x, y: (x @ y) ** 2, (real(11, 130), real(130, 70)), ()),
    Case("big_chain", lambda x, a, b: torch.relu(x @ a) @ b,
         (real(20, 400), real(400, 300), real(300, 60)), {"x": 0}),
    Case("outer", torch.outer, (real(5), real(7)), ()),
    Case("outer_sum", lambda x, y: torch.outer(x, y).sum(0), (real(5), real(7)), BOTH),
    Case("attention", lambda x, y, v: torch.softmax(x @ y.T, 1) @ v,
         (real(20, 4), real(30, 4), real(30, 6)), {"x": 0, "y": 0, "v": 0}),
    Case("einsum", lambda x, y: torch.einsum("abc,cd->bda", x, y),
         (real(3, 4, 5), real(5, 6)), ()),
    Case("sum_of_products", lambda x, y: torch.einsum("ij,ij->", x, y),
         (real(30, 4), real(30, 4, seed=1)), {"x": (0, 1), "y": (0, 1)}),
    Case("all_pairs", lambda a, x: torch.maximum(x.amax(1)[:, None], torch.exp(x)[:, 0][None]),
         (real(), real(20, 5))),
    Case("differences_of_products",
         lambda a, x: (-x @ x.T)[:, 1:] - (-x @ x.T)[:, :-1], (real(), real(20, 5))),
    Case("permuted", lambda x, y: torch.exp(x).permute(2, 0, 1) @ y,
         (real(3, 4, 5), real(4, 6)), ()),
]  # fmt: skip

MOVEMENTS = [
    Case("slices", lambda x: x[1::2, -3:], (real(7, 5),), ()),
    Case("slices_from_the_end", lambda x: x[-3:-1] * 2, (real(7, 5),), ()),
    Case("slices_of_computed", lambda x: torch.exp(x)[1::2, -3:] * 2, (real(7, 5),), ()),
    Case("slices_of_computed_columns", lambda a, x: torch.exp(x)[:, 1::2].sum(0),
         (real(), real(700, 5))),
    Case("slices_of_many_columns", lambda x: torch.exp(x)[-2:, 300:600:7], (real(7, 1000),), ()),
    Case("column", lambda a, x: x[:, -2] * a, (real(), real(700, 5))),
    Case("row", lambda a, x: x[-1] * a, (real(), real(70, 5))),
    Case("row_of_computed", lambda x: torch.exp(x)[-2], (real(7, 5),), ()),
    Case("every_third", lambda x: (x[:, ::3] * 2).sum(1), (real(10, 20),), {"x": 0}),
    Case("all_but_some", lambda a, x: x[3:].sum(0) + x[:-2].sum(0), (real(), real(10, 20))),
    Case("differences", lambda x: x[1:] - x[:-1], (real(900),), ()),
    Case("differences_unknown", lambda a, x: x[1:] - x[:-1], (real(), real(900))),
    Case("differences_of_computed", lambda a, x: torch.exp(x)[1:] - torch.exp(x)[:-1],
         (real(), real(900))),
    Case("transposed_out", lambda x: (x * 2).T, (real(30, 4),), {"x": 0}),
    Case("permuted_out", lambda x: (x * 2).permute(3, 1, 0, 2), (real(2, 3, 4, 5),), {"x": 1}),
    Case("reshaped_and_summed", lambda x: torch.exp(x).reshape(4, 6).sum(0), (real(6, 4),), ()),
    Case("reshaped_unknown", lambda a, x: torch.exp(x).reshape(-1, 2).sum(0),
         (real(), real(60, 4))),
    Case("flattened", lambda a, x: torch.exp(x).reshape(-1).sum(), (real(), real(600, 4))),
    Case("rows_split", lambda a, x: torch.exp(x.reshape(-1, 2, 2)).sum(2),
         (real(), real(600, 4))),
    Case("computed_rows_split", lambda a, x: (a * x).reshape(-1, 2, 2).sum(2),
         (real(), real(600, 4))),
    Case("slice_reshaped", lambda x, w: x @ w[3:18].reshape(5, 3) + w[18:21],
         (real(8, 5), real(21)), {"x": 0}),
    Case("columns_reshaped", lambda w: w[:, 1:5].reshape(6, 2, 2).sum(1) + 1, (real(6, 7),), ()),
    Case("columns_flattened", lambda w: torch.exp(w[:, 1:5].reshape(24)), (real(6, 7),), ()),
    Case("transposed_flattened", lambda w: w.T.reshape(-1) * 2, (real(6, 7),), ()),
    Case("packed_layers", lambda w, x: torch.tanh(x @ w[:15].reshape(5, 3)) @ w[15:18] + w[18],
         (real(19), real(33, 5))),
]  # fmt: skip

REDUCTIONS = [
    Case("row_softmax", lambda x: torch.softmax(x, 1), (real(9, 70),), {"x": (0, 1)}),
    Case("column_softmax", lambda a, x: torch.softmax(x, 0), (real(), real(9, 7))),
    Case("wide_softmax", lambda x: torch.softmax(x, 1), (real(9, 3000),), {"x": 0}),
    Case("wider_softmax", lambda x: torch.softmax(x, 1), (real(3, 30000),), {"x": 0}),
    Case("all", lambda x: (x.sum(), x.amax(), x.mean()), (real(5, 6, 7),), {"x": (0, 1, 2)}),
    Case("all_of_computed", lambda x: torch.exp(x).sum(), (real(50, 30),), {"x": (0, 1)}),
    Case("rows", lambda x: torch.exp(x).sum(1), (real(50, 30),), {"x": (0, 1)}),
    Case("columns", lambda x: torch.exp(x).sum(0), (real(50, 30),), {"x": (0, 1)}),
    Case("many", lambda x: torch.exp(x).sum(), (real(300, 700),), ()),
    Case("many_rows", lambda x: torch.exp(x).sum(1), (real(300, 700),), ()),
    Case("many_columns", lambda x: torch.exp(x).sum(0), (real(300, 700),), ()),
    Case("short_axes", lambda x: torch.exp(x).sum((0, 1, 2, 3)), (real(20, 20, 20, 20),), ()),
    Case("too_many_for_a_tile", lambda x: torch.sin(x).sum(), (real(2500, 2500),), ()),
    Case("centred", lambda x: x - x.sum(1, keepdim=True), (real(30, 4),), {"x": 0}),
    Case("share_of_all", lambda x: x / x.sum(), (real(30, 4),), {"x": 0}),
    Case("standardised", lambda a, x: (x - x.mean(0)) / x.std(0), (real(), real(60, 3))),
    Case("both_means", lambda x: x.mean(0).exp().sum() * x.mean(1), (real(30, 4),), {"x": 0}),
    Case("distances", lambda x, y: ((x[:, None] - y[None]) ** 2).sum(-1).amin(1),
         (real(90, 3), real(7, 3)), BOTH),
    Case("gaussian_kernel", lambda x, y: torch.exp(-((x[:, None] - x[None]) ** 2).sum(-1)) @ y,
         (real(20, 3), real(20)), BOTH),
    Case("norm", torch.linalg.norm, (real(60, 3),), ()),
]  # fmt: skip

KINDS = [
    Case("integers", lambda i, j: (i + j, i * j, i - j, -i, abs(i - 3), i.sum(), i.amax()),
         (whole(6, 10), whole(6, 10, seed=1)), ()),
    Case("integer_sums", lambda a, i: (i.sum(), i.amin(), (i * 2).sum(0)),
         (real(), whole(90, 60, 3))),
    Case("comparisons", lambda i, j: (i > j, (i > j) & (j > 2), ~(i > j), (i > j).sum()),
         (whole(6, 10), whole(6, 10, seed=1)), ()),
    Case("booleans_in", lambda a, b, x: torch.where(b, x, a),
         (real(), real(600) > 0, real(600, seed=1))),
    Case("booleans_out", lambda a, x: (x > a, (x > a).sum(), (x > a).to(x.dtype).mean(0)),
         (real(), real(600, 3))),
    Case("masked_mean", lambda a, x: torch.where(x > 0, x, 0).sum() / (x > 0).sum(),
         (real(), real(600))),
    Case("bytes", lambda a: (a + a, a.to(torch.float32) * 2), (whole(100, 60).to(torch.uint8),),
         ()),
    Case("short_integers", lambda a: (a + a, a * a), (whole(100, 60).to(torch.int32),), ()),
    Case("rounded", lambda x: (x.to(torch.int64), x.to(torch.float32) * 2), (real(60) * 9,), ()),
    Case("powers", lambda x: (x**3, x**2.5, x**-1, 2.0**x, x**0.5), (real(20).abs() + 0.1,), ()),
    Case("powers_of_integers", lambda i: (i**2, i**3), (whole(9, 20) - 4,), ()),
    Case("clamped", lambda x: x.clamp(-0.5, 0.5), (real(20),), ()),
    Case("half", lambda x: (x + x, x * x), (real(60).to(torch.float16),), ()),
]  # fmt: skip

OUTPUTS = [
    Case("unchanged_and_twice", lambda x: (x, x * 2, x * 2, x), (real(5, 3),), ()),
    Case("with_a_sum", lambda a, x: (x, x * 2, (x * 2).sum(0), x, a), (real(), real(50, 3))),
    Case("constants", lambda x: (torch.zeros_like(x), torch.ones_like(x).sum(), x * 0 + 3),
         (real(5, 3),), ()),
    Case("numbers", lambda a, x: (x * 2, 3.0, x.shape[0]), (real(), real(5, 3))),
    Case("views", lambda x: (x.T, x[1:], x.reshape(-1), x[None]), (real(5, 3),), ()),
    Case("big_unchanged", lambda x, y: (x, x @ y, y), (real(300, 200), real(200, 260)), ()),
    Case("unrelated", lambda x, y: (torch.exp(x), y.sum(0)), (real(300, 2), real(500, 3)), BOTH),
    Case("of_parameters", lambda w, b: (torch.exp(w).sum() + b, w @ w), (real(5), real())),
    Case("of_a_tree", lambda p: p["w"].T @ p["w"] + p["b"], ({"w": real(5, 3), "b": real(3)},)),
    Case("ones", lambda a, x: (x @ a, x.sum(), x.amax(1), x.T @ x), (real(1), real(1, 1))),
    Case("one_column", lambda a, x: (x @ a, x.amax(1), x.T @ x), (real(1, 1), real(7, 1))),
    Case("stretched", lambda a, x: x * a, (real(1, 3), real(7, 1))),
]  # fmt: skip

INDEXING = [
    Case("take", lambda t, i: t[i], (real(6, 3), whole(6, 50))),
    Case("take_of_computed", lambda t, i: torch.exp(t)[i], (real(6, 3), whole(6, 50))),
    Case("computed_index", lambda t, i: t[i + 1] * 2, (real(6, 3), whole(5, 50))),
    Case("two_axes_of_index", lambda t, i: t[i].sum(1), (real(6, 3), whole(6, 50, 2))),
    Case("unknown_table", lambda i, t: t[i] * 2, (whole(6, 50), real(60, 3))),
    Case("gather", lambda a, x, i: x.gather(1, i[:, None])[:, 0] * a,
         (real(), real(50, 4), whole(4, 50))),
]  # fmt: skip


@pytest.mark.parametrize(
    "case",
    [*PRODUCTS, *MOVEMENTS, *REDUCTIONS, *KINDS, *OUTPUTS, *INDEXING],
    ids=lambda c: c.name,
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_values(backend: str, case: Case) -> None:
    check(case, backend)


def rows_of(t: Any, i: Any) -> Any:
    return (torch.sin(t[i]) * t[i]).sum()


DIFFERENTIATED = [
    Case("scatter", rows_of, (real(6), whole(6, 50))),
    Case("scatter_rows", rows_of, (real(6, 3), whole(6, 50))),
    Case("scatter_into_many", rows_of, (real(600, 3), whole(600, 50))),
    Case("scatter_two_axes", rows_of, (real(6, 3), whole(6, 50, 2))),
    Case("differences", lambda x: ((x[1:] - x[:-1]) ** 2).sum(), (real(9),), ()),
    Case("many_differences", lambda x: ((x[1:] - x[:-1]) ** 2).sum(), (real(900),), ()),
    Case("differences_unknown", lambda x, a: ((x[1:] - x[:-1]) ** 2).sum() * a,
         (real(900), real()), {"x": 0}),
    Case("differences_of_computed", lambda x: (torch.exp(x)[1:] * torch.exp(x)[:-1]).sum(),
         (real(900),), ()),
    Case("packed_layers",
         lambda w, x: (torch.tanh(x @ w[:15].reshape(5, 3)) @ w[15:18] + w[18]).sin().sum(),
         (real(19), real(33, 5))),
    Case("parts", lambda w, x: torch.sin(x[:, :2] @ w[:2] + x[:, 2:] @ w[2:]).sum(),
         (real(5), real(33, 5))),
    Case("ties", lambda x: x.amax(1).sum(), (torch.tensor([[1.0, 1, 0], [2, 2, 2]]),), ()),
    Case("ties_of_all", lambda x: x.amin(), (torch.tensor([[1.0, 1, 0], [2, 0, 2]]),), ()),
    Case("logsumexp_of_products",
         lambda w, x, y: torch.logsumexp((x * w) @ y.T, 1).mean(),
         (real(5), real(90, 5), real(23, 5)), {"x": 0, "y": 0}),
    Case("big_product", lambda w, x: torch.tanh(x @ w).mean(),
         (real(300, 200) / 20, real(150, 300)), ()),
    Case("big_product_unknown", lambda w, x: torch.tanh(x @ w).mean(),
         (real(300, 200) / 20, real(150, 300))),
    Case("quadratic_form", lambda w, x: ((x @ w) * x).sum(1).sin().mean(),
         (real(5, 5), real(40, 5))),
]  # fmt: skip


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
