"""Functions to transform: scalars, vectors and matrices in and out, trees, indexing, kinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Function:
    """A function with points for it.

    Attributes:
        fn: written with torch functions.
        shapes: of its float64 arguments.
        positive: draw arguments above zero.
    """

    name: str
    fn: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    positive: bool = False

    def arguments(self, seed: int = 0, batch: tuple[int, ...] = ()) -> tuple[torch.Tensor, ...]:
        """A point, or a batch of them."""
        rng = torch.Generator().manual_seed(seed)
        drawn = [torch.randn((*batch, *s), generator=rng, dtype=torch.float64) for s in self.shapes]
        return tuple(x.abs() + 0.2 if self.positive else x for x in drawn)

    def __str__(self) -> str:
        return self.name


def _mlp(x: Any, w: Any, v: Any) -> Any:
    return torch.tanh(x @ w) @ v


def _cross_entropy(x: Any, w: Any) -> Any:
    return F.cross_entropy(x @ w, torch.tensor([0, 2, 1, 1]))


def _indexed(x: Any) -> Any:
    return x[torch.tensor([2, 0, 2])] * torch.stack([x[1], x[0], x[2] ** 2])


def _slices(x: Any) -> Any:
    return torch.cat([x[1:] * x[:-1], torch.sin(x[:2])])


def _tree(x: Any) -> Any:
    return {"sum": x.sum(), "parts": (x * x, [torch.outer(x, x)])}


def _attention(q: Any, k: Any, v: Any) -> Any:
    return torch.softmax(q @ k.T, dim=-1) @ v


FUNCTIONS = (
    Function("cube", lambda x: x**3, ((),)),
    Function("scalar_to_vector", lambda x: torch.stack([x, torch.sin(x), x * x]), ((),)),
    Function("norm", torch.linalg.norm, ((4,),)),
    Function("quadratic", lambda x, A: x @ A @ x, ((3,), (3, 3))),
    Function("softmax", lambda x: torch.softmax(x, 0), ((4,),)),
    Function("logsumexp", lambda x: torch.logsumexp(x, 1), ((3, 4),)),
    Function("elementwise", lambda x: torch.log(x) * torch.sqrt(x) / (1 + x), ((3,),), True),
    Function("power", lambda x, y: x**y, ((3,), (3,)), True),
    Function("outer", lambda x, y: torch.outer(torch.exp(x), y), ((2,), (3,))),
    Function("matrices", lambda x, y: x @ y, ((2, 3), (3, 4))),
    Function("batched_matrices", torch.bmm, ((2, 2, 3), (2, 3, 2))),
    Function("transposed", lambda x: x.T @ x, ((2, 3),)),
    Function("reshaped", lambda x: x.reshape(3, 2)[:, None] * 2.0, ((2, 3),)),
    Function("kinks", lambda x: torch.relu(x) + torch.abs(x) + x.clamp(-0.5, 0.5), ((5,),)),
    Function("extrema", lambda x: x.amax(0) * x.amin(1)[:3], ((4, 3),)),
    Function("selected", lambda x: torch.where(x > 0, torch.exp(x), x * x), ((5,),)),
    Function("indexed", _indexed, ((3,),)),
    Function("slices", _slices, ((4,),)),
    Function("mlp", _mlp, ((2, 3), (3, 4), (4,))),
    Function("cross_entropy", _cross_entropy, ((4, 2), (2, 3))),
    Function("attention", _attention, ((2, 3), (4, 3), (4, 2))),
    Function("standardised", lambda x: (x - x.mean(0)) / x.std(0), ((4, 3),)),
    Function("tree", _tree, ((3,),)),
    Function("constant", lambda x: x * 0 + 1, ((3,),)),
)
