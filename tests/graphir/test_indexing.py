"""Indexing of traced values against NumPy's, with fixed and symbolic sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.errors import ShapeError, UnsupportedError
from graphir.evaluate import evaluate
from graphir.sizes import format_shape
from graphir.tracing import trace

X = np.arange(2.0 * 5 * 4).reshape(2, 5, 4)
NONE, DOTS = None, Ellipsis

BASIC = [
    0, -1, (1, 2), (1, -1, 3), slice(1, None), slice(None, -1), slice(None, None, 2),
    slice(None, None, -1), (slice(None), slice(4, 1, -2)), (slice(None), slice(-3, -1)),
    (slice(None), slice(1, 100)), (slice(None), slice(3, 2)), (0, slice(None), 1), DOTS,
    (DOTS, 0), (0, DOTS), (0, DOTS, slice(1, 3)), NONE, (NONE, 0), (slice(None), NONE, 1),
    (DOTS, NONE), (slice(None), 2, NONE, slice(None, None, -1)), (0, 1, 2, NONE), (),
    (NONE, DOTS, NONE, 0), np.int64(1), (slice(None), np.int32(2)),
]  # fmt: skip


@pytest.mark.parametrize("index", BASIC, ids=str)
def test_ints_slices_and_new_axes(index: Any) -> None:
    (got,) = evaluate(trace(lambda x: x[index], (X,)).graph, [X])
    np.testing.assert_array_equal(got, X[index])
    assert got.shape == X[index].shape


GRID, J = np.array([[0, -1, 1]]), np.array([1, 0, -2])
ADVANCED = [
    (GRID,), (J,), (GRID, 0), (J, slice(1, 3)), (J, DOTS, -1), (0, J), (slice(None), J),
    (slice(None), GRID), (slice(None), J, 0), (slice(None), 0, J), (0, slice(None), J),
    (DOTS, J), (DOTS, J, NONE), (J, NONE), (NONE, J), (slice(None), J, slice(None, None, -1)),
    (J % 2, J), (GRID % 2, J), (J % 2, J, 0), (J % 2, J, J), (slice(None), J, J),
    (J % 2, slice(None), J), (slice(None, 1), J, J),
]  # fmt: skip


@pytest.mark.parametrize("index", ADVANCED, ids=repr)
@pytest.mark.parametrize("dtype", [np.int64, np.int32])
def test_integer_arrays(index: tuple[Any, ...], dtype: Any) -> None:
    index = tuple(i.astype(dtype) if isinstance(i, np.ndarray) else i for i in index)
    arrays = [i for i in index if isinstance(i, np.ndarray)]

    def fn(x: Any, *given: Any) -> Any:
        rest = iter(given)
        return x[tuple(next(rest) if isinstance(i, np.ndarray) else i for i in index)]

    expected = X[index]
    for graph, args in (
        (trace(fn, (X, *arrays), dynamic=()).graph, [X, *arrays]),
        (trace(lambda x: x[index], (X,)).graph, [X]),
    ):
        (got,) = evaluate(graph, args)
        assert got.shape == expected.shape
        np.testing.assert_array_equal(got, expected)


def test_lists_and_the_rows_of_labels() -> None:
    x, y = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    (got,) = evaluate(trace(lambda x: x[[0, -1]], (x,)).graph, [x])
    np.testing.assert_array_equal(got, x[[0, -1]].numpy())

    def pick(w: Any, x: Any, y: Any) -> Any:
        return x[torch.arange(len(x)), y] * w

    traced = trace(pick, (1.0, x, y))
    np.testing.assert_array_equal(evaluate(traced.graph, [1.0, x, y])[0], pick(1.0, x, y).numpy())
    assert "specialised to n = 4" in traced.graph.notes[0]


@pytest.mark.parametrize(
    ("fn", "shape"),
    [
        (lambda x: x[1:], "(n - 1, 3)"), (lambda x: x[:-1], "(n - 1, 3)"),
        (lambda x: x[0], "(3,)"),
        (lambda x: x[:1], "(1, 3)"), (lambda x: x[:], "(n, 3)"), (lambda x: x[:, 1:], "(n, 2)"),
        (lambda x: x[:, -1], "(n,)"), (lambda x: x[None], "(1, n, 3)"),
        (lambda x: x[: x.shape[0]], "(n, 3)"), (lambda x: x[: x.shape[0] - 1], "(n - 1, 3)"),
        (lambda x: x[1:] - x[:-1], "(n - 1, 3)"), (lambda x: x[..., ::-1], "(n, 3)"),
        (lambda x: x.reshape(-1)[1:], "(3*n - 1,)"), (lambda x: x.reshape(-1)[:3], "(3,)"),
    ],
)  # fmt: skip
def test_symbolic_sizes(fn: Any, shape: str) -> None:
    x = np.arange(15.0).reshape(5, 3)
    traced = trace(fn, (x,), dynamic={"x": 0})
    assert not traced.graph.notes
    assert format_shape(traced.graph.outputs[0].shape) == shape
    for rows in (5, 1, 7):
        x = np.arange(3.0 * rows).reshape(rows, 3)
        np.testing.assert_array_equal(evaluate(traced.graph, [x])[0], fn(x))


@pytest.mark.parametrize(
    "fn",
    [lambda x: x[2:], lambda x: x[:2], lambda x: x[-1], lambda x: x[::2], lambda x: x[3],
     lambda x: x[1:-1], lambda x: x[-2:], lambda x: x[::-1], lambda x: x[x.shape[0] // 2:]],
)  # fmt: skip
def test_what_a_dim_cannot_express_restarts_with_the_number(fn: Any) -> None:
    x = np.arange(15.0).reshape(5, 3)
    traced = trace(fn, (x,), dynamic={"x": 0})
    assert len(traced.graph.notes) == 1
    assert f"at test_indexing.py:{fn.__code__.co_firstlineno}" in traced.graph.notes[0]
    np.testing.assert_array_equal(evaluate(traced.graph, [x])[0], fn(x))


def test_an_index_that_is_an_argument_is_promised_to_be_in_range() -> None:
    graph = trace(lambda x, i: (x[i], x[i + 1]), (np.ones(4), np.array([0]))).graph
    assert [(r.node, r.low, r.high) for r in graph.ranges] == [(graph.inputs[1], -4, 4)]
    assert graph.ranges[0].location is not None
    assert trace(lambda i, x: x[i], (np.array([0]), np.ones(4))).graph.ranges == []


@pytest.mark.parametrize(
    ("fn", "kind", "message", "hint"),
    [
        (lambda x: x[2], ShapeError, "index 2 is outside axis 0", "from -2 to 1"),
        (lambda x: x[0, -6], ShapeError, "index -6 is outside axis 1 of f64(2, 5", "from -5 to 4"),
        (lambda x: x[0, 0, 0, 0], ShapeError, "4 indices for f64(2, 5, 4)", "None adds"),
        (lambda x: x[..., 0, ...], ShapeError, "once only", "None adds"),
        (lambda x: x[::0], ShapeError, "must not be 0", "leave the step out"),
        (lambda x: x[x > 0], UnsupportedError, "boolean mask", "torch.where(mask"),
        (lambda x: x[np.ones(2, bool)], UnsupportedError, "boolean mask", "torch.where(mask"),
        (lambda x: x[x], UnsupportedError, "must hold integers", "ids.long()"),
        (lambda x: x["w"], UnsupportedError, "a str as an index", "integer arrays"),
        (lambda x: x[True], UnsupportedError, "a bool as an index", "integer arrays"),
        (lambda x: x[0.0], UnsupportedError, "a float as an index", "integer arrays"),
    ],
)  # fmt: skip
def test_errors(fn: Any, kind: type[Exception], message: str, hint: str) -> None:
    with pytest.raises(kind) as caught:
        trace(fn, (X,))
    error: Any = caught.value
    assert message in error.message
    assert hint in (error.hint or "")
    assert error.location.line == fn.__code__.co_firstlineno


TORCHS: list[Any] = [
    (0, slice(None), J), (slice(None), 1, J), (J % 2, 0, J), (J % 2, slice(None), J),
    (1, slice(None), GRID), (J % 2, 3), (0, J, slice(1, 3)), (0, None, J), (J % 2, None, 0),
]  # fmt: skip


@pytest.mark.parametrize("index", TORCHS, ids=repr)
def test_ints_pick_first_in_torch(index: tuple[Any, ...]) -> None:
    x = torch.from_numpy(X)
    given = tuple(torch.from_numpy(i) if isinstance(i, np.ndarray) else i for i in index)
    (got,) = evaluate(trace(lambda x: x[given], (x,)).graph, [x])
    np.testing.assert_array_equal(got, x[given].numpy())


@pytest.mark.parametrize("backend", ["reference", "c"])
@pytest.mark.parametrize(
    "fn",
    [
        lambda x, i: torch.gather(x, 0, i),
        lambda x, i: x.index_select(0, i),
        lambda x, i: torch.gather(torch.stack([x, x]), 1, i[None, None].expand(2, 1)),
    ],
)
def test_an_index_that_is_moved_first_is_checked(fn: Any, backend: str) -> None:
    compiled = graphir.compile(fn, backend=backend)
    x = torch.arange(3.0)
    assert torch.equal(compiled(x, torch.tensor(2)), fn(x, torch.tensor(2)))
    with pytest.raises(graphir.GraphirError, match="index 7 is out of range"):
        compiled(x, torch.tensor(7))
