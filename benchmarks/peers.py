"""Who trains: graphir and the peers, each as a Runner. JAX and scikit-learn are optional."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .clock import repeated
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
    """On the CPU they share the arrays' memory; what is on the device stays there."""
    import torch

    return [torch.as_tensor(a).to(device) for a in arrays]


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
            optimizer=graphir_sgd(w), shuffle=False, progress=False,
        )  # fmt: skip
        self.now = self.result.params
        return sum(self.result.history.seconds)

    def params(self) -> list[Array]:
        return [p.cpu().numpy() for p in self.now]


class _Timed:
    """Wall time on a CPU; device events on a GPU."""

    device: str

    def run(self, epochs: int) -> float:
        return repeated(lambda: self.work(1), self.device, epochs)

    def work(self, epochs: int) -> None:
        raise NotImplementedError


class GraphirSteps(_Timed):
    """The steps of `graphir.train` alone, as it puts them on a GPU's stream epoch after epoch; so
    that the cache can be emptied before each epoch, as for the peers."""

    tuned = False

    def __init__(self, workload: Workload, params: Params, data: Data, device: str) -> None:
        self.workload, self.first = workload, params
        self.device, self.data = device, tensors(data, device)
        ops = torch_ops()

        def loss(params: Any, x: Any, y: Any) -> Any:
            return workload.loss(ops, params, x, y)

        loss.__name__ = workload.name
        self.loss = loss
        self.training = self._begin()

    def _begin(self) -> Any:
        from graphir.runtime.arrays import leaves_of
        from graphir.runtime.epochs import Epochs
        from graphir.runtime.history import History
        from graphir.runtime.progress import EpochProgress
        from graphir.runtime.train import compiled_step, initial_state, tuned_step
        from graphir.runtime.train_checks import Task

        w, optimizer = self.workload, graphir_sgd(self.workload)
        params = tuple(tensors(self.first, self.device))
        task = Task.checked(self.loss, params, tuple(self.data), None, w.batch, 1, 0)
        step = compiled_step(task, optimizer, False, "auto", None, "highest")
        if self.tuned:
            step, _ = tuned_step(task, step, optimizer, True)
        state = leaves_of(initial_state(task, optimizer))[0]
        bar = EpochProgress(1, w.rows, show=False)
        training = Epochs(task, step, optimizer, state, 0, History(), bar, None)
        training.prepare(0)
        return training

    def reset(self) -> None:
        # In place: what was captured in CUDA graphs stays.
        training = self.training
        for memory, first in zip(training.weights, self.first, strict=True):
            training.backend.write(memory, first)
        for memory in training.state:
            training.backend.write(memory, np.zeros(tuple(memory.shape), np.float32))

    def work(self, epochs: int) -> None:
        for _ in range(epochs):
            self.training.call.run(0, self.training.steps)

    def params(self) -> list[Array]:
        return [p.cpu().numpy() for p in self.training.params()]


class GraphirTuned(GraphirSteps):
    """The same with `tune=True`: what measuring brings beyond the model."""

    tuned = True


def graphir_sgd(workload: Workload) -> Any:
    """graphir's descent for a workload."""
    from graphir.runtime.optim import SGD

    return SGD(workload.lr, workload.momentum, workload.weight_decay)


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

    mode: str | None = None

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
        self.step = torch.compile(step, fullgraph=True, dynamic=False, mode=self.mode)
        self.reset()

    def reset(self) -> None:
        self.now = tuple(p.clone() for p in tensors(self.first, self.device))
        self.buffers = tuple(p * 0 for p in self.now)

    def work(self, epochs: int) -> None:
        w = self.workload
        for _ in range(epochs):
            for start in range(0, w.rows, w.batch):
                self.advance(*(a[start : start + w.batch] for a in self.data))

    def advance(self, *batch: Any) -> None:
        """One step."""
        self.now, self.buffers = self.step(self.now, self.buffers, *batch)

    def params(self) -> list[Array]:
        return [p.cpu().numpy() for p in self.now]


class TorchGraphs(TorchCompile):
    """The same replayed as a CUDA graph, which writes its results where the next step does too: so
    they are copied back to where the parameters lie."""

    mode = "reduce-overhead"
    placed = False

    def reset(self) -> None:
        import torch

        if self.placed:
            # In place: a graph that was captured reads and writes these addresses.
            torch._foreach_copy_(self.now, tensors(self.first, self.device))
            torch._foreach_zero_(self.buffers)
            return
        super().reset()
        for p in (*self.now, *self.buffers):
            torch._dynamo.mark_static_address(p)
        self.placed = True

    def advance(self, *batch: Any) -> None:
        import torch

        mark: Callable[[], None] = torch.compiler.cudagraph_mark_step_begin
        mark()
        now, buffers = self.step(self.now, self.buffers, *batch)
        torch._foreach_copy_(self.now, now)
        if self.workload.momentum:
            torch._foreach_copy_(self.buffers, buffers)


class TorchMaxAutotune(TorchGraphs):
    """And with its kernels chosen by measuring."""

    mode = "max-autotune"


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
    gpu = device.startswith("cuda")
    found: dict[str, Make] = {
        "graphir": GraphirSteps if gpu else Graphir, "torch eager": TorchEager,
        "torch.compile": TorchCompile,
    }  # fmt: skip
    if importlib.util.find_spec("jax"):
        from .peer_jax import JaxJit, JaxScan, has_device

        if has_device(device):
            found |= {"JAX jit": JaxJit, "JAX scan": JaxScan}
    if gpu:
        found |= {
            "graphir tuned": GraphirTuned,
            "torch reduce-overhead": TorchGraphs,
            "torch max-autotune": TorchMaxAutotune,
        }
    if device == "cpu":
        found["NumPy"] = NumPy
        if workload.sklearn is not None and importlib.util.find_spec("sklearn"):
            from .peer_sklearn import ScikitLearn

            found["scikit-learn"] = ScikitLearn
    return found
