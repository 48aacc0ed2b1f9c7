"""Functions that are no training steps, by the form of what they do to arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

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
