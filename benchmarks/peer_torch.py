"""PyTorch: the plain loop, and `torch.compile` of the whole step in its modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .runner import Timed, descend
from .workloads import Array, Data, Ops, Params, Workload


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


class TorchEager(Timed):
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


class TorchCompile(Timed):
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
