"""Random functions of torch tensors: long chains of every kind of op, drawn by a seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch

Step = Callable[[list[Any]], Any]

_ONE: list[Callable[[Any], Any]] = [
    torch.tanh, torch.sin, torch.sigmoid, lambda x: x * x, lambda x: -x, torch.relu,
    lambda x: torch.exp(torch.tanh(x)), lambda x: torch.log(x * x + 1), lambda x: x * 0.5 + 1,
    lambda x: torch.where(x > 0, x, 0.1 * x), torch.abs,
]  # fmt: skip
_TWO: list[Callable[[Any, Any], Any]] = [
    torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum,
    lambda x, y: x / (y * y + 1), lambda x, y: torch.where(x > y, x, y * 0.5),
]  # fmt: skip


def _reduction(rng: random.Random, axis: int, keep: bool) -> Callable[[Any], Any]:
    return rng.choice([
        lambda x: x.sum(axis, keepdim=keep), lambda x: x.mean(axis, keepdim=keep),
        lambda x: x.amax(axis, keepdim=keep), lambda x: torch.logsumexp(x, axis, keepdim=keep),
    ])  # fmt: skip


def _movement(rng: random.Random, x: torch.Tensor) -> Callable[[Any], Any] | None:
    axis = rng.randrange(x.ndim)
    before = (slice(None),) * axis
    choices: list[Callable[[Any], Any]] = [
        lambda x: x[(*before, None)],
        lambda x: x[(*before, -1)],
        lambda x: torch.softmax(x, axis),
    ]
    if x.ndim > 1:
        order = rng.sample(range(x.ndim), x.ndim)
        choices.append(lambda x: x.permute(order))
        choices.append(lambda x: x.reshape(-1, *x.shape[2:]))
        choices.append(lambda x: x.flatten())
    if x.shape[axis] > 2:
        choices.append(lambda x: x[(*before, slice(1, None))])
        choices.append(lambda x: x[(*before, slice(None, -2))])
        choices.append(lambda x: x[(*before, slice(1, None))] - x[(*before, slice(None, -1))])
    if x.shape[axis] in (3, 4, 5):  # a size that is known
        choices.append(lambda x: x[(*before, slice(None, None, 2))])
    return rng.choice(choices)


_MOST = 60_000  # elements of a value


def _fits(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether the shapes broadcast, to something that is not too big."""
    try:
        shape = torch.broadcast_shapes(x.shape, y.shape)
    except RuntimeError:
        return False
    return shape.numel() <= _MOST


def _draw(rng: random.Random, pool: list[torch.Tensor]) -> Step | None:
    i, j = (rng.randrange(len(pool)) for _ in range(2))
    x, y = pool[i], pool[j]
    kind = rng.choice(["one", "two", "two", "reduce", "move", "move", "product"])
    if kind == "one":
        f = rng.choice(_ONE)
        return lambda values: f(values[i])
    if kind == "two" and _fits(x, y):
        g = rng.choice(_TWO)
        return lambda values: g(values[i], values[j])
    if kind == "product" and x.ndim == 2 and y.ndim in (1, 2) and x.shape[1] == y.shape[0]:
        return lambda values: values[i] @ values[j]
    if kind == "product" and x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1]:
        return lambda values: values[i] @ values[j].T
    if kind == "reduce" and x.ndim:
        h = _reduction(rng, rng.randrange(x.ndim), rng.random() < 0.5)
        return lambda values: h(values[i])
    if kind == "move" and x.ndim:
        m = _movement(rng, x)
        return None if m is None else (lambda values: m(values[i]))
    return None


def random_function(
    seed: int, length: int = 12, features: int = 5, outputs: int = 3
) -> tuple[Callable[..., Any], list[torch.Tensor]]:
    """A function `(w, v, x, y)` of two parameters and two arrays of rows, and arguments for it.

    It returns its last four values, drawn from all before.
    """
    rng = random.Random(seed)
    generator = torch.Generator().manual_seed(seed)
    shapes = [(features, outputs), (outputs,), (11, features), (11,)]
    args = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    pool, steps = list(args), []
    while len(steps) < length:
        step = _draw(rng, pool)
        value = None if step is None else step(pool)
        if step is not None and value.numel() <= _MOST and value.ndim <= 4:
            steps.append(step)
            pool.append(value)

    def fn(w: Any, v: Any, x: Any, y: Any) -> Any:
        values = [w, v, x, y]
        for step in steps:
            values.append(step(values))
        return tuple(values[-4:])

    return fn, args
