"""One GPU as graphir uses it: memory, launches, CUDA graphs, events. Nothing else knows torch.cuda.

Everything is put on the device's current stream, in order, and nothing here waits but `Mark.wait`
and `Fetch.wait`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from graphir.codegen.program import Launch
from graphir.codegen.tile import LibraryProduct
from graphir.dtypes import DType
from graphir.errors import BackendError
from graphir.frontend.torch_arrays import as_array, as_tensor, materialised
from graphir.row_order import Keys

from .device_order import write_order
from .torch_product import multiply
from .triton_launch import launch

if TYPE_CHECKING:
    import torch


class Cuda:
    """A GPU.

    Attributes:
        device: torch's name for it.
        processors: its multiprocessors.
    """

    def __init__(self, device: torch.device) -> None:
        import torch

        self.device = device
        self.processors: int = torch.cuda.get_device_properties(device).multi_processor_count

    # -- memory -----------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: DType, *, zero: bool) -> torch.Tensor:
        """A new tensor on the device.

        Raises:
            BackendError: where its memory does not suffice.
        """
        import torch

        make = torch.zeros if zero else torch.empty
        with self._enough(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize):
            return make(shape, dtype=getattr(torch, dtype.name), device=self.device)

    def upload(self, values: Any) -> torch.Tensor:
        """The tensor on this device, copied only where it is elsewhere or not contiguous.

        Raises:
            BackendError: where the device's memory does not suffice.
        """
        import torch

        with self._enough(int(getattr(values, "nbytes", 0))):
            given = as_tensor(values) if isinstance(values, np.ndarray) else values
            found = torch.as_tensor(given, device=self.device)
            return materialised(found.detach()).contiguous()

    def write(self, memory: torch.Tensor, values: np.ndarray[Any, Any]) -> None:
        """Copy over all of `memory`, once what was launched before is done; does not wait."""
        import torch

        staged = torch.empty(memory.shape, dtype=memory.dtype, pin_memory=True)
        staged.copy_(as_tensor(np.ascontiguousarray(values)))
        memory.copy_(staged, non_blocking=True)

    def shuffle(self, order: torch.Tensor, keys: Keys) -> None:
        """Compute an order of rows on the device, once what was launched before is done."""
        write_order(order, keys)

    def read(self, memory: torch.Tensor) -> np.ndarray[Any, Any]:
        """Wait, and copy to the host."""
        return as_array(memory)

    def fetch(self, memory: torch.Tensor, part: slice) -> Fetch:
        """Begin to copy a part of `memory` as it will be when what was launched is done."""
        import torch

        source = memory[part]
        staged = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
        staged.copy_(source, non_blocking=True)
        return Fetch(staged, self.mark())

    def fill(self, memory: torch.Tensor, value: int) -> None:
        """Set all of `memory`, in the stream."""
        memory.fill_(value)

    def add(self, memory: torch.Tensor, value: int) -> None:
        """Add to all of `memory`, in the stream; may be captured."""
        memory.add_(value)

    # -- work -------------------------------------------------------------------------------

    def launch(
        self, source: str, one: Launch, arguments: Sequence[Any], grid: tuple[int, ...]
    ) -> None:
        """Put a kernel on the stream.

        Raises:
            BackendError: where it cannot be compiled, or needs more of the chip than there is.
        """
        launch(
            source, one.kernel, arguments, grid, num_warps=one.num_warps,
            num_stages=one.num_stages, cooperative=one.cooperative,
        )  # fmt: skip

    def multiply(
        self, product: LibraryProduct, memory: Mapping[str, torch.Tensor], sizes: Mapping[str, int]
    ) -> None:
        """Put a product of two matrices on the stream, done by torch.

        Its bits are the same in every run: cuBLAS promises that for one version and chip where a
        stream has a workspace of its own, which torch gives it.
        """
        multiply(product, memory, sizes)

    def mark(self) -> Mark:
        """A place in the stream, and the time when the device reaches it."""
        return Mark(self.device)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """What `work` puts on the stream, as a CUDA graph; the result puts it there again.

        `work` itself leaves no trace but the graph. Every kernel must have been launched before:
        loading one is not allowed while capturing.
        """
        import torch

        # torch's types are wanting here.
        graph: Any = torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(aside):
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                work()
            finally:
                graph.capture_end()
        torch.cuda.current_stream(self.device).wait_stream(aside)

        def replay() -> None:
            with torch.cuda.device(self.device):
                graph.replay()

        return replay

    @contextmanager
    def _enough(self, size: int) -> Iterator[None]:
        import torch

        try:
            yield
        except torch.OutOfMemoryError as failure:
            free, total = torch.cuda.mem_get_info(self.device)
            raise BackendError(
                f"{size / 2**30:.2f} GiB do not fit the memory of {self.device}: "
                f"{free / 2**30:.2f} of {total / 2**30:.2f} GiB are free",
                hint="train on the CPU (x.cpu()), on fewer rows at a time, or in a smaller dtype",
            ) from failure


class Mark:
    """A place in a device's stream."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self._event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self._event.record(torch.cuda.current_stream(device))

    def wait(self) -> None:
        """Until the device is there."""
        self._event.synchronize()

    def since(self, earlier: Mark) -> float:
        """Seconds of the device's time between two places that it has passed."""
        return float(earlier._event.elapsed_time(self._event)) / 1e3


class Fetch:
    """A copy under way to the host."""

    def __init__(self, staged: torch.Tensor, mark: Mark) -> None:
        self._staged, self.mark = staged, mark

    def wait(self) -> np.ndarray[Any, Any]:
        """The values, once they are there."""
        self.mark.wait()
        return np.asarray(self._staged.numpy())
