"""What every test shares: the same random numbers each time it runs."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """A test that fails can be run again."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - tests of functions that draw from NumPy's own state
    torch.manual_seed(0)
