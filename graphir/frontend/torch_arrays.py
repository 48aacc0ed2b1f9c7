"""What is asked of torch itself: tensors made of arrays, and its devices."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_tensor(values: np.ndarray[Any, Any]) -> Any:
    """A tensor of the array's own memory. torch is imported only now that one is wanted."""
    import torch

    return torch.from_numpy(values)


def gpus() -> list[str]:
    """The names of the GPUs that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
