"""What is asked of torch itself: tensors made of arrays, and its devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..dtypes import bfloat16
from ..errors import DTypeError

if TYPE_CHECKING:
    import torch


def as_tensor(values: np.ndarray[Any, Any]) -> Any:
    """A tensor of the array's own memory. torch is imported only now that one is wanted."""
    import torch

    if values.dtype.name == "bfloat16":
        return torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(values)


def as_array(tensor: Any) -> np.ndarray[Any, Any]:
    """An array of the tensor's numbers, on its own memory where that is the host's."""
    values = materialised(tensor.detach()).cpu()
    if str(values.dtype) != "torch.bfloat16":
        return np.asarray(values.numpy())
    import torch

    bits = values.contiguous().view(torch.int16).numpy()
    return np.asarray(bits.view(bfloat16.numpy))


def has_its_numbers(tensor: torch.Tensor) -> bool:
    """Whether a tensor's memory holds its numbers in order.

    It does not where torch negates them when they are read, nor in the zeros without memory that
    torch's autograd gives as derivatives of what has none.
    """
    return bool(tensor.is_contiguous() and not tensor.is_neg() and not tensor._is_zerotensor())


def materialised(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or a copy of it that has its numbers in memory."""
    return tensor.clone() if tensor._is_zerotensor() else tensor.resolve_neg()


def check_dense(tensor: torch.Tensor) -> None:
    """Raise DTypeError for a tensor that is no plain array of numbers."""
    layout = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
    if layout != "strided":
        raise DTypeError(
            f"a tensor of layout {layout} is given, where a dense one is expected",
            hint="pad it: torch.nested.to_padded_tensor(x, 0.0)" if tensor.is_nested
            else "convert it: x.to_dense()",
        )  # fmt: skip


def gpus() -> list[str]:
    """The names of the GPUs that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
