"""Each torch function, traced and evaluated in NumPy, against torch itself."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from graphir.errors import DTypeError, ShapeError, TraceError, UnsupportedError
from graphir.evaluate import evaluate
from graphir.tracing import trace


def tensors(shape: tuple[int, ...], count: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Reproducible samples with ties and both signs."""
    draw = torch.Generator().manual_seed(7)
    return [
        (torch.randn(shape, generator=draw, dtype=torch.float64) * 4).round().div(2).to(dtype)
        for _ in range(count)
    ]


def check(fn: Callable[..., Any], *args: Any, dynamic: Any = None) -> None:
    """The traced function gives torch's values, shapes and dtypes."""
    expected = fn(*args)
    traced = trace(fn, args, dynamic=dynamic)
    flat = [x for a in args for x in (a if isinstance(a, (tuple, list)) else [a])]
    results = evaluate(traced.graph, flat)
    wanted = list(expected) if isinstance(expected, (tuple, list)) else [expected]
    assert len(results) == len(wanted)
    for got, want in zip(results, wanted, strict=True):
        want = torch.as_tensor(want)
        got = torch.as_tensor(np.array(got))
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        tight = 1e-5 if want.dtype is torch.float32 else 1e-12
        torch.testing.assert_close(got, want, rtol=tight, atol=tight, equal_nan=True)


UNARY = {
    "exp": torch.exp, "expm1": torch.expm1, "sin": torch.sin, "cos": torch.cos,
    "tanh": torch.tanh, "sinh": torch.sinh, "cosh": torch.cosh, "sigmoid": torch.sigmoid,
    "F.sigmoid": torch.special.expit, "softplus": F.softplus, "relu": torch.relu, "F.relu": F.relu,
    "abs": torch.abs, "sign": torch.sign, "square": torch.square, "neg": torch.neg,
    "log of abs": lambda x: torch.log(torch.abs(x) + 1), "log1p": lambda x: torch.log1p(x.abs()),
    "sqrt": lambda x: torch.sqrt(x.abs()), "rsqrt": lambda x: torch.rsqrt(x.abs() + 1),
    "reciprocal": lambda x: torch.reciprocal(x + 9), "logsigmoid": F.logsigmoid, "silu": F.silu,
    "softplus with beta": lambda x: F.softplus(x, beta=2.0),
    "softplus with threshold": lambda x: F.softplus(x, 1.0, 1.0),
    "clamp": lambda x: x.clamp(-1, 1), "clamp min": lambda x: torch.clamp(x, min=0.5),
    "clip": lambda x: torch.clip(x, max=0), "methods": lambda x: x.exp().tanh().abs(),
    "negative": lambda x: -x, "absolute": abs, "positive": lambda x: +x,
    "square of": lambda x: x**2, "cube": lambda x: x**3, "fourth": lambda x: x**4,
    "root": lambda x: x.abs() ** 0.5, "inverse": lambda x: (x + 9) ** -1,
    "two to the": lambda x: 2.0**x, "numbers": lambda x: 1 - 2 * x / 3 + 1,
    "comparisons": lambda x: (x > 0) & (x <= 1) | ~(x != 0.5),
    "logic": lambda x: torch.logical_or(torch.logical_not(x), x == 1),
    "where": lambda x: torch.where(x > 0, x, 0.0), "method where": lambda x: x.where(x > 0, -x),
    "where of numbers": lambda x: torch.where(x > 0, 1.0, 0.0),
    "detach": lambda x: x.detach() * x, "zeros_like": torch.zeros_like,
    "ones_like": lambda x: torch.ones_like(x) * x, "full_like": lambda x: torch.full_like(x, 3),
    "double": lambda x: x.double(), "float": lambda x: x.float(), "long": lambda x: x.long(),
    "to": lambda x: x.to(torch.float64), "bool": lambda x: x.bool(),
    "own dtype": lambda x: torch.exp(x).to(x.dtype), "clone": lambda x: x.clone() + 1,
    "logaddexp": lambda x: torch.logaddexp(x, 2 * x), "new axis": lambda x: x[..., None],
    "numpy scalar": lambda x: np.float64(2) * x,
    "size": lambda x: x.size(-1) * x / x.numel() + x.ndim + x.dim(),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4)], ids=str)
