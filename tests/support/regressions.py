"""Losses to train with: the usual ones, and others that nobody had in mind when fusing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

FEATURES = 5
Arrays = tuple[np.ndarray[Any, Any], ...]
Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Regression:
    """A loss with arguments for it.

    Attributes:
        loss: `loss(params, x, *more)`, in torch functions; params is a tuple.
        params: the shapes of the parameters.
        data: (generator, rows) -> the arrays of the data, float64 or int64; the first is `x`.
        spread: the parameters' standard deviation.
    """

    name: str
    loss: Callable[..., Any]
    params: tuple[tuple[int, ...], ...]
    data: Callable[[np.random.Generator, int], Arrays]
    spread: float = 0.5

    def arguments(
        self, rows: int, dtype: torch.dtype = torch.float64, seed: int = 0
    ) -> tuple[Tensors, Tensors]:
        """Parameters and data: the same numbers, rounded, for every dtype."""
        rng = np.random.default_rng(seed)
        params = [rng.normal(size=shape) * self.spread for shape in self.params]
        columns = self.data(np.random.default_rng(seed + 1), rows)
        return as_tensors(params, dtype), as_tensors(columns, dtype)

    def expected(self, params: Tensors, data: Tensors) -> tuple[torch.Tensor, Tensors]:
        """Value and gradients by torch's autograd in float64."""
        leaves = tuple(p.double().requires_grad_() for p in params)
        value = self.loss(leaves, *(x.double() if x.is_floating_point() else x for x in data))
        return value.detach(), torch.autograd.grad(value, leaves)


def as_tensors(arrays: Iterable[Any], dtype: torch.dtype) -> Tensors:
    """Arrays as tensors, the floating ones of this dtype."""
    tensors = [torch.as_tensor(np.asarray(a)) for a in arrays]
    return tuple(t.to(dtype) if t.is_floating_point() else t for t in tensors)


def _features(rng: np.random.Generator, rows: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=(rows, FEATURES))


def _real(rng: np.random.Generator, rows: int) -> Arrays:
    return _features(rng, rows), rng.normal(size=rows)


def _counts(rng: np.random.Generator, rows: int) -> Arrays:
    return _features(rng, rows), rng.poisson(2.0, size=rows).astype(np.float64)


def _positive(rng: np.random.Generator, rows: int) -> Arrays:
    return _features(rng, rows), rng.gamma(2.0, size=rows)


def _binary(rng: np.random.Generator, rows: int) -> Arrays:
    return _features(rng, rows), rng.integers(0, 2, size=rows).astype(np.float64)


def _signs(rng: np.random.Generator, rows: int) -> Arrays:
    return _features(rng, rows), rng.integers(0, 2, size=rows) * 2.0 - 1.0


def _classes(rng: np.random.Generator, rows: int) -> Arrays:
    return _features(rng, rows), rng.integers(0, 3, size=rows)


def _vectors(rng: np.random.Generator, rows: int) -> Arrays:
    return _features(rng, rows), rng.normal(size=(rows, 3))


def _weighted(rng: np.random.Generator, rows: int) -> Arrays:
    return *_real(rng, rows), rng.uniform(0.5, 2.0, size=rows)


def _with_ids(rng: np.random.Generator, rows: int) -> Arrays:
    x, y = _real(rng, rows)
    return x, rng.integers(0, 4, size=rows), y


def _affine(params: Any, x: Any) -> Any:
    w, b = params
    return x @ w + b


def linear(params: Any, x: Any, y: Any) -> Any:
    return ((_affine(params, x) - y) ** 2).mean()


def ridge(params: Any, x: Any, y: Any) -> Any:
    return linear(params, x, y) + 0.1 * (params[0] ** 2).sum()


def huber(params: Any, x: Any, y: Any) -> Any:
    return F.huber_loss(_affine(params, x), y, delta=0.7)


def logistic(params: Any, x: Any, y: Any) -> Any:
    return F.binary_cross_entropy_with_logits(_affine(params, x), y)


def softmax(params: Any, x: Any, labels: Any) -> Any:
    return F.cross_entropy(_affine(params, x), labels)


def perceptron(params: Any, x: Any, y: Any) -> Any:
    w1, b1, w2, b2, w3, b3 = params
    h = torch.relu(x @ w1 + b1)
    h = torch.tanh(h @ w2 + b2)
    return F.mse_loss(h @ w3 + b3, y)


VECTOR = ((FEATURES,), ())
MATRIX = ((FEATURES, 3), (3,))

SIX = (
    Regression("linear", linear, VECTOR, _real),
    Regression("ridge", ridge, VECTOR, _real),
    Regression("huber", huber, VECTOR, _real),
    Regression("logistic", logistic, VECTOR, _binary),
    Regression("softmax", softmax, MATRIX, _classes),
    Regression(
        "perceptron", perceptron, ((FEATURES, 64), (64,), (64, 40), (40,), (40,), ()), _real,
        spread=0.3,
    ),
)  # fmt: skip
"""What the project promises in one pass."""


