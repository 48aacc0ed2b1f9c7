"""Tensors made of arrays that were read from a file."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_tensor(values: np.ndarray[Any, Any]) -> Any:
    """A tensor of the array's own memory. torch is imported only now that one is wanted."""
    import torch

    return torch.from_numpy(values)
