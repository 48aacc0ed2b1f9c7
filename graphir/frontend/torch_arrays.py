"""What is asked of torch itself: tensors made of arrays, and its devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import bfloat16


def as_tensor(values: np.ndarray[Any, Any]) -> Any:
    """A tensor of the array's own memory. torch is imported only now that one is wanted."""
    import torch

    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def as_array(tensor: Any) -> np.ndarray[Any, Any]:
    """An array of the tensor's numbers, on its own memory where that is the host's."""
    values = tensor.detach().cpu()
    if str(values.dtype) != "torch.bfloat16":
        return np.asarray(values.numpy())
    import torch

    bits = values.contiguous().view(torch.int16).numpy()
    return np.asarray(bits.view(bfloat16.numpy))


def gpus() -> list[str]:
    """The names of the GPUs that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