def poisson(params: Any, x: Any, y: Any) -> Any:
    z = _affine(params, x)
    return (torch.exp(z) - y * z).mean()


def rmse(params: Any, x: Any, y: Any) -> Any:
    return torch.sqrt(linear(params, x, y))


def log_cosh(params: Any, x: Any, y: Any) -> Any:
    return torch.log(torch.cosh(_affine(params, x) - y)).mean()


def pinball(params: Any, x: Any, y: Any) -> Any:
    r = y - _affine(params, x)
    return torch.maximum(0.9 * r, -0.1 * r).mean()


def two_heads(params: Any, x: Any, y: Any) -> Any:
    w, b = params
    out = x @ w + b
    mean, log_scale = out[:, 0], out[:, 1]
    return (0.5 * torch.exp(-2 * log_scale) * (y - mean) ** 2 + log_scale).mean()


def hinge(params: Any, x: Any, y: Any) -> Any:
    return torch.relu(1 - y * _affine(params, x)).mean()


def squared_hinge(params: Any, x: Any, y: Any) -> Any:
    return (torch.relu(1 - y * _affine(params, x)) ** 2).mean()


def focal(params: Any, x: Any, y: Any) -> Any:
    z = _affine(params, x)
    p = torch.sigmoid(z)
    positive = y * (1 - p) ** 2 * F.logsigmoid(z)
    return -(positive + (1 - y) * p**2 * F.logsigmoid(-z)).mean()


def cauchy(params: Any, x: Any, y: Any) -> Any:
    return torch.log1p(((_affine(params, x) - y) / 0.8) ** 2).mean()


def absolute_and_lasso(params: Any, x: Any, y: Any) -> Any:
    return (_affine(params, x) - y).abs().mean() + 0.01 * params[0].abs().sum()


def student(params: Any, x: Any, y: Any) -> Any:
    w, b, log_scale = params
    z = (y - x @ w - b) * torch.exp(-log_scale)
    return (2.0 * torch.log1p(z**2 / 3.0) + log_scale).mean()


def outputs(params: Any, x: Any, y: Any) -> Any:
    return ((_affine(params, x) - y) ** 2).sum(1).mean()


def elastic_net(params: Any, x: Any, y: Any) -> Any:
    w = params[0]
    return linear(params, x, y) + 0.02 * w.abs().sum() + 0.05 * (w * w).sum()


def tweedie(params: Any, x: Any, y: Any) -> Any:
    z = _affine(params, x)
    return (torch.exp(0.5 * z) / 0.5 + y * torch.exp(-0.5 * z) / 0.5).mean()


def gamma(params: Any, x: Any, y: Any) -> Any:
    z = _affine(params, x)
    return (y * torch.exp(-z) + z).mean()


def weighted(params: Any, x: Any, y: Any, weight: Any) -> Any:
    return (weight * (_affine(params, x) - y) ** 2).sum() / weight.sum()


def asymmetric(params: Any, x: Any, y: Any, weight: Any) -> Any:
    r = _affine(params, x) - y
    return (weight * torch.where(r > 0, 3.0 * r * r, r * r)).mean()


def smoothed_labels(params: Any, x: Any, labels: Any) -> Any:
    logp = torch.log_softmax(_affine(params, x), 1)
    return -0.9 * logp.gather(1, labels[:, None]).mean() - 0.1 * logp.mean()


def factorization_machine(params: Any, x: Any, y: Any) -> Any:
    w, b, v = params
    pairs = ((x @ v) ** 2 - (x**2) @ (v**2)).sum(1)
    return ((x @ w + b + 0.5 * pairs - y) ** 2).mean()


def polynomial(params: Any, x: Any, y: Any) -> Any:
    w1, w2, w3, b = params
    return ((x @ w1 + x**2 @ w2 + x**3 @ w3 + b - y) ** 2).mean()


def cosine_features(params: Any, x: Any, y: Any) -> Any:
    w, phase, v = params
    return ((torch.cos(x @ w + phase) @ v - y) ** 2).mean()


def sine_of_features(params: Any, x: Any, y: Any) -> Any:
    w, v = params
    return ((torch.sin(x @ w) @ v - y) ** 2).mean()


def gated(params: Any, x: Any, y: Any) -> Any:
    w, v, u = params
    return (((x @ w * torch.sigmoid(x @ v)) @ u - y) ** 2).mean()


def embedding(params: Any, x: Any, ids: Any, y: Any) -> Any:
    w, table = params
    return ((x @ w + table[ids] - y) ** 2).mean()


def embedded_rows(params: Any, x: Any, ids: Any, y: Any) -> Any:
    w, table = params
    return (((x @ w) * table[ids]).sum(1) - y).abs().mean()


def mixture(params: Any, x: Any, y: Any) -> Any:
    gates, means = params
    parts = F.log_softmax(x @ gates, 1) - 0.5 * (x @ means - y[:, None]) ** 2
    return -torch.logsumexp(parts, 1).mean()


