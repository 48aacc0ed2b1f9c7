"""The page of what is supported: up to date, and true of the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from operations import ELEMENTWISE, PRODUCTS, REDUCTIONS
from operations_more import LOSSES, MOVEMENT

from graphir.frontend import numpy_names, torch_names
from graphir.frontend.supported import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "supported.md"
# Names of issue after issue: what a user may count on.
TORCH = [
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "neg",
    "abs",
    "sign",
    "square",
    "reciprocal",
    "exp",
    "expm1",
    "exp2",
    "log",
    "log1p",
    "log2",
    "log10",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "erf",
    "sigmoid",
    "logsigmoid",
    "relu",
    "leaky_relu",
    "elu",
    "silu",
    "gelu",
    "softplus",
    "hardtanh",
    "clamp",
    "maximum",
    "minimum",
    "where",
    "lerp",
    "addcmul",
    "addcdiv",
    "hypot",
    "logaddexp",
    "xlogy",
    "floor",
    "ceil",
    "round",
    "trunc",
    "remainder",
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "var",
    "std",
    "norm",
    "linalg_vector_norm",
    "logsumexp",
    "softmax",
    "log_softmax",
    "cumsum",
    "any",
    "all",
    "matmul",
    "mm",
    "mv",
    "bmm",
    "dot",
    "vdot",
    "outer",
    "inner",
    "einsum",
    "addmm",
    "linear",
    "tensordot",
    "trace",
    "diagonal",
    "tril",
    "triu",
    "reshape",
    "flatten",
    "ravel",
    "permute",
    "transpose",
    "movedim",
    "squeeze",
    "unsqueeze",
    "broadcast_to",
    "cat",
    "stack",
    "split",
    "chunk",
    "unbind",
    "flip",
    "roll",
    "tile",
    "pad",
    "gather",
    "index_select",
    "take_along_dim",
    "one_hot",
    "mse_loss",
    "l1_loss",
    "huber_loss",
    "smooth_l1_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "nll_loss",
    "kl_div",
    "poisson_nll_loss",
    "gaussian_nll_loss",
    "layer_norm",
    "dropout",
    "embedding",
    "detach",
]
METHODS = [
    "view",
    "expand",
    "repeat",
    "to",
    "float",
    "double",
    "half",
    "long",
    "int",
    "bool",
    "where",
]


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    versions = f"torch {short(torch.__version__)} and NumPy {short(np.__version__)}."
    if versions not in text:
        pytest.skip("the page was made with other versions")
    assert text == page(), "run python -m graphir.frontend.supported"


def short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def test_what_is_promised_is_there() -> None:
    assert not set(TORCH) - torch_names.TABLE.keys()
    assert not set(METHODS) - torch_names.METHODS.keys()
    assert all(name in numpy_names.TABLE for name in numpy_names.LINALG)
    assert all(hasattr(np.linalg, name) for name in numpy_names.LINALG)


def test_every_name_is_somebodys() -> None:
    known = {"torch": torch, "F": torch.nn.functional, "Tensor": torch.Tensor}
    for name in torch_names.TABLE:
        bare = name.removeprefix("special_").removeprefix("linalg_")
        homes = [*known.values(), torch.special, torch.linalg, torch._C._nn]
        assert any(hasattr(home, bare) for home in homes), name
    for name in numpy_names.TABLE:
        assert hasattr(np, name) or hasattr(np.linalg, name) or hasattr(np.ndarray, name), name


def test_tables_of_tests_hold_many() -> None:
    assert len(ELEMENTWISE + REDUCTIONS + PRODUCTS + MOVEMENT + LOSSES) > 180
