"""The optimizers and clipping against torch's, compiled into one kernel with the loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import graphir
from graphir import optim
from graphir.runtime.step import COMPILED_STEPS

BACKENDS = ["reference", "c", "interpret"]

# Ours, and torch's of the same meaning.
PAIRS: dict[str, tuple[optim.Optimizer, Callable[[Any], torch.optim.Optimizer]]] = {
    "sgd": (optim.SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "sgd-momentum": (optim.SGD(0.05, momentum=0.9), lambda p: torch.optim.SGD(p, 0.05, 0.9)),
    "sgd-decay": (
        optim.SGD(0.05, momentum=0.8, weight_decay=0.05),
        lambda p: torch.optim.SGD(p, 0.05, 0.8, weight_decay=0.05),
    ),
    "sgd-nesterov": (
        optim.SGD(0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.05, 0.9, weight_decay=0.01, nesterov=True),
    ),
    "sgd-dampening": (
        optim.SGD(0.05, momentum=0.9, dampening=0.4),
        lambda p: torch.optim.SGD(p, 0.05, 0.9, dampening=0.4),
    ),
    "adam": (optim.Adam(0.05), lambda p: torch.optim.Adam(p, 0.05)),
    "adam-all": (
        optim.Adam(0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.05, (0.8, 0.95), 1e-3, 0.1),
    ),
    "adamw": (
        optim.AdamW(0.05, weight_decay=0.2),
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.2),
    ),
    "adamw-no-decay": (
        optim.AdamW(0.05, weight_decay=0.0),
        lambda p: torch.optim.AdamW(p, 0.05, weight_decay=0.0),
    ),
    "rmsprop": (optim.RMSprop(0.02), lambda p: torch.optim.RMSprop(p, 0.02)),
    "rmsprop-all": (
        optim.RMSprop(0.01, alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.5, centered=True),
        lambda p: torch.optim.RMSprop(p, 0.01, 0.9, 1e-3, 0.1, 0.5, centered=True),
    ),
    "adagrad": (optim.Adagrad(0.3), lambda p: torch.optim.Adagrad(p, 0.3)),
    "adagrad-all": (
        optim.Adagrad(0.3, lr_decay=0.02, weight_decay=0.1, eps=1e-3),
        lambda p: torch.optim.Adagrad(p, 0.3, 0.02, 0.1, eps=1e-3),
    ),
}


def loss(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


def problem(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(50, k, generator=generator, dtype=torch.float64) for k in (3, 1))
    return x.to(dtype), y[:, 0].to(dtype)


def start(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(3, generator=generator, dtype=torch.float64)
    return w.to(dtype), torch.tensor(0.3, dtype=dtype)


def fit(optimizer: optim.Optimizer, backend: str, **options: Any) -> Any:
    """A hundred steps of batches of 10."""
    settings: dict[str, Any] = {"epochs": 20, "batch_size": 10, "shuffle": False}
    return graphir.train(
        loss, start(), problem(), optimizer=optimizer, backend=backend, **settings | options
    )


def fit_torch(
    make: Callable[[Any], torch.optim.Optimizer],
    clip: Callable[[list[torch.Tensor]], Any] | None = None,
    schedule: Callable[[Any], torch.optim.lr_scheduler.LRScheduler] | None = None,
) -> tuple[list[torch.Tensor], list[float], list[float]]:
    """The same by torch: parameters, losses, learning rates."""
    params = [p.clone().requires_grad_() for p in start()]
    optimizer, (x, y) = make(params), problem()
    scheduler = schedule(optimizer) if schedule is not None else None
    losses, rates = [], []
    for step in range(100):
        rows = slice(step % 5 * 10, step % 5 * 10 + 10)
        optimizer.zero_grad()
        value = loss(params, x[rows], y[rows])
        value.backward()
        if clip is not None:
            clip(params)
        losses.append(value.item())
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return [p.detach() for p in params], losses, rates


def assert_same(result: Any, params: list[torch.Tensor], losses: list[float]) -> None:
    for got, want in zip(result.params, params, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(result.history.step_loss, losses, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", PAIRS)
def test_a_hundred_steps_are_torchs(name: str, backend: str) -> None:
    ours, make = PAIRS[name]
    params, losses, _ = fit_torch(make)
    assert_same(fit(ours, backend), params, losses)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["sgd-momentum", "adam"])
@pytest.mark.parametrize(
    ("options", "clip"),
    [
        ({"clip_value": 0.3}, lambda p: torch.nn.utils.clip_grad_value_(p, 0.3)),
        ({"clip_norm": 0.5}, lambda p: torch.nn.utils.clip_grad_norm_(p, 0.5)),
        ({"clip_norm": 1e6}, None),
    ],
    ids=["value", "norm", "out of reach"],
)
def test_clipping_is_torchs(
    options: dict[str, float], clip: Callable[..., Any] | None, name: str, backend: str
) -> None:
    ours, make = PAIRS[name]
    params, losses, _ = fit_torch(make, clip)
    assert_same(fit(ours, backend, **options), params, losses)


@pytest.mark.parametrize("backend", ["c", "interpret"])
@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"clip_value": 0.1, "clip_norm": 1.0}])
def test_a_whole_step_is_one_kernel(options: dict[str, float], backend: str) -> None:
    result = fit(optim.Adam(0.05), backend, epochs=1, **options)
    assert len(result.program.kernels) == 1


@pytest.mark.parametrize("name", PAIRS)
def test_in_float32(name: str) -> None:
    ours, make = PAIRS[name]
    params, _, _ = fit_torch(make)
    result = graphir.train(
        loss, start(torch.float32), problem(torch.float32), optimizer=ours, backend="c",
        epochs=20, batch_size=10, shuffle=False,
    )  # fmt: skip
    for got, want in zip(result.params, params, strict=True):
        assert got.dtype is torch.float32
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-4)


def _cosine_after_warmup(optimizer: torch.optim.Optimizer) -> Any:
    schedulers = torch.optim.lr_scheduler
    line = schedulers.LinearLR(optimizer, start_factor=1 / 11, total_iters=10)
    wave = schedulers.CosineAnnealingLR(optimizer, 90, eta_min=0.01)
    return schedulers.SequentialLR(optimizer, [line, wave], milestones=[10])


@pytest.mark.parametrize(
    ("schedule", "torchs"),
    [
        (optim.constant(0.05), None),
        (optim.step(0.05, 30, 0.5), lambda o: torch.optim.lr_scheduler.StepLR(o, 30, 0.5)),
        (
            optim.cosine(0.05, 0.01),
            lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100, 0.01),
        ),
        (optim.warmup(10, optim.cosine(0.05, 0.01)), _cosine_after_warmup),
    ],
    ids=["constant", "step", "cosine", "warmup"],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter in:UserWarning")
def test_schedules_are_torchs(schedule: optim.Schedule, torchs: Any) -> None:
    params, losses, rates = fit_torch(PAIRS["adam"][1], schedule=torchs)
    result = fit(optim.Adam(schedule), "c")
    np.testing.assert_allclose(result.history.learning_rate, rates, rtol=1e-9)
    assert_same(result, params, losses)


def test_warmup_takes_a_number_and_may_be_longer_than_the_training() -> None:
    line = optim.warmup(4, 0.5)
    assert [line(s, 8) for s in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    assert optim.warmup(100, optim.cosine(1.0))(1, 2) == pytest.approx(2 / 101)


@pytest.mark.parametrize("lr", [0.02, optim.constant(0.02), lambda step, total: 0.02])
def test_a_number_a_schedule_and_a_function_of_ones_own(lr: Any) -> None:
    result = graphir.train(
        loss, (torch.zeros(2), torch.zeros(())), (torch.ones(7, 2), torch.ones(7)),
        optimizer=optim.SGD(lr=lr), batch_size=3, epochs=2, backend="reference",
    )  # fmt: skip
    assert result.history.learning_rate == [0.02] * 6


def test_a_sweep_over_any_number_compiles_once() -> None:
    def swept(params: Any, x: Any, y: Any) -> Any:
        return loss(params, x, y)

    def sweep(*optimizers: optim.Optimizer, **options: Any) -> int:
        before = COMPILED_STEPS.misses
        for optimizer in optimizers:
            graphir.train(
                swept, start(), problem(), optimizer=optimizer, backend="reference", **options
            )
        return COMPILED_STEPS.misses - before

    rates = 0.1, 0.2, optim.cosine(0.1), optim.warmup(3, 0.1)
    assert sweep(*(optim.SGD(lr, momentum=m) for lr in rates for m in (0.1, 0.5))) == 1
    assert sweep(*(optim.SGD(0.1, momentum=0.9, dampening=d) for d in (0.1, 0.5))) == 1
    assert (
        sweep(
            *(optim.Adam(lr, betas=(b, 0.99), eps=e) for lr in rates for b, e in [(0, 1), (0.5, 2)])
        )
        == 1
    )
    assert sweep(*(optim.AdamW(0.1, weight_decay=d) for d in (0.0, 0.1, 0.5))) == 1
    assert sweep(*(optim.RMSprop(0.1, alpha=a) for a in (0.5, 0.9))) == 1
    assert sweep(*(optim.Adagrad(0.1, lr_decay=d) for d in (0.0, 0.5))) == 1
    assert sum(sweep(optim.Adam(0.1), clip_norm=c) for c in (0.5, 1.0, 2.0)) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_tied_weights_and_trees_of_parameters(backend: str) -> None:
    def tied(params: Any, x: Any) -> Any:
        code = np.tanh(x @ params["code"]["w"] + params["b"][0])
        return ((code @ params["code"]["w"].T + params["b"][1] - x) ** 2).mean()

    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(30, 4)), rng.normal(size=(4, 2)) * 0.3
    params = {"code": {"w": w}, "b": (np.zeros(2), np.zeros(4))}
    result = graphir.train(
        tied, params, x, optimizer=optim.AdamW(0.02), batch_size=10, epochs=4, shuffle=False,
        clip_norm=0.7, backend=backend,
    )  # fmt: skip

    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (w, np.zeros(2), np.zeros(4))]
    adam = torch.optim.AdamW(leaves, 0.02)
    for step in range(12):
        rows = torch.from_numpy(x[step % 3 * 10 : step % 3 * 10 + 10])
        adam.zero_grad()
        weight, *bias = leaves
        code = torch.tanh(rows @ weight + bias[0])
        ((code @ weight.T + bias[1] - rows) ** 2).mean().backward()
        torch.nn.utils.clip_grad_norm_(leaves, 0.7)
        adam.step()
    got = [result.params["code"]["w"], *result.params["b"]]
    assert isinstance(result.params["b"], tuple)
    for one, want in zip(got, leaves, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_allclose(one, want.detach().numpy(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: optim.SGD(-0.1), "lr"),
        (lambda: optim.SGD(math.nan), "lr"),
        (lambda: optim.SGD("fast"), "lr"),  # type: ignore[arg-type]
        (lambda: optim.SGD(0.1, momentum=1.0), "momentum"),
        (lambda: optim.SGD(0.1, momentum=-0.5), "momentum"),
        (lambda: optim.SGD(0.1, weight_decay=-1.0), "weight_decay"),
        (lambda: optim.SGD(0.1, dampening=2.0), "dampening"),
        (lambda: optim.SGD(0.1, nesterov=True), "nesterov"),
        (lambda: optim.SGD(0.1, momentum=0.9, dampening=0.1, nesterov=True), "nesterov"),
        (lambda: optim.Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: optim.AdamW(betas=0.9), "betas"),  # type: ignore[arg-type]
        (lambda: optim.Adam(eps=-1e-8), "eps"),
        (lambda: optim.RMSprop(alpha=1.5), "alpha"),
        (lambda: optim.RMSprop(momentum=1.0), "momentum"),
        (lambda: optim.Adagrad(lr_decay=-1.0), "lr_decay"),
        (lambda: optim.constant(math.inf), "lr"),
        (lambda: optim.cosine(0.1, final=-1.0), "final"),
        (lambda: optim.step(0.1, 0), "every"),
        (lambda: optim.warmup(0, 0.1), "steps"),
        (lambda: optim.warmup(3, -0.1), "lr"),
        (lambda: fit(optim.SGD(0.1), "reference", clip_norm=0.0), "clip_norm"),
        (lambda: fit(optim.SGD(0.1), "reference", clip_value=-1.0), "clip_value"),
    ],
)
def test_what_is_refused(make: Callable[[], Any], named: str) -> None:
    with pytest.raises(graphir.GraphirError, match=named):
        make()


def test_a_schedule_that_gives_nan_is_named() -> None:
    with pytest.raises(graphir.GraphirError, match="step 1 of 2"):
        optim.learning_rates(lambda step, total: [0.1, math.nan][step], 0, 2, 2)
