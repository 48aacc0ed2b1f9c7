"""A GPU that is not there: its stream does nothing until somebody waits for it.

It stands in for `graphir.runtime.cuda.Cuda`, the only place that knows torch.cuda. Memory is the
CPU's, kernels are interpreted, and whatever is put on the stream runs when the host waits for a
place behind it, in order: code that relies on something being done already fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from graphir.codegen.machine import GPU
from graphir.codegen.program import Launch
from graphir.codegen.tile import LibraryProduct
from graphir.dtypes import DType
from graphir.row_order import Keys
from graphir.runtime import backend_triton, backends, entry, fitting, train
from graphir.runtime.backend_interpret import shared_interpreter
from graphir.runtime.device_order import write_order
from graphir.runtime.torch_product import multiply

Work = Callable[[], object]


class FakeCuda:
    """One device with one stream.

    Attributes:
        launched: names of the kernels that the host launched one by one.
        replayed: how many CUDA graphs were put on the stream.
        multiplied: how many products were left to torch, those of a graph once.
        waits: for each wait, whether the stream held more work behind the place waited for.
    """

    def __init__(self, device: Any) -> None:
        self.device, self.processors = device, 4
        self.launched: list[str] = []
        self.replayed = self.multiplied = 0
        self.waits: list[bool] = []
        self._stream: list[Work] = []
        self._run = 0  # of the stream's work, what is done
        self._into: list[Work] = self._stream

    def put(self, work: Work) -> None:
        """At the stream's end, or into the graph that is being captured."""
        self._into.append(work)

    def wait(self, place: int) -> None:
        """Run the stream up to a place in it."""
        self.waits.append(len(self._stream) > place)
        while self._run < place:
            self._stream[self._run]()
            self._run += 1

    def drain(self) -> None:
        """Run all that is on the stream."""
        self.wait(len(self._stream))

    def empty(self, shape: tuple[int, ...], dtype: DType, *, zero: bool) -> torch.Tensor:
        made = torch.empty(shape, dtype=getattr(torch, dtype.name))
        # What is not written first is seen.
        return made.fill_(0) if zero else made.fill_(77)

    def upload(self, values: Any) -> torch.Tensor:
        found = torch.as_tensor(values).detach()
        return found if found.is_contiguous() else found.contiguous()

    def write(self, memory: torch.Tensor, values: Any) -> None:
        staged = torch.as_tensor(np.array(values))
        self.put(lambda: memory.copy_(staged))

    def shuffle(self, order: torch.Tensor, keys: Keys) -> None:
        self.put(lambda: write_order(order, keys))

    def read(self, memory: torch.Tensor) -> np.ndarray[Any, Any]:
        self.drain()
        return np.array(memory.numpy())

    def fetch(self, memory: torch.Tensor, part: slice) -> FakeFetch:
        staged = torch.empty_like(memory[part])
        self.put(lambda: staged.copy_(memory[part]))
        return FakeFetch(staged, self.mark())

    def fill(self, memory: torch.Tensor, value: int) -> None:
        self.put(lambda: memory.fill_(value))

    def add(self, memory: torch.Tensor, value: int) -> None:
        self.put(lambda: memory.add_(value))

    def launch(
        self, source: str, one: Launch, arguments: Sequence[Any], grid: tuple[int, ...]
    ) -> None:
        if self._into is self._stream:
            self.launched.append(one.kernel)
        given = [x.numpy() if isinstance(x, torch.Tensor) else x for x in arguments]
        self.put(
            lambda: shared_interpreter().launch(
                source, one.kernel, given, grid, cooperative=one.cooperative
            )
        )

    def multiply(self, product: LibraryProduct, memory: Any, sizes: Any) -> None:
        if self._into is self._stream:
            self.launched.append("torch.mm")
        self.multiplied += 1
        self.put(lambda: multiply(product, memory, sizes))

    def mark(self) -> FakeMark:
        return FakeMark(self, len(self._stream))

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        graph: list[Work] = []
        self._into = graph
        try:
            work()
        finally:
            self._into = self._stream

        def replay() -> None:
            self.replayed += 1
            self._stream.extend(graph)

        return replay


class FakeMark:
    """A place in the stream; a piece of work takes a millisecond."""

    def __init__(self, gpu: FakeCuda, place: int) -> None:
        self.gpu, self.place = gpu, place

    def wait(self) -> None:
        self.gpu.wait(self.place)

    def since(self, earlier: FakeMark) -> float:
        assert self.gpu._run >= self.place, "the device is not there yet"
        return 1e-3 * (self.place - earlier.place)


class FakeFetch:
    """A copy under way."""

    def __init__(self, staged: torch.Tensor, mark: FakeMark) -> None:
        self._staged, self.mark = staged, mark

    def wait(self) -> np.ndarray[Any, Any]:
        self.mark.wait()
        return self._staged.numpy()


def install(patch: pytest.MonkeyPatch) -> list[FakeCuda]:
    """Let `backend="triton"` run on such devices; those that were made, the newest last."""
    made: list[FakeCuda] = []

    def device(*_: Any) -> torch.device:
        return torch.device("cuda")

    def fake(device: Any) -> FakeCuda:
        made.append(FakeCuda(device))
        return made[-1]

    patch.setattr(backend_triton, "Cuda", fake)
    patch.setattr(train, "device_of", device)
    patch.setattr(entry, "device_of", device)
    patch.setattr("graphir.runtime.devices.machine_of", lambda device: GPU)
    # What a compiler says of the kernels is tested elsewhere.
    patch.setattr(fitting, "fitted_program", lambda planned, chip: planned({}))
    patch.setattr(backend_triton, "Ways", _unfitted)
    assert backends.BACKENDS[0] == "triton"
    return made


def _unfitted(program: Any, processors: int, *, programs: int | None, chip: Any) -> Any:
    from graphir.runtime.ways import Ways

    return Ways(program, processors, programs=programs, chip=None)