def ordinal(params: Any, x: Any, labels: Any) -> Any:
    w, steps = params
    beyond = (labels[:, None] > torch.arange(2)).to(x.dtype)
    return F.binary_cross_entropy_with_logits((x @ w)[:, None] - steps, beyond)


def sum_of_logs(params: Any, x: Any, y: Any) -> Any:
    return torch.log(((_affine(params, x) - y) ** 2).sum() + 1.0)


def normalised_rows(params: Any, x: Any, y: Any) -> Any:
    unit = x / torch.sqrt((x * x).sum(1, keepdim=True) + 1e-3)
    return ((_affine(params, unit) - y) ** 2).mean()


def largest_of(params: Any, x: Any, y: Any) -> Any:
    return ((x @ params[0] + params[1]).amax(1) - y).abs().mean()


def bilinear(params: Any, x: Any, y: Any) -> Any:
    return (((x @ params[0]) * x).sum(1) - y).abs().mean()


OTHERS = (
    Regression("poisson", poisson, VECTOR, _counts),
    Regression("rmse", rmse, VECTOR, _real),
    Regression("log_cosh", log_cosh, VECTOR, _real),
    Regression("pinball", pinball, VECTOR, _real),
    Regression("two_heads", two_heads, ((FEATURES, 2), (2,)), _real),
    Regression("hinge", hinge, VECTOR, _signs),
    Regression("squared_hinge", squared_hinge, VECTOR, _signs),
    Regression("focal", focal, VECTOR, _binary),
    Regression("cauchy", cauchy, VECTOR, _real),
    Regression("absolute_and_lasso", absolute_and_lasso, VECTOR, _real),
    Regression("student", student, (*VECTOR, ()), _real),
    Regression("outputs", outputs, MATRIX, _vectors),
    Regression("elastic_net", elastic_net, VECTOR, _real),
    Regression("tweedie", tweedie, VECTOR, _positive),
    Regression("gamma", gamma, VECTOR, _positive),
    Regression("weighted", weighted, VECTOR, _weighted),
    Regression("asymmetric", asymmetric, VECTOR, _weighted),
    Regression("smoothed_labels", smoothed_labels, MATRIX, _classes),
    Regression("factorization_machine", factorization_machine, (*VECTOR, (FEATURES, 4)), _real),
    Regression("polynomial", polynomial, ((FEATURES,),) * 3 + ((),), _real),
    Regression("cosine_features", cosine_features, ((FEATURES, 12), (12,), (12,)), _real),
    Regression("sine_of_features", sine_of_features, ((FEATURES, 7), (7,)), _real),
    Regression("gated", gated, ((FEATURES, 6), (FEATURES, 6), (6,)), _real),
    Regression("embedding", embedding, ((FEATURES,), (4,)), _with_ids),
    Regression("embedded_rows", embedded_rows, ((FEATURES, 3), (4, 3)), _with_ids),
    Regression("mixture", mixture, ((FEATURES, 3), (FEATURES, 3)), _real),
    Regression("ordinal", ordinal, ((FEATURES,), (2,)), _classes),
    Regression("sum_of_logs", sum_of_logs, VECTOR, _real),
    Regression("normalised_rows", normalised_rows, VECTOR, _real),
    Regression("largest_of", largest_of, MATRIX, _real),
    Regression("bilinear", bilinear, ((FEATURES, FEATURES),), _real),
)
"""What the fuser was not designed for, and takes in one pass all the same."""


def batch_standardised(params: Any, x: Any, y: Any) -> Any:
    centred = x - x.mean(0)
    return ((_affine(params, centred) - y) ** 2).mean()


def r_squared(params: Any, x: Any, y: Any) -> Any:
    residual = ((_affine(params, x) - y) ** 2).sum()
    return residual / ((y - y.mean()) ** 2).sum()


def correlation(params: Any, x: Any, y: Any) -> Any:
    z = x @ params[0]
    z, y = z - z.mean(), y - y.mean()
    return 1 - (z * y).sum() / torch.sqrt((z * z).sum() * (y * y).sum() + 1e-6)


def batch_normalised(params: Any, x: Any, y: Any) -> Any:
    w, v = params
    h = x @ w
    h = h - h.mean(0)
    h = h / torch.sqrt((h * h).mean(0) + 1e-2)
    return ((torch.relu(h) @ v - y) ** 2).mean()


def over_the_batch(params: Any, x: Any, y: Any) -> Any:
    return -(torch.log_softmax(x @ params[0], 0) * y).mean()


MORE_PASSES = (
    Regression("batch_standardised", batch_standardised, VECTOR, _real),
    Regression("r_squared", r_squared, VECTOR, _real),
    Regression("correlation", correlation, ((FEATURES,),), _real),
    Regression("batch_normalised", batch_normalised, ((FEATURES, 4), (4,)), _real),
    Regression("over_the_batch", over_the_batch, ((FEATURES,),), _real),
)
"""What needs a finished sum over all rows before it can go on with each row."""

ALL = SIX + OTHERS + MORE_PASSES


def by_name(name: str) -> Regression:
    """The regression of that name."""
    return next(r for r in ALL if r.name == name)
