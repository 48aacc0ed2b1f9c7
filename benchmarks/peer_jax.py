"""JAX: a jitted step called from Python, and a jitted `lax.scan` over the batches."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .runner import descend
from .workloads import Array, Data, Ops, Params, Workload


def _huber(z: Any, y: Any) -> Any:
    r = jnp.abs(z - y)
    return jnp.where(r < 1, 0.5 * r * r, r - 0.5).mean()


def _cross_entropy(z: Any, labels: Any) -> Any:
    picked = jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1)
    return -picked.mean()


OPS = Ops(jnp.exp, jnp.sin, jnp.sqrt, jnp.tanh, jax.nn.relu, _huber, _cross_entropy)


def has_device(device: str) -> bool:
    """Whether this JAX can use the device."""
    try:
        return bool(jax.devices("gpu" if device.startswith("cuda") else "cpu"))
    except RuntimeError:
        return False


class JaxJit:
    """A step at a time. Times are wall times until everything is there."""

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first = workload, params
        self.device = jax.devices("gpu" if device.startswith("cuda") else "cpu")[0]
        self.step = jax.jit(self._step)
        # Batches beforehand: slicing on the way would be timed as JAX's own.
        x, y = (np.asarray(a.cpu() if hasattr(a, "cpu") else a) for a in data)
        y = y.astype(np.int32) if workload.targets == "classes" else y
        batched = [a.reshape(workload.steps, workload.batch, *a.shape[1:]) for a in (x, y)]
        self.place(batched)
        self.reset()

    def place(self, batched: list[Array]) -> None:
        self.batches: Any = [
            tuple(jax.device_put(a[i], self.device) for a in batched)
            for i in range(self.workload.steps)
        ]

    def _step(self, carry: Any, batch: Any) -> Any:
        params, buffers = carry

        def loss(params: Any) -> Any:
            return self.workload.loss(OPS, params, *batch)

        return descend(self.workload, params, buffers, jax.grad(loss)(params))

    def reset(self) -> None:
        now = tuple(jax.device_put(p, self.device) for p in self.first)
        self.carry: Any = (now, tuple(p * 0 for p in now))

    def run(self, epochs: int) -> float:
        started = time.perf_counter()
        self.work(epochs)
        # Only where jax is installed is there something to ignore.
        jax.block_until_ready(self.carry)  # type: ignore[no-untyped-call,unused-ignore]
        return time.perf_counter() - started

    def work(self, epochs: int) -> None:
        for _ in range(epochs):
            for batch in self.batches:
                self.carry = self.step(self.carry, batch)

    def params(self) -> list[Array]:
        return [np.asarray(p) for p in self.carry[0]]


class JaxScan(JaxJit):
    """All batches of an epoch in one call, or with one batch an epoch all epochs."""

    def place(self, batched: list[Array]) -> None:
        self.data: Any = tuple(jax.device_put(a, self.device) for a in batched)

        def over_batches(carry: Any, data: Any) -> Any:
            return lax.scan(lambda c, batch: (self._step(c, batch), None), carry, data)[0]

        def over_epochs(carry: Any, data: Any, epochs: Any) -> Any:
            batch = tuple(a[0] for a in data)
            return lax.fori_loop(0, epochs, lambda _, c: self._step(c, batch), carry)

        self.epoch, self.many = jax.jit(over_batches), jax.jit(over_epochs)

    def work(self, epochs: int) -> None:
        if self.workload.steps == 1:
            self.carry = self.many(self.carry, self.data, epochs)
            return
        for _ in range(epochs):
            self.carry = self.epoch(self.carry, self.data)
