"""Who trains: graphir and the peers, each as a Runner. JAX and scikit-learn are optional."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .clock import seconds
from .numpy_steps import gradients
from .workloads import Array, Data, Ops, Params, Workload


class Runner(Protocol):
    """One contestant on one workload. The data is where it needs it before any time counts."""

    def reset(self) -> None:
        """Begin again at the first parameters."""

    def run(self, epochs: int) -> float:
        """Train on for some epochs and wait for the end; the seconds that the steps took."""

    def params(self) -> list[Array]:
        """The parameters as they stand."""


Make = Callable[[Workload, Params, Data, str], Runner]


def torch_ops() -> Ops:
    """torch's functions."""
    import torch
    from torch.nn import functional as F

    return Ops(
        torch.exp, torch.sin, torch.sqrt, torch.tanh, torch.relu, F.huber_loss, F.cross_entropy
    )


def tensors(arrays: Params | Data, device: str) -> list[Any]:
    """On the CPU they share the arrays' memory."""
    import torch

    return [torch.from_numpy(a).to(device) for a in arrays]


class Graphir:
    """`graphir.train`; the seconds are its own history's, of the epochs without preparations."""

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first = workload, params
        self.device, self.data = device, tensors(data, device)
        ops = torch_ops()

        def loss(params: Any, x: Any, y: Any) -> Any:
            return workload.loss(ops, params, x, y)

        # The kernels carry the workload's name.
        loss.__name__ = workload.name
        self.loss = loss
        self.reset()

    def reset(self) -> None:
        self.now: Any = tuple(p.clone() for p in tensors(self.first, self.device))

    def run(self, epochs: int) -> float:
        import graphir

        w = self.workload
        self.result = graphir.train(
            self.loss, self.now, tuple(self.data), batch_size=w.batch, epochs=epochs,
            optimizer=graphir.optim.SGD(w.lr, w.momentum, w.weight_decay),
            shuffle=False, progress=False,
        )  # fmt: skip
        self.now = self.result.params
        return sum(self.result.history.seconds)

    def params(self) -> list[Array]:
        return [p.cpu().numpy() for p in self.now]


class _Timed:
    """Wall time on a CPU; device events on a GPU."""

    device: str

    def run(self, epochs: int) -> float:
        return seconds(lambda: self.work(epochs), self.device)

    def work(self, epochs: int) -> None:
        raise NotImplementedError


class TorchEager(_Timed):
    """A plain loop: backward() and torch.optim.SGD."""

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first, self.device = workload, params, device
        self.ops, self.data = torch_ops(), tensors(data, device)
        self.reset()

    def reset(self) -> None:
        import torch

        w = self.workload
        self.now = [p.clone().requires_grad_() for p in tensors(self.first, self.device)]
        self.optimizer = torch.optim.SGD(self.now, w.lr, w.momentum, weight_decay=w.weight_decay)

    def work(self, epochs: int) -> None:
        w = self.workload
        for _ in range(epochs):
            for start in range(0, w.rows, w.batch):
                self.optimizer.zero_grad()
                batch = (a[start : start + w.batch] for a in self.data)
                w.loss(self.ops, self.now, *batch).backward()
                self.optimizer.step()

    def params(self) -> list[Array]:
        return [p.detach().cpu().numpy() for p in self.now]


class TorchCompile(_Timed):
    """`torch.compile` of the whole step: torch.func.grad and the update."""

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        import torch

        self.workload, self.first, self.device = workload, params, device
        ops, self.data = torch_ops(), tensors(data, device)

        def loss(params: Any, x: Any, y: Any) -> Any:
            return workload.loss(ops, params, x, y)

        def step(params: Any, buffers: Any, x: Any, y: Any) -> Any:
            return descend(workload, params, buffers, torch.func.grad(loss)(params, x, y))

        # Workloads share `step`'s code, and the variants that torch keeps of one code are few.
        torch._dynamo.reset()
        self.step = torch.compile(step, fullgraph=True, dynamic=False)
        self.reset()

    def reset(self) -> None:
        self.now = tuple(p.clone() for p in tensors(self.first, self.device))
        self.buffers = tuple(p * 0 for p in self.now)

    def work(self, epochs: int) -> None:
        w = self.workload
        for _ in range(epochs):
            for start in range(0, w.rows, w.batch):
                batch = (a[start : start + w.batch] for a in self.data)
                self.now, self.buffers = self.step(self.now, self.buffers, *batch)

    def params(self) -> list[Array]:
        return [p.cpu().numpy() for p in self.now]


class NumPy(_Timed):
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


def descend(workload: Workload, params: Any, buffers: Any, grads: Any) -> tuple[Any, Any]:
    """One update of gradient descent: new parameters and momentum buffers."""
    if workload.weight_decay:
        grads = [g + workload.weight_decay * p for p, g in zip(params, grads, strict=True)]
    if workload.momentum:
        grads = [workload.momentum * b + g for b, g in zip(buffers, grads, strict=True)]
        buffers = tuple(grads)
    return tuple(p - workload.lr * g for p, g in zip(params, grads, strict=True)), buffers


def contestants(workload: Workload, device: str) -> dict[str, Make]:
    """Who can run a workload here, by name; graphir first."""
    found: dict[str, Make] = {
        "graphir": Graphir, "torch eager": TorchEager, "torch.compile": TorchCompile
    }  # fmt: skip
    if importlib.util.find_spec("jax"):
        from .peer_jax import JaxJit, JaxScan, has_device

        if has_device(device):
            found |= {"JAX jit": JaxJit, "JAX scan": JaxScan}
    if device == "cpu":
        found["NumPy"] = NumPy
        if workload.sklearn is not None and importlib.util.find_spec("sklearn"):
            from .peer_sklearn import ScikitLearn

            found["scikit-learn"] = ScikitLearn
    return found