def test_unary(name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    check(UNARY[name], *tensors(shape, 1, dtype))


@pytest.mark.parametrize("name", sorted(set(UNARY) - {"size", "F.sigmoid"}))
def test_unary_on_a_scalar(name: str) -> None:
    check(UNARY[name], torch.tensor(0.5))


@pytest.mark.parametrize(
    "name",
    ["exp", "sqrt", "abs", "sign", "neg", "relu", "square", "numbers", "comparisons", "clamp",
     "where of numbers", "sigmoid", "tanh", "square of", "float", "zeros_like"],
)  # fmt: skip
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_unary_on_integers(name: str, dtype: torch.dtype) -> None:
    check(UNARY[name], *tensors((4, 3), 1, dtype))


BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": lambda a, b: a / (b + 9),
    "alpha": lambda a, b: torch.add(a, b, alpha=2), "maximum": torch.maximum,
    "minimum": torch.minimum, "max": torch.max, "min": lambda a, b: torch.min(a, other=b),
    "pow": lambda a, b: torch.pow(a.abs() + 1, b), "gt": torch.gt, "le": torch.le, "eq": torch.eq,
    "ne": operator.ne, "and": torch.logical_and, "where": lambda a, b: torch
    .where(a > b, a, b), "clamp": lambda a, b: a.clamp(b, b + 1), "mse": F.mse_loss,
    "l1": F.l1_loss, "huber": F.huber_loss, "smooth": F.smooth_l1_loss,
    "type_as": lambda a, b: a.type_as(b), "expand_as": lambda a, b: a.expand_as(b),
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_binary(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    check(BINARY[name], *tensors(shape, 2, dtype), dynamic=())


@pytest.mark.parametrize("left", [torch.float32, torch.float64, torch.int64, torch.bool])
@pytest.mark.parametrize("right", [torch.float32, torch.float64, torch.int32, torch.bool])
@pytest.mark.parametrize("shapes", [((4,), (4,)), ((4,), ()), ((), (4,)), ((), ())], ids=str)
def test_promotion(left: torch.dtype, right: torch.dtype, shapes: Any) -> None:
    a, b = tensors(shapes[0], 1, left)[0], tensors(shapes[1], 1, right)[0]
    check(lambda a, b: (a + b, a * b, torch.where(a > b, a, b)), a, b, dynamic=())


@pytest.mark.parametrize("number", [2, 0.5, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
def test_promotion_with_numbers(number: float, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    check(lambda a, s: (a + s, s * a, a > s), *tensors(shape, 1, dtype), number)


def test_broadcasting() -> None:
    a, b, c = torch.randn(4, 1, 3), torch.randn(2, 1), torch.randn(())
    check(lambda a, b, c: (a + b, a * c, torch.maximum(a, b), c - b), a, b, c, dynamic=())


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": torch.sum, "mean": torch.mean, "amax": torch.amax, "amin": torch.amin,
    "logsumexp": torch.logsumexp, "var": torch.var, "std": torch.std,
    "norm": torch.linalg.vector_norm, "method sum": lambda x, **k: x.sum(**k),
    "method mean": lambda x, **k: x.mean(**k), "method amax": lambda x, **k: x.amax(**k),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, -1, (0, 2), (1,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reductions(name: str, keepdim: bool, dim: Any, dtype: torch.dtype) -> None:
    x = tensors((2, 3, 4), 1, dtype)[0]
    check(lambda x: REDUCTIONS[name](x, dim=dim, keepdim=keepdim), x, dynamic={"x": 0})


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "var", "std", "norm"])
def test_reductions_of_everything(name: str) -> None:
    check(REDUCTIONS[name], *tensors((2, 3), 1, torch.float32))
    check(lambda x: REDUCTIONS[name](x, dim=()), *tensors((2, 3), 1, torch.float32))


def test_extrema_and_spellings() -> None:
    x = tensors((2, 3), 1, torch.float32)[0]
    check(lambda x: (x.max(), torch.min(x), x.sum(axis=0, keepdims=True), torch.sum(input=x)), x)
    check(lambda x: (x.sum(1), x.mean(0, True), torch.sum(x, 0, dtype=torch.float64)), x)
    check(lambda x: (x.norm(), torch.norm(x, dim=1), torch.linalg.norm(x)), x)
    check(lambda x: (x.sum(), x.amax(), x.sum(0)), tensors((2, 3), 1, torch.int32)[0])
    check(lambda x: (x > 0).sum(), x)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax(dim: int) -> None:
    x = tensors((2, 3), 1, torch.float64)[0] * 300
    check(lambda x: (torch.softmax(x, dim), F.softmax(x, dim=dim), x.softmax(dim)), x)
    check(lambda x: (F.log_softmax(x, dim=dim), torch.log_softmax(x, dim)), x)
    check(lambda x: F.softmax(x, dim, dtype=torch.float64), x.float())
    check(lambda x: x.softmax(dim, torch.float64), x.float())


def test_logsumexp_of_infinities() -> None:
    x = torch.full((3, 2), -torch.inf)
    x[0, 0], x[1] = 1.0, torch.inf
    check(lambda x: torch.logsumexp(x, 1), x)


PRODUCTS = [((4, 3), (3,)), ((3,), (3, 2)), ((3,), (3,)), ((4, 3), (3, 2)), ((2, 4, 3), (3, 5)),
            ((2, 4, 3), (2, 3, 5)), ((4, 3), (2, 3, 5)), ((1, 4, 3), (2, 3, 5)),
            ((6, 1, 4, 3), (2, 3, 5)), ((2, 4, 3), (3,)), ((3,), (2, 3, 5)),
            ((1, 4, 3), (1, 3, 5))]  # fmt: skip


@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matmul(shapes: Any, dtype: torch.dtype) -> None:
    a, b = tensors(shapes[0], 1, dtype)[0], tensors(shapes[1], 1, dtype)[0]
    check(lambda a, b: (a @ b, torch.matmul(a, b), a.matmul(b)), a, b, dynamic=())
    check(lambda a: a @ b, a)
    check(lambda b: a @ b, b)


def test_named_products() -> None:
    v, w, m = torch.randn(3), torch.randn(3), torch.randn(4, 3)
    check(
        lambda m, v, w: (torch.mv(m, v), torch.dot(v, w), v.dot(w), torch.outer(v, w)),
        m,
        v,
        w,
        dynamic=(),
    )
    check(lambda m: (torch.mm(m, m.T), m.t() @ m, torch.inner(m[0], m[1])), m)
    check(lambda m, b: torch.addmm(b, m, m.T), m, torch.randn(4), dynamic=())
    b = torch.randn(2, 4, 3)
    check(lambda b: (torch.bmm(b, b.mT), b @ b.transpose(1, 2)), b)
    layer = torch.nn.Linear(3, 2)
    check(lambda x: F.linear(x, layer.weight, layer.bias).detach(), b)
    check(lambda x, w: F.linear(x, w) * 2, m, torch.randn(5, 3), dynamic=())


@pytest.mark.parametrize("spec", ["nd,dk->nk", "nd,dk->kn", "nd,dk", "nd,dk->n", "nd,dk->"])
def test_einsum(spec: str) -> None:
    check(lambda a, b: torch.einsum(spec, a, b), torch.randn(4, 3), torch.randn(3, 2), dynamic=())


def test_einsum_of_one_operand() -> None:
    check(lambda a: (torch.einsum("ij->ji", a), torch.einsum("ij->j", a)), torch.randn(4, 3))


def test_layout() -> None:
    x = torch.randn(2, 3, 4)
    check(lambda x: (x.mT, x.permute(2, 0, 1), torch.permute(x, (1, 0, 2)), x.transpose(0, -1)), x)
    check(lambda x: (x.swapaxes(0, 1), torch.movedim(x, 0, 2), x[0].T, x[0].t(), x[0, 0].t()), x)
    check(
        lambda x: (x.reshape(6, 4), x.reshape((-1, 2)), x.view(3, -1), torch.reshape(x, (24,))), x
    )
    check(lambda x: (x.flatten(), x.flatten(1), torch.flatten(x, 0, 1), x.ravel()), x)
    check(lambda x: (x.unsqueeze(0).squeeze(0), x[:, :1].squeeze(1), x.unsqueeze(-1).squeeze()), x)
    check(lambda x: (x[:, :1].expand(2, 5, -1), torch.broadcast_to(x, (7, 2, 3, 4))), x)
    check(lambda x: (x.contiguous(), x.squeeze(1), x.reshape(4, 6).view_as(x)), x)


def test_joining_and_truth() -> None:
    x, y = tensors((2, 3), 1, torch.float32)[0], torch.randn(2, 1)
    check(lambda x, y: (torch.cat([x, y], dim=1), torch.cat((x, x)), torch.stack([x, -x])), x, y)
    check(lambda w, x: torch.cat([x, torch.ones_like(x[:, :1])], 1) * w, torch.ones(()), x)
    check(lambda x: (torch.any(x > 1), (x > 1).any(0), x.all(dim=1), torch.cat([x > 0, x > 1])), x)
    check(lambda x: torch.cat([x]), x)


def test_shapes_with_a_dim() -> None:
    def fn(w: Any, x: Any) -> Any:
        n, d = x.shape
        return x.reshape(n * d), x.view(-1), x.flatten(), x.reshape(-1, 3) @ w, x.sum() / n

    x = torch.randn(5, 3)
    check(fn, torch.randn(3), x)
    traced = trace(fn, (torch.randn(3), x))
    assert not traced.graph.notes
    assert [str(o.shape[0]) for o in traced.graph.outputs[:4]] == ["3*n", "3*n", "3*n", "n"]


def test_gather_and_index_select() -> None:
    x = tensors((4, 5), 1, torch.float32)[0]
    rows, few = torch.tensor([[1], [0], [4], [2]]), torch.tensor([[0, 1], [3, 3]])
    check(lambda x, i: (torch.gather(x, 1, i), x.gather(-1, i)), x, rows, dynamic=())
    check(lambda x, i: (torch.gather(x, 0, i), x.gather(1, i)), x, few, dynamic=())
    check(lambda x, i: torch.gather(x > 0, 1, i), x, few, dynamic=())
    check(lambda x, i: (torch.index_select(x, 0, i), x.index_select(1, i)), x, few[1], dynamic=())
    check(lambda w, i: (x[i] * w, x[:, i], x[i, 0]), torch.tensor(2.0), few)


def test_gather_does_not_let_other_columns_leak() -> None:
    x = torch.tensor([[1.0, torch.inf, torch.nan], [torch.nan, 2.0, 0.0]])
    check(lambda x, i: torch.gather(x, 1, i), x, torch.tensor([[0], [1]]), dynamic=())


def test_in_place_operators() -> None:
    def fn(x: Any, y: Any) -> Any:
        x = x * 1
        x += y
        x *= 2
        x -= 1
        x /= 3
        return x

    check(fn, torch.randn(3), torch.randn(3), dynamic=())


@pytest.mark.parametrize(
    ("fn", "kind", "message", "hint"),
    [
        (lambda x: torch.cummax(x, 0), UnsupportedError, "torch.cummax", "torch.cumsum"),
        (lambda x: F.rrelu(x) + 1, UnsupportedError, "torch.nn.functional.rrelu", "functional."),
        (lambda x: x.cummin(0), UnsupportedError, "Tensor.cummin", ""),
        (lambda x: torch.cat([x, x[0]]), ShapeError, "f32(2, 3) and f32(3,)", "x[:, None]"),
        (lambda x: torch.cat([x, x.T]), ShapeError, "beside axis 0", "may differ"),
        (lambda x: torch.tensor(x) + 1, TraceError, "has no length", "cannot hold traced"),
        (lambda x: x.softmx(1), UnsupportedError, "Tensor.softmx", "x.softmax"),
        (lambda x: torch.linalg.inv(x) + 1, UnsupportedError, "torch.linalg.inv", ""),
        (lambda x: torch.exp(x, out=torch.zeros(2, 3)), UnsupportedError, "out=", "total + x"),
        (lambda x: torch.median(x, 1), UnsupportedError, "torch.median", "torch.mean"),
        (lambda x: x.t_(), UnsupportedError, "Tensor.t_", "x.t("),
        (lambda x: torch.zeros(2, 3).add_(x), UnsupportedError, "in place", "total + x"),
        (lambda x: x.item(), TraceError, "Tensor.item", "return the value"),
        (lambda x: float(x.sum()), TraceError, "only when the kernel runs", "keep computing"),
        (lambda x: 1 if x.sum() > 0 else 2, TraceError, "`if`", "torch.where"),
        (lambda x: x << 2, DTypeError, "<< takes integers", "x.long()"),
        (lambda x: x @ torch.zeros(2), ShapeError, "matmul: inner sizes differ: (2, 3) @ (2,)",
         "transpose the left operand"),
        (lambda x: x @ torch.zeros(5, 3), ShapeError, "(2, 3) @ (5, 3)", "transpose the right"),
        (lambda x: x @ torch.zeros(3, dtype=torch.float64), DTypeError, "f64(3,)", "convert"),
        (lambda x: x + torch.zeros(2), ShapeError, "(2, 3) and (2,)", "x[:, None]"),
        (lambda x: x.reshape(4, -1), ShapeError, "6 elements", "-1 stands for"),
        (lambda x: x.sum(dim=2), ShapeError, "axis 2", "from -2 to 1"),
        (lambda x: x.permute(0, 0), ShapeError, "each axis", "rearrangement"),
        (lambda x: x.long().mean(), DTypeError, "int64", "x.float().mean()"),
        (lambda x: x & 1, DTypeError, "& takes integers and bools", "compare first"),
        (lambda x: torch.where(x, x, 0), DTypeError, "must be bool", "torch.where(x > 0"),
        (lambda x: F.softmax(x) + 1, UnsupportedError, "leaving out dim", "dim=-1"),
        (lambda x: x.expand(4, 3), ShapeError, "(4, 3)", ""),
        (lambda x: torch.einsum("ii->i", x), ShapeError, "i is both 2 and 3", "one size"),
        (lambda x: torch.gather(x, 1, x), DTypeError, "integers", "index.long()"),
        (lambda x: torch.norm(x, p="nuc"), UnsupportedError, "p='nuc'", "a number"),
        (lambda x: torch.div(x, 2, rounding_mode="ceil"), UnsupportedError, "rounding_mode=",
         "'floor'"),
    ],
)  # fmt: skip
def test_errors(fn: Any, kind: type[Exception], message: str, hint: str) -> None:
    with pytest.raises(kind) as caught:
        trace(fn, (torch.randn(2, 3),))
    error: Any = caught.value
    assert message in error.message
    assert hint in (error.hint or "")
    assert error.location is not None
    assert (error.location.file, error.location.line) == (
        __file__, fn.__code__.co_firstlineno)  # fmt: skip


def test_error_shows_the_line_and_the_remedy() -> None:
    with pytest.raises(UnsupportedError) as caught:
        trace(lambda x: torch.cummax(x, 0), (torch.randn(2),))
    assert caught.value.name == "torch.cummax"
    assert "at test_frontend_torch.py:" in str(caught.value)
    assert "try: the nearest supported: torch." in str(caught.value)
