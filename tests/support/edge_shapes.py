"""Functions of one array of any rank, and shapes at the edge to take them at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from operations import ELEMENTWISE, Operation
from torch.nn import functional as F

SHAPES = {
    "0-d": (),
    "one": (1,),
    "ones": (1, 1),
    "empty": (0, 3),
    "no columns": (2, 0),
    "5-d": (2, 1, 3, 1, 2),
}


def _written(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y[..., 0] = 2.0
    y[:1] += 1
    y *= 3
    return y


# Functions of any rank from 0 on; torch refuses some shapes, and so must graphir.
REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": torch.sum, "mean": torch.mean, "prod": torch.prod, "amax": torch.amax,
    "max": lambda x: x.max(), "min": lambda x: x.min(), "var": torch.var, "std": torch.std,
    "var of all": lambda x: x.var(correction=0), "norm": torch.linalg.vector_norm,
    "1-norm": lambda x: torch.linalg.vector_norm(x, 1),
    "inf-norm": lambda x: torch.linalg.vector_norm(x, float("inf")),
    "argmax": torch.argmax, "argmin": torch.argmin, "any": torch.any, "all": torch.all,
    "count_nonzero": torch.count_nonzero,
    "sum along": lambda x: x.sum(-1), "sum along, kept": lambda x: x.sum(-1, keepdim=True),
    "mean along": lambda x: x.mean(-1), "prod along": lambda x: x.prod(-1),
    "amax along": lambda x: x.amax(-1), "amin along the first": lambda x: x.amin(0),
    "max along": lambda x: tuple(x.max(-1)), "min along, kept": lambda x: tuple(x.min(0, True)),
    "argmax along": lambda x: x.argmax(-1), "argmin along": lambda x: x.argmin(0, keepdim=True),
    "var along": lambda x: x.var(-1), "std along": lambda x: x.std(-1, correction=0),
    "norm along": lambda x: x.norm(dim=-1), "3-norm along": lambda x: x.norm(3, dim=0),
    "logsumexp": lambda x: x.logsumexp(-1), "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: F.log_softmax(x, 0), "cumsum": lambda x: x.cumsum(-1),
    "cumprod": lambda x: x.cumprod(0), "any along": lambda x: (x > 0).any(-1),
    "all along": lambda x: (x > 0).all(0),
}  # fmt: skip
MOVEMENT: dict[str, Callable[..., Any]] = {
    "flatten": torch.flatten, "reshape": lambda x: x.reshape(-1, 1) if x.numel() else x,
    "unsqueeze": lambda x: x.unsqueeze(0).unsqueeze(-1), "squeeze": torch.squeeze,
    "transposed": lambda x: x.transpose(0, -1), "mT": lambda x: x.mT,
    "movedim": lambda x: x.movedim(0, -1),
    "permute": lambda x: x.permute(tuple(reversed(range(x.ndim)))),
    "expand": lambda x: x.expand(2, *x.shape), "flip": lambda x: x.flip(tuple(range(x.ndim))),
    "roll": lambda x: x.roll(1), "roll along": lambda x: x.roll(1, 0),
    "repeat": lambda x: x.repeat((2,) * x.ndim), "tile": lambda x: x.tile((2,)),
    "pad": lambda x: F.pad(x, (1, 2)), "cat": lambda x: torch.cat([x, x * 2], -1),
    "stack": lambda x: torch.stack([x, x * x], -1),
    "split": lambda x: tuple(x.split(1, 0)), "chunk": lambda x: tuple(x.chunk(2, -1)),
    "unbind": lambda x: (x, *x.unbind(-1)), "first": lambda x: x[0], "last": lambda x: x[..., -1],
    "rest": lambda x: x[1:], "every other": lambda x: x[..., ::2],
    "None": lambda x: x[None, ..., None], "tril": torch.tril, "triu": lambda x: x.triu(1),
    "diagonal": lambda x: x.diagonal(0, -2, -1),
    "gather": lambda x: torch.gather(x, 0, torch.zeros_like(x, dtype=torch.int64)),
    "index_select of one": lambda x: x.index_select(0, torch.tensor(0)),
    "index_select": lambda x: x.index_select(0, torch.tensor([0, 0])),
    "take rows": lambda x: x[torch.tensor([0, 0])],
    "where": lambda x: torch.where(x > 0, x, 0.0), "masked": lambda x: x.masked_fill(x > 0, 2.0),
    "written": _written, "scatter_add": lambda x: torch.zeros_like(x).scatter_add(
        0, torch.zeros_like(x, dtype=torch.int64), x),
}  # fmt: skip
PRODUCTS: dict[str, Callable[..., Any]] = {
    "matmul": lambda x: x @ x.mT,
    "matmul with a vector": lambda x: x @ torch.ones(x.shape[-1:], dtype=x.dtype),
    "outer": lambda x: torch.outer(x.flatten(), x.flatten()),
    "dot": lambda x: torch.dot(x.flatten(), x.flatten()),
    "einsum": lambda x: torch.einsum("...i,...i->...", x, x),
    "linear": lambda x: F.linear(x, torch.ones(4, 1, dtype=x.dtype) * x.sum()),
    "tensordot": lambda x: torch.tensordot(x, x, x.ndim),
    "inner": lambda x: torch.inner(x, x), "layer_norm": lambda x: F.layer_norm(x, x.shape[-1:]),
    "mse": lambda x: F.mse_loss(x, x * 0.5), "huber": lambda x: F.huber_loss(x * 3, x),
    "bce": lambda x: F.binary_cross_entropy_with_logits(x, torch.ones_like(x)),
    "normalize": lambda x: F.normalize(x, dim=-1),
}  # fmt: skip


# The second derivative of 0 / 0, which torch takes for 0.
_FIRST = ("var", "var along", "std", "std along")


def at(shape: tuple[int, ...]) -> list[Operation]:
    """All of them at one shape."""
    whole = ("any", "all", "arg", "count")
    made = [
        Operation(
            name, fn, (shape,), order=0 if name.startswith(whole) else 1 if name in _FIRST else 2
        )
        for name, fn in {**REDUCTIONS, **MOVEMENT, **PRODUCTS}.items()
    ]
    made += [
        replace(o, name=f"elementwise {o.name}", shapes=(shape,) * len(o.shapes))
        for o in ELEMENTWISE
        if not o.given and len(set(o.shapes)) == 1
    ]
    return made
