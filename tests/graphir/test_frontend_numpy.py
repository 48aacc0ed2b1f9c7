"""Each NumPy function, traced and evaluated, against NumPy itself."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphir.errors import DTypeError, ShapeError, TraceError, UnsupportedError
from graphir.evaluate import evaluate
from graphir.tracing import trace


def sample(shape: tuple[int, ...], dtype: Any, seed: int = 7) -> Any:
    """Reproducible values with ties and both signs."""
    draw = np.random.default_rng(seed).normal(size=shape)
    return np.asarray((draw * 4).round() / 2, dtype)


def check(fn: Callable[..., Any], *args: Any, dynamic: Any = None, types: bool = True) -> None:
    """The traced function gives NumPy's values and shapes, and its dtypes where `types`."""
    expected = fn(*args)
    traced = trace(fn, args, dynamic=dynamic)
    results = evaluate(traced.graph, args)
    wanted = list(expected) if isinstance(expected, tuple) else [expected]
    assert len(results) == len(wanted)
    for got, want in zip(results, map(np.asarray, wanted), strict=True):
        assert got.shape == want.shape
        if types:
            assert got.dtype == want.dtype
        tight = 1e-5 if np.float32 in (want.dtype, got.dtype) else 1e-12
        np.testing.assert_allclose(got, want, rtol=tight, atol=tight)


UNARY = {
    "exp": np.exp, "expm1": np.expm1, "sin": np.sin, "cos": np.cos, "tanh": np.tanh,
    "sinh": np.sinh, "cosh": np.cosh, "abs": np.abs, "fabs": np.fabs, "sign": np.sign,
    "square": np.square, "negative": np.negative, "log": lambda x: np.log(np.abs(x) + 1),
    "log1p": lambda x: np.log1p(np.absolute(x)), "sqrt": lambda x: np.sqrt(abs(x)),
    "reciprocal": lambda x: np.reciprocal(x + 9), "clip": lambda x: np.clip(x, -1, 1),
    "clip words": lambda x: np.clip(x, a_min=None, a_max=0.5), "clip method": lambda x: x.clip(0),
    "power": lambda x: np.power(np.abs(x) + 1, 1.5), "square of": lambda x: x**2,
    "numbers": lambda x: 1 - 2 * x / 3 + 1, "where": lambda x: np.where(x > 0, x, 0.0),
    "maximum": lambda x: np.maximum(x, 0), "relu": lambda x: np.maximum(0.0, x),
    "comparisons": lambda x: (x > 0) & (x <= 1) | ~(x != 0.5),
    "logic": lambda x: np.logical_or(np.logical_not(x), np.equal(x, 1)),
    "logaddexp": lambda x: np.logaddexp(x, 2 * x), "zeros_like": np.zeros_like,
    "ones_like": lambda x: np.ones_like(x) * x, "full_like": lambda x: np.full_like(x, 3),
    "astype": lambda x: x.astype(np.float64), "astype word": lambda x: x.astype("float32"),
    "own dtype": lambda x: np.exp(x).astype(x.dtype), "copy": lambda x: x.copy() + 1,
    "size": lambda x: x / x.size + x.ndim + np.ndim(x) + len(np.shape(x)), "new": lambda x: x[None],
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 4)], ids=str)
def test_unary(name: str, dtype: Any, shape: tuple[int, ...]) -> None:
    check(UNARY[name], sample(shape, dtype))


@pytest.mark.parametrize("name", ["exp", "sqrt", "numbers", "clip", "where", "power", "tanh"])
def test_unary_on_integers_computes_in_float32_as_torch_does(name: str) -> None:
    x = sample((4, 3), np.int64)
    check(UNARY[name], x, types=False)
    if name != "clip":
        assert trace(UNARY[name], (x,)).graph.outputs[0].dtype.name == "float32"


BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum,
    "divide": lambda a, b: np.divide(a, b + 9), "minimum": np.minimum, "greater": np.greater,
    "less_equal": np.less_equal, "equal": operator.eq, "logical_and": np.logical_and,
    "where": lambda a, b: np.where(a > b, a, b), "power": lambda a, b: (np.abs(a) + 1) ** b,
    "logaddexp": np.logaddexp, "clip": lambda a, b: np.clip(a, b, b + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("shape", [(), (5,), (4, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary(name: str, shape: tuple[int, ...], dtype: Any) -> None:
    a, b = sample(shape, dtype), sample(shape, dtype, 8)
    check(BINARY[name], a, b, dynamic=())
    check(lambda b: BINARY[name](a, b), b)
    check(lambda a: BINARY[name](a, b), a)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum, "mean": np.mean, "max": np.max, "amin": np.amin, "var": np.var, "std": np.std,
    "method sum": lambda x, **k: x.sum(**k), "method mean": lambda x, **k: x.mean(**k),
    "method max": lambda x, **k: x.max(**k), "method std": lambda x, **k: x.std(**k),
}  # fmt: skip


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (1,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reductions(name: str, keepdims: bool, axis: Any, dtype: Any) -> None:
    fn = REDUCTIONS[name]
    check(lambda x: fn(x, axis=axis, keepdims=keepdims), sample((2, 3, 4), dtype), dynamic={"x": 0})


def test_reductions_of_integers() -> None:
    x = sample((4, 3), np.int32)
    check(lambda x: (x.sum(), np.sum(x, 0), x.max(), np.mean(x, axis=1), np.sum(x > 0)), x)
    check(lambda x: (np.sum(x, dtype=np.float64), x.mean(0, dtype="float32")), x)
    check(lambda x: (np.sum(x, 0, np.float64), np.zeros_like(x, float), x.astype("f4")), x)


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)], ids=str)
def test_norm(axis: Any) -> None:
    x = sample((4, 3), np.float64)
    check(lambda x: np.linalg.norm(x, axis=axis), x)
    check(lambda x: (np.linalg.norm(x), np.linalg.norm(x[0], 2), np.linalg.norm(x, "fro")), x)


@pytest.mark.parametrize(
    "shapes",
    [((4, 3), (3,)), ((3,), (3, 2)), ((3,), (3,)), ((4, 3), (3, 2)), ((2, 4, 3), (3, 5)),
     ((2, 4, 3), (2, 3, 5)), ((4, 3), (2, 3, 5)), ((1, 4, 3), (2, 3, 5)), ((3,), (2, 3, 5))],
    ids=str,
)  # fmt: skip
def test_products(shapes: Any) -> None:
    a, b = sample(shapes[0], np.float64), sample(shapes[1], np.float64, 8)
    check(lambda a, b: (a @ b, np.matmul(a, b), np.dot(a, b), a.dot(b)), a, b, dynamic=())
    check(lambda a: a @ b, a)
    check(lambda b: a @ b, b)


@pytest.mark.parametrize("other", [np.int64, np.float32, np.bool_], ids=lambda d: d.__name__)
def test_products_of_two_types_are_of_the_wider_one(other: Any) -> None:
    m, v = sample((4, 3), other), sample((3,), np.float64, 8)
    check(lambda v: (m @ v, np.dot(m, v), np.einsum("ij,j->i", m, v), np.inner(m, v)), v)
    check(lambda m, v: (np.matmul(m, v), v @ m.T, np.tensordot(m, v, 1)), m, v, dynamic=())
    check(lambda m, v: np.vdot(m, np.outer(m[:, 0], v)), m, v, dynamic=())


@pytest.mark.parametrize("number", [0.7, 2, np.float64(0.7), np.int64(2)], ids=repr)
def test_a_number_where_an_array_is_usual(number: Any) -> None:
    x = sample((4, 3), np.float64)
    check(lambda x: (np.clip(number, x, None), np.clip(number, None, x)), x)
    check(lambda x: (np.outer(number, x), np.outer(x, number), np.vdot(x[0, 0], number)), x)
    check(lambda x: (np.average(number, weights=x[0, 0] + 9), np.where(x > 0, number, x)), x)


def test_other_products() -> None:
    v, w, m = (sample(s, np.float64) for s in ((3,), (4,), (4, 3)))
    check(lambda v, w: (np.outer(v, w), np.dot(v, 2.0), np.dot(2.0, w)), v, w, dynamic=())
    check(lambda v, m: (np.einsum("nd,d->n", m, v), np.einsum("nd,nk->dk", m, m)), v, m, dynamic=())
    check(lambda m: (np.einsum("ij->ji", m), np.outer(m, m)), m)


def test_layout() -> None:
    x = sample((2, 3, 4), np.float64)
    check(lambda x: (x.T, x.mT, x.transpose(2, 0, 1), x.transpose((1, 0, 2)), x.transpose()), x)
    check(lambda x: (np.transpose(x), np.transpose(x, (2, 1, 0)), np.swapaxes(x, 0, 1)), x)
    check(lambda x: (np.transpose(x, axes=(1, 0, 2)), x.swapaxes(1, 2), np.moveaxis(x, 0, -1)), x)
    check(lambda x: (x.reshape(6, 4), x.reshape((-1, 2)), np.reshape(x, (3, 8)), x.reshape(-1)), x)
    check(lambda x: (x.ravel(), x.flatten(), np.ravel(x), np.expand_dims(x, (0, 2))), x)
    check(lambda x: (np.squeeze(x[:, :1], 1), x[:, :1].squeeze(), np.expand_dims(x, -1)), x)
    check(lambda x: np.broadcast_to(x[:, :1], (5, 2, 3, 4)), x)


def test_joining_and_truth() -> None:
    x, y = sample((2, 3), np.float32), sample((2, 1), np.float64)
    check(lambda x, y: (np.concatenate([x, y], axis=1), np.stack([x, x + 1], axis=-1)), x, y)
    check(lambda x: (np.any(x > 1, axis=0), np.all(x), (x > -9).all(1, keepdims=True)), x)


def test_joining_with_a_scalar_of_numpys() -> None:
    check(lambda x: np.stack([np.ones(2) @ np.ones(2), x, np.float64(3.0)]), np.array(2.0))


def test_taking() -> None:
    x, i = sample((4, 5), np.float64), np.array([[0, -1], [2, 3]])
    check(lambda x, i: (np.take(x, i, axis=0), np.take(x, i), x.take(i, axis=1)), x, i, dynamic=())
    check(lambda x, i: np.take_along_axis(x, i, axis=1), x[:2], i, dynamic=())


def test_numpy_scalars_are_as_weak_as_python_numbers() -> None:
    def fn(x: Any) -> Any:
        return np.float64(2) * x, x - np.float64(1), x ** np.float64(2), x * np.int64(3)

    x = sample((4, 3), np.float32)
    check(fn, x, types=False)
    assert {o.dtype.name for o in trace(fn, (x,)).graph.outputs} == {"float32"}


def test_logsumexp_written_by_hand() -> None:
    def fn(x: Any) -> Any:
        top = np.max(x, axis=1, keepdims=True)
        return (np.log(np.sum(np.exp(x - top), axis=1, keepdims=True)) + top)[:, 0]

    check(fn, sample((4, 3), np.float64) * 300)


@pytest.mark.parametrize(
    ("fn", "kind", "message", "hint"),
    [
        (lambda x: np.nanprod(x) + 1, UnsupportedError, "np.nanprod", "np.prod"),
        (lambda x: np.cbrt(x) + 1, UnsupportedError, "np.cbrt", ""),
        (lambda x: np.linalg.inv(x) + 1, UnsupportedError, "np.linalg.inv", ""),
        (lambda x: np.linalg.norm(x, 2), UnsupportedError, "order 2", "'fro'"),
        (lambda x: np.add.reduce(x) + 1, UnsupportedError, "np.add.reduce", "np.sum"),
        (lambda x: np.exp(x, out=np.zeros((2, 3))), UnsupportedError, "out=", "total + x"),
        (lambda x: operator.iadd(np.zeros((2, 3)), x), UnsupportedError, "+=", "total + x"),
        (lambda x: np.sum(x, where=x > 0), UnsupportedError, "where=", "np.where"),
        (lambda x: np.reshape(x, (3, 2), order="F"), UnsupportedError, "order=", "leave it out"),
        (lambda x: x.argsort(), UnsupportedError, "ndarray.argsort", ""),
        (lambda x: x.item(), TraceError, "ndarray.item", "return the value"),
        (lambda x: np.asarray(x) + 1, TraceError, "cannot become a NumPy array", "after the call"),
        (lambda x: operator.setitem(np.ones(3), 0, x[0, 0]), TraceError, "element", "zeros_like"),
        (lambda x: np.ones(3)[x.astype(int)], TraceError, "cannot become", "as an argument too"),
        (lambda x: float(np.sum(x)), TraceError, "only when the kernel runs", "keep computing"),
        (lambda x: 1 if np.any(x) else 2, TraceError, "`if`", "np.where"),
        (lambda x: 1 if x[0, 0] > 0 else 2, TraceError, "`if`", "np.where"),
        (lambda x: np.where(x > 0), UnsupportedError, "positions", "np.where(condition, a, b)"),
        (lambda x: divmod(x, 2), UnsupportedError, "divmod", "x // y and x % y"),
        (lambda x: x @ np.zeros(2), ShapeError, "inner sizes differ: (2, 3) @ (2,)", "transpose"),
        (lambda x: x + np.zeros(2), ShapeError, "(2, 3) and (2,)", "x[:, None]"),
        (lambda x: np.squeeze(x, 0), ShapeError, "axis 0", "size 1"),
        (lambda x: np.sum(x, axis=2), ShapeError, "axis 2", "from -2 to 1"),
        (lambda x: x + np.zeros(3, complex), DTypeError, "complex128", "astype"),
    ],
)  # fmt: skip
def test_errors(fn: Any, kind: type[Exception], message: str, hint: str) -> None:
    with pytest.raises(kind) as caught:
        trace(fn, (np.ones((2, 3)),))
    error: Any = caught.value
    assert message in error.message
    assert hint in (error.hint or "")
    assert error.location is not None
    assert (error.location.file, error.location.line) == (
        __file__, fn.__code__.co_firstlineno)  # fmt: skip
