"""scikit-learn's multi-layer perceptron, which for the right options takes the same steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from .workloads import Array, Data, Params, Workload


class ScikitLearn:
    """`partial_fit` is one epoch of plain gradient descent over contiguous batches."""

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first, self.data = workload, params, data
        options = dict(workload.sklearn or {})
        self.classifier = options.pop("classifier")
        # Its squared error is half of the mean square, summed over the outputs.
        outputs = workload.layers[-1]
        squares = not self.classifier and options.get("loss") is None
        self.model: Any = (MLPClassifier if self.classifier else MLPRegressor)(
            hidden_layer_sizes=workload.layers[1:-1], solver="sgd", alpha=0.0, momentum=0.0,
            nesterovs_momentum=False, shuffle=False, batch_size=workload.batch, max_iter=1,
            learning_rate_init=workload.lr * (2 / outputs if squares else 1), **options,
        )  # fmt: skip
        # The first call only makes the arrays that `reset` fills.
        few = slice(0, workload.batch)
        self._fit(data[0][few], data[1][few])
        self.reset()

    def reset(self) -> None:
        weights = [*self.model.coefs_, *self.model.intercepts_]
        for held, given in zip(weights, [*self.first[::2], *self.first[1::2]], strict=True):
            held[...] = given.reshape(held.shape)

    def _fit(self, x: Array, y: Array) -> None:
        if self.classifier:
            self.model.partial_fit(x, y, classes=np.arange(self.workload.layers[-1]))
        else:
            self.model.partial_fit(x, y if y.ndim == 1 or y.shape[1] > 1 else y[:, 0])

    def run(self, epochs: int) -> float:
        started = time.perf_counter()
        for _ in range(epochs):
            self._fit(*self.data)
        return time.perf_counter() - started

    def params(self) -> list[Array]:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        flat = [np.array(a) for pair in pairs for a in pair]
        return [a.reshape(p.shape) for a, p in zip(flat, self.first, strict=True)]
