"""`graphir.train`: the loop, the history, the same bits, and every mistake that it names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir.row_order import order_keys, row_order
from graphir.runtime import epochs as training
from graphir.runtime.optim import SGD, cosine
from graphir.runtime.progress import format_speed
from graphir.runtime.step import COMPILED_STEPS

# Threads of C, programs of the interpreter; the evaluator has one.
SHARED = [("c", 1), ("c", 2), ("c", 5), ("interpret", 3)]

BACKENDS = ["reference", "c", "interpret"]


def loss(params: Any, x: Any, y: Any) -> Any:
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


def problem(
    rows: int = 40, columns: int = 3, dtype: Any = np.float32
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns))
    y = x @ np.arange(1.0, columns + 1) + 0.5 + 0.1 * rng.normal(size=rows)
    return x.astype(dtype), y.astype(dtype)


def start(columns: int = 3, dtype: Any = np.float32) -> Any:
    return np.zeros(columns, dtype), np.zeros((), dtype)


def fit(
    loss: Callable[..., Any] = loss, params: Any = None, data: Any = None, **options: Any
) -> Any:
    settings: dict[str, Any] = {
        "optimizer": SGD(lr=0.1), "batch_size": 16, "epochs": 2, "backend": "reference",
        "progress": False,
    }  # fmt: skip
    return graphir.train(
        loss, start() if params is None else params, problem() if data is None else data,
        **settings | options,
    )  # fmt: skip


def by_hand(
    x: Any, y: Any, batch: int, epochs: int, seed: int, lr: float
) -> tuple[Any, Any, list[float]]:
    """The same training in NumPy, with the documented order of rows."""
    w, b = np.zeros(x.shape[1]), 0.0
    losses = []
    for epoch in range(epochs):
        order = row_order(len(x), order_keys(seed, epoch))
        for first in range(0, len(x), batch):
            rows = order[first : first + batch]
            r = x[rows] @ w + b - y[rows]
            losses.append(float(np.mean(r**2)))
            w = w - lr * 2 * x[rows].T @ r / len(rows)
            b = b - lr * 2 * r.mean()
    return w, b, losses


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("batch", [1, 7, 16, 40])
def test_mini_batches_and_the_last_partial_one(backend: str, batch: int) -> None:
    x, y = problem(dtype=np.float64)
    epochs = 1 if batch == 1 else 3
    result = fit(
        params=start(dtype=np.float64), data=(x, y), batch_size=batch, epochs=epochs, seed=3,
        optimizer=SGD(lr=0.05), backend=backend,
    )  # fmt: skip
    w, b, losses = by_hand(x, y, batch, epochs, seed=3, lr=0.05)
    np.testing.assert_allclose(result.params[0], w, rtol=1e-9)
    np.testing.assert_allclose(result.params[1], b, rtol=1e-9)
    np.testing.assert_allclose(result.history.step_loss, losses, rtol=1e-9)
    assert len(result.history.loss) == epochs
    weights = [min(batch, 40 - first) for first in range(0, 40, batch)]
    steps = len(weights)
    for epoch, mean in enumerate(result.history.loss):
        of_epoch = losses[epoch * steps : (epoch + 1) * steps]
        assert mean == pytest.approx(np.average(of_epoch, weights=weights))


@pytest.mark.parametrize(("backend", "threads"), SHARED)
def test_threads_and_programs_share_a_step(backend: str, threads: int) -> None:
    x, y = problem(700, dtype=np.float64)
    result = fit(
        params=start(dtype=np.float64), data=(x, y), batch_size=300, epochs=3, seed=3,
        optimizer=SGD(lr=0.05), backend=backend, threads=threads,
    )  # fmt: skip
    w, b, losses = by_hand(x, y, 300, 3, seed=3, lr=0.05)
    assert result.threads == threads
    np.testing.assert_allclose(result.params[0], w, rtol=1e-9)
    np.testing.assert_allclose(result.params[1], b, rtol=1e-9)
    np.testing.assert_allclose(result.history.step_loss, losses, rtol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_converges_and_validates(backend: str) -> None:
    x, y = problem(60)
    result = fit(
        data=(x[:40], y[:40]), validation=(x[40:], y[40:]), epochs=15, backend=backend,
        optimizer=SGD(lr=cosine(0.2), momentum=0.5),
    )  # fmt: skip
    w, b = result.params
    expected = float(np.mean((x[40:] @ w + b - y[40:]) ** 2))
    assert len(result.history.validation_loss) == 15
    assert result.history.validation_loss[-1] == pytest.approx(expected, rel=1e-4)
    assert result.history.loss[-1] < 0.05
    np.testing.assert_allclose(w, [1, 2, 3], atol=0.15)
    assert result.history.learning_rate[0] == pytest.approx(0.2)
    assert len(result.history.learning_rate) == len(result.history.step_loss) == 45
    assert all(s > 0 for s in result.history.seconds)
    assert all(s > 0 for s in result.history.rows_per_second)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_seed_gives_the_same_bits(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(seed=1, backend=backend, batch_size=3)
    # However the steps are sliced, one by one here.
    monkeypatch.setattr(training, "SLICE_SECONDS", 0.0)
    second, other = (fit(seed=s, backend=backend, batch_size=3) for s in (1, 2))
    np.testing.assert_array_equal(first.params[0], second.params[0])
    assert first.history.step_loss == second.history.step_loss
    assert first.history.step_loss != other.history.step_loss


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_callers_arrays_are_never_written(backend: str) -> None:
    params, data = start(), problem()
    before = [np.copy(a) for a in (*params, *data)]
    fit(params=params, data=data, optimizer=SGD(lr=0.1, momentum=0.9), backend=backend)
    for now, then in zip((*params, *data), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_params_come_back_as_the_tree_and_kinds_that_were_given() -> None:
    def of_dict(params: Any, batch: Any) -> Any:
        return ((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2).mean()

    x, y = map(torch.from_numpy, problem())
    params = {"w": torch.nn.Parameter(torch.zeros(3)), "b": torch.zeros(())}
    result = fit(of_dict, params, {"x": x, "y": y})
    assert set(result.params) == {"w", "b"}
    assert type(result.params["w"]) is torch.Tensor
    assert not params["w"].any()
    assert result.params["w"].any()


def test_a_sweep_compiles_once() -> None:
    def swept(params: Any, x: Any, y: Any) -> Any:
        return loss(params, x, y)

    x, y = problem()
    before = COMPILED_STEPS.misses
    for rate in (0.01, 0.02, cosine(0.05)):
        for momentum in (0.5, 0.9):
            fit(swept, optimizer=SGD(lr=rate, momentum=momentum))
    fit(swept, optimizer=SGD(lr=0.1, momentum=0.1), seed=5, epochs=1, batch_size=9)
    fit(swept, data=(x[:30], y[:30]), optimizer=SGD(lr=0.1, momentum=0.1))
    assert COMPILED_STEPS.misses == before + 1
    fit(swept, optimizer=SGD(lr=0.1))
    assert COMPILED_STEPS.misses == before + 2


def test_what_is_compiled_lives_as_long_as_the_loss() -> None:
    import gc
    import weakref

    def local(params: Any, x: Any, y: Any) -> Any:
        return loss(params, x, y)

    fit(local, validation=problem())
    alive = weakref.ref(local)
    del local
    gc.collect()
    assert alive() is None


def test_an_unused_parameter_gets_a_warning_and_keeps_its_value() -> None:
    def ignoring(params: Any, x: Any, y: Any) -> Any:
        return ((x @ params["used"] - y) ** 2).mean()

    params = {"used": np.zeros(3, np.float32), "spare": np.full(2, 7, np.float32)}
    with pytest.warns(UserWarning, match="spare") as caught:
        result = fit(ignoring, params)
    assert len(caught) == 1
    np.testing.assert_array_equal(result.params["spare"], [7, 7])


@pytest.mark.parametrize("backend", BACKENDS)
def test_too_large_a_learning_rate(backend: str) -> None:
    with pytest.raises(graphir.DivergedError, match=r"epoch \d+, step \d+.*learning rate was 1e"):
        fit(optimizer=SGD(lr=1e9), epochs=20, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_in_the_data_is_named(backend: str) -> None:
    x, y = problem()
    x[11, 2] = np.nan
    with pytest.raises(graphir.DivergedError, match=r"nan: first in `x` at row 11, column 2"):
        fit(data=(x, y), backend=backend)
    x[11, 2], y[5] = 0, np.inf
    with pytest.raises(graphir.DivergedError, match=r"inf: first in `y` at row 5"):
        fit(data=(x, y), backend=backend)
    with pytest.raises(graphir.DivergedError, match=r"validation.*epoch 1.*`y` at row 5"):
        fit(validation=(x, y), backend=backend)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (graphir.ShapeError, "empty", {"data": (np.zeros((0, 3), "f"), np.zeros(0, "f"))}),
        (graphir.ShapeError, "larger than the data.*\ntry: lower", {"batch_size": 41}),
        (graphir.GraphirError, "batch_size must be", {"batch_size": 0}),
        (graphir.GraphirError, "batch_size must be", {"batch_size": 2.5}),
        (graphir.GraphirError, "epochs must be", {"epochs": 0}),
        (graphir.GraphirError, "seed must be", {"seed": 0.5}),
        (graphir.ShapeError, "`x` has 40, `y` has 39", {"data": (problem()[0], problem(39)[1])}),
        (graphir.DTypeError, "int64", {"params": (np.zeros(3, int), np.zeros((), "f"))}),
        (graphir.DTypeError, "float, not an array", {"params": (np.zeros(3, "f"), 0.0)}),
        (graphir.DTypeError, "`x` is float64", {"data": problem(dtype=np.float64)}),
        (graphir.DTypeError, "`y` in data.*\ntry: let", {"data": (problem()[0], 1.0)}),
        (graphir.DTypeError, "pass np.asarray.x.", {"data": (problem()[0].tolist(), np.ones(40))}),
        (
            graphir.DTypeError,
            "`y` in data: dtype str.*\ntry: number its values, e.g. np.unique.y,",
            {"data": (problem()[0], np.array(["a", "b"] * 20))},
        ),
        (
            graphir.DTypeError,
            "`y` in data: dtype complex64.*\ntry: convert",
            {"data": (problem()[0], torch.zeros(40, dtype=torch.complex64))},
        ),
        (graphir.GraphirError, "no arrays", {"params": ()}),
        (graphir.ShapeError, "no arrays", {"data": ()}),
        (graphir.DTypeError, "`x` is float64", {"validation": problem(dtype=np.float64)}),
        (graphir.BackendError, "no backend 'gpu'", {"backend": "gpu"}),
        (graphir.BackendError, "no backend array", {"backend": np.array(["c", "c"])}),
        (graphir.BackendError, "threads must be", {"threads": 0}),
    ],
)
def test_mistakes_found_before_training(
    error: type[Exception], match: str, options: dict[str, Any]
) -> None:
    with pytest.raises(error, match=match):
        fit(**options)


def test_a_loss_that_is_not_scalar() -> None:
    with pytest.raises(graphir.ShapeError, match=r"scalar.*\(n,\)"):
        fit(lambda params, x, y: (x @ params[0] + params[1] - y) ** 2)


def test_a_loss_that_returns_no_traced_value() -> None:
    with pytest.raises(graphir.TraceError, match="float"):
        fit(lambda params, x, y: 1.0)


def test_wrong_inner_sizes() -> None:
    with pytest.raises(graphir.ShapeError, match=r"test_train\.py"):
        fit(params=start(4))


def column_against_row(params: Any, x: Any, y: Any) -> Any:
    w, b = params
    return ((x @ w[:, None] + b - y) ** 2).mean()


def test_a_composite_broadcasts_by_accident() -> None:
    def mse(params: Any, x: Any, y: Any) -> Any:
        return torch.nn.functional.mse_loss(x @ params, y)

    x, y = map(torch.from_numpy, problem())
    with pytest.raises(graphir.ShapeError, match=r"\(n, 1\) and targets \(n,\)"):
        fit(mse, torch.zeros(3, 1), (x, y))
    fit(mse, torch.zeros(3, 1), (x, y[:, None]))


def test_predictions_that_broadcast_by_accident() -> None:
    with pytest.raises(graphir.ShapeError, match=r"\(n, 1\) and \(n,\).*\n?.*test_train.py"):
        fit(column_against_row)
    squeezed = lambda params, x, y: column_against_row(params, x, y[:, None])  # noqa: E731
    fit(squeezed)


def test_all_pairs_may_be_meant() -> None:
    def pairs(params: Any, x: Any, y: Any) -> Any:
        scores = x @ params[0] + params[1]
        return ((scores[:, None] - scores[None, :] - (y[:, None] - y[None, :])) ** 2).mean()

    result = fit(pairs, batch_size=8, epochs=5, optimizer=SGD(lr=0.02))
    assert result.history.loss[-1] < result.history.loss[0]


def test_a_loss_that_needs_the_number_of_rows() -> None:
    def counting(params: Any, x: Any, y: Any) -> Any:
        return ((x @ params[0] + params[1] - y) ** 2).sum() / int(x.shape[0])

    with pytest.raises(graphir.UnsupportedError, match="number of rows"):
        fit(counting)


def test_labels_out_of_range_are_named_before_training() -> None:
    def classify(params: Any, x: Any, labels: Any) -> Any:
        return torch.nn.functional.cross_entropy(x @ params, labels)

    labels = torch.zeros(40, dtype=torch.int64)
    labels[17] = 4
    with pytest.raises(graphir.GraphirError, match=r"`labels\[17\]`: index 4"):
        fit(classify, torch.zeros(3, 4), (torch.from_numpy(problem()[0]), labels))


def test_nothing_is_printed_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_result_tells_what_ran(backend: str) -> None:
    result = fit(backend=backend, threads=1)
    assert result.backend == backend
    assert result.threads == 1
    assert result.compile_seconds > 0
    assert result.train_seconds == pytest.approx(sum(result.history.seconds))
    assert any("data" in p.reason for p in result.graph.pruned)
    assert len(result.kernels) == len(result.program.kernels) == 1
    assert "1 kernel" in str(result.explain())


def test_speeds_are_short() -> None:
    assert [format_speed(s) for s in (12, 1234, 5.6e6, 7e9)] == ["12", "1.23k", "5.6M", "7G"]
