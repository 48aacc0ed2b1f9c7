"""Launch generated Triton text on a GPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from graphir.errors import BackendError
from graphir.runtime.cache import DiskCache
from graphir.runtime.triton_module import load_kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


def launch(
    source: str,
    kernel: str,
    arguments: Sequence[torch.Tensor | float],
    grid: tuple[int, ...],
    *,
    num_warps: int,
    num_stages: int,
    cooperative: bool = False,
) -> None:
    """Put one kernel on the current stream of its arguments' device; does not wait for it.

    Triton keeps what it compiles under graphir's own cache directory, unless the user has set
    TRITON_CACHE_DIR. Triton reads that variable, so it is set for the process at the first launch.

    Args:
        source: the text of a Python module with `@triton.jit` functions; loaded once.
        kernel: the name of the one to launch.
        arguments: every parameter in order: tensors on one GPU, ints and floats.
        grid: one to three sizes; nothing is launched when one of them is 0.
        num_warps: warps per program.
        num_stages: how many stages loops are pipelined into.
        cooperative: its programs wait for one another, so the driver must start all at once.

    Raises:
        BackendError: Triton is not installed, the cache directory cannot be used, or the kernel
            takes more of the chip than there is.
    """
    import torch

    if "TRITON_CACHE_DIR" not in os.environ:
        os.environ["TRITON_CACHE_DIR"] = str(DiskCache.default().root / "triton")
    if 0 in grid:
        return
    device = next((x.device for x in arguments if isinstance(x, torch.Tensor)), None)
    # An option that is not asked for stays out of the key of Triton's cache.
    more = {"launch_cooperative_grid": True} if cooperative else {}
    # Triton launches on the current device, which need not be the tensors' own.
    with torch.cuda.device(device):
        try:
            load_kernel(source, kernel)[grid](
                *arguments, num_warps=num_warps, num_stages=num_stages, enable_fp_fusion=True,
                **more,
            )  # fmt: skip
        except Exception as failure:
            if type(failure).__name__ != "OutOfResources":
                raise
            raise BackendError(
                f"{kernel} does not fit {device}: {failure}",
                hint="use a smaller batch or model, or backend='c' with tensors on the CPU",
            ) from failure
