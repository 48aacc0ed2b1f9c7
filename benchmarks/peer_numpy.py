"""NumPy, with the gradients by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from .numpy_steps import gradients
from .runner import Timed, descend
from .workloads import Array, Data, Params, Workload


class NumPy(Timed):
    """The gradients by hand."""

    device = "cpu"

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first, self.data = workload, params, data
        self.reset()

    def reset(self) -> None:
        self.now: Any = tuple(self.first)
        self.buffers: Any = tuple(np.zeros_like(p) for p in self.first)

    def work(self, epochs: int) -> None:
        w = self.workload
        x, y = self.data
        for _ in range(epochs):
            for start in range(0, w.rows, w.batch):
                rows = slice(start, start + w.batch)
                grads = gradients(w, self.now, x[rows], y[rows])
                self.now, self.buffers = descend(w, self.now, self.buffers, grads)

    def params(self) -> list[Array]:
        return [np.asarray(p) for p in self.now]
