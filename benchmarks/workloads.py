"""The workloads: data, first parameters, loss, and how much work a step is.

A loss is written once, over the few functions (`Ops`) that torch and JAX spell differently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Params: TypeAlias = tuple[Array, ...]
Data: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True)
class Ops:
    """What torch and JAX do not spell alike; every member takes and gives arrays."""

    exp: Callable[..., Any]
    sin: Callable[..., Any]
    sqrt: Callable[..., Any]
    tanh: Callable[..., Any]
    relu: Callable[..., Any]
    huber: Callable[..., Any]
    cross_entropy: Callable[..., Any]


@dataclass(frozen=True)
class Workload:
    """One training: stochastic gradient descent over contiguous batches.

    Attributes:
        name, title: short, and for people.
        loss: `loss(ops, params, x, y)`.
        layers: the widths from the columns of `x` to the outputs.
        rows, batch: of the data; all rows are one batch where they are equal.
        targets: "real", "classes" or "counts".
        lr, momentum, weight_decay: of the descent, with torch's meaning.
        vector: whether the weights of a single output are a vector and its bias a number.
        sklearn: the options of scikit-learn's multi-layer perceptron for the same steps, if any.
        tolerance: how far the parameters' change may be from float64's, relative to it.
    """

    name: str
    title: str
    loss: Callable[..., Any]
    layers: tuple[int, ...]
    rows: int
    batch: int
    lr: float
    targets: str = "real"
    momentum: float = 0.0
    weight_decay: float = 0.0
    vector: bool = True
    sklearn: dict[str, Any] | None = None
    tolerance: float = 1e-3

    def copies(self, count: int) -> Workload:
        """The same data so often: a step over all rows has the same gradients, and more to read."""
        assert self.batch == self.rows
        name = f"{self.name}_x{count}"
        rows = self.rows * count
        return replace(self, name=name, title=f"{self.title}, {rows:,} rows", rows=rows, batch=rows)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return self.rows // self.batch

    @property
    def step_bytes(self) -> int:
        """The data of one step, each element read once."""
        columns = 1 if self.targets != "real" else self.layers[-1]
        itemsize = 8 if self.targets == "classes" else 4
        return self.batch * (4 * self.layers[0] + itemsize * columns)

    @property
    def data_bytes(self) -> int:
        """The data of an epoch."""
        return self.step_bytes * self.steps

    @property
    def step_flops(self) -> int:
        """The multiplications and additions of the products: forward, and backward twice but
        for the data's own gradient, which nobody needs."""
        sizes = [a * b for a, b in zip(self.layers, self.layers[1:], strict=False)]
        return 2 * self.batch * (3 * sum(sizes) - sizes[0])

    def smaller(self, factor: int) -> Workload:
        """The same with fewer rows, and a smaller batch where the batch is all rows."""
        if self.batch == self.rows:
            rows = max(self.rows // factor, 64)
            return replace(self, rows=rows, batch=rows)
        return replace(self, rows=max(self.steps // factor, 2) * self.batch)

    def data(self) -> Data:
        """Float32 columns and targets (labels are int64)."""
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.layers[0]), np.float32)
        truth = rng.standard_normal((self.layers[0], self.layers[-1]), np.float32)
        # Targets of few columns only, so that making them is quick.
        score = x[:, :8] @ truth[:8] / 3
        if self.targets == "classes":
            return x, np.argmax(score, axis=1)
        noise = rng.standard_normal(score.shape, np.float32)
        y = np.floor(np.exp(score / 4)) if self.targets == "counts" else score + 0.1 * noise
        return x, (y[:, 0] if self.vector else y).astype(np.float32)

    def params(self) -> Params:
        """Weights and biases in turn."""
        rng = np.random.default_rng(1)
        found: list[Array] = []
        for a, b in zip(self.layers, self.layers[1:], strict=False):
            w = rng.standard_normal((a, b), np.float32) * np.float32(0.5 / np.sqrt(a))
            bias = np.full(b, 0.1, np.float32)
            found += [w[:, 0].copy(), bias.reshape(())] if self.vector else [w, bias]
        return tuple(found)


def mse(ops: Ops, params: Any, x: Any, y: Any) -> Any:
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


def rmse(ops: Ops, params: Any, x: Any, y: Any) -> Any:
    return ops.sqrt(mse(ops, params, x, y))


def softmax(ops: Ops, params: Any, x: Any, y: Any) -> Any:
    w, b = params
    return ops.cross_entropy(x @ w + b, y)


def poisson(ops: Ops, params: Any, x: Any, y: Any) -> Any:
    w, b = params
    z = x @ w + b
    return (ops.exp(z) - y * z).mean()


def wave(ops: Ops, params: Any, x: Any, y: Any) -> Any:
    w, b = params
    z = x @ w
    return ops.huber(ops.tanh(z) * ops.exp(-(z**2)) + b * ops.sin(z), y)


def mlp(ops: Ops, params: Any, x: Any, y: Any) -> Any:
    *hidden, w, b = params
    for i in range(0, len(hidden), 2):
        x = ops.relu(x @ hidden[i] + hidden[i + 1])
    return ((x @ w + b - y) ** 2).mean()


_SQUARES = {"classifier": False}
_LINEAR = (
    Workload("linreg_full", "linear, full batch", mse, (64, 1), 1_000_000, 1_000_000, 0.05,
             sklearn=_SQUARES),
    Workload("linreg_sgd", "linear, batches of 32", mse, (13, 1), 100_000, 32, 0.002,
             sklearn=_SQUARES),
)  # fmt: skip
_SOFTMAX = {"classifier": True}
WORKLOADS = (
    *_LINEAR,
    Workload("softmax_sgd", "softmax, batches of 256", softmax, (784, 10), 59_904, 256, 0.01,
             "classes", vector=False, sklearn=_SOFTMAX),
    Workload("softmax_full", "softmax, full batch", softmax, (784, 10), 60_000, 60_000, 0.05,
             "classes", vector=False, sklearn=_SOFTMAX),
    Workload("mlp_sgd", "16-64-64-1 relu, batches of 4096", mlp, (16, 64, 64, 1), 131_072, 4096,
             0.01, vector=False, sklearn=_SQUARES),
    Workload("poly_eltwise", "huber of tanh, exp and sin", wave, (8, 1), 1_000_000, 1_000_000,
             0.05),
    Workload("ridge", "linear, momentum and decay, batches of 1024", mse, (32, 1), 262_144, 1024,
             0.005, momentum=0.9, weight_decay=0.01),
    Workload("poisson", "Poisson, full batch", poisson, (32, 1), 500_000, 500_000, 0.02, "counts",
             sklearn={"classifier": False, "loss": "poisson"}),
    Workload("rmse", "root of the mean square, full batch", rmse, (16, 1), 1_000_000, 1_000_000,
             0.05),
    Workload("multi_output", "linear, 7 outputs, full batch", mse, (100, 7), 200_000, 200_000,
             0.1, vector=False, sklearn=_SQUARES),
    Workload("wide_mlp", "256-512-512-1 relu, batches of 8192", mlp, (256, 512, 512, 1), 65_536,
             8192, 0.005, vector=False, sklearn=_SQUARES),
)  # fmt: skip
BY_NAME = {w.name: w for w in WORKLOADS}
