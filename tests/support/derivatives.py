"""Derivatives by torch's autograd."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def gradients(total: torch.Tensor, xs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """By each of `xs`, to be differentiated again; zeros where `total` does not depend on it."""
    if not total.requires_grad:
        return tuple(torch.zeros_like(x) for x in xs)
    found = torch.autograd.grad(total, xs, create_graph=True, allow_unused=True)
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(xs, found, strict=True))
