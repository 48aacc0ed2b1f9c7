"""Which of codegen's machines a device is."""

from __future__ import annotations

from functools import cache
from typing import Any

from graphir.codegen.machine import GPU, Machine, chip_of, gpu


@cache
def machine_of(device: Any) -> Machine:
    """The machine to schedule Triton kernels for.

    Args:
        device: a torch.device; where it is no GPU (kernels are then only read, or interpreted),
            or None, the machine is `GPU`.
    """
    if device is None or device.type != "cuda":
        return GPU
    import torch

    properties = torch.cuda.get_device_properties(device)
    if torch.version.hip is not None:
        # gfx942:sramecc+:xnack-
        return gpu(chip_of("hip", properties.gcnArchName.split(":")[0]))
    return gpu(chip_of("cuda", 10 * properties.major + properties.minor))
