"""Models whose graphs, pages and drawings are looked at. Lines are part of what is shown."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F


def linear(params: Any, x: Any, y: Any) -> Any:
    """Mean squared error of a weighted sum."""
    w, b = params
    return ((x @ w + b - y) ** 2).mean()


def huber(params: Any, x: Any, y: Any) -> Any:
    """A comparison that gets no gradient."""
    w, b = params
    r = x @ w + b - y
    small = r.abs() < 1.0
    return torch.where(small, 0.5 * r * r, r.abs() - 0.5).mean()


def softmax(params: Any, x: Any, y: Any) -> Any:
    """Softmax regression."""
    w, b = params
    logits = x @ w + b
    return F.cross_entropy(logits, y)


def mlp(params: Any, x: Any, y: Any) -> Any:
    """Two hidden layers."""
    (w1, b1), (w2, b2), (w3, b3) = params
    h = torch.tanh(x @ w1 + b1)
    h = torch.tanh(h @ w2 + b2)
    return ((h @ w3 + b3 - y) ** 2).mean()


def deep(params: Any, x: Any, y: Any) -> Any:
    """As many layers as there are parameters: hundreds of nodes."""
    h = x
    for w, b in params[:-1]:
        h = torch.relu(h @ w + b) + 0.1 * torch.sin(h)
    w, b = params[-1]
    return ((h @ w + b - y) ** 2).mean()


def data(n: int = 64, d: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and targets."""
    made = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=made), torch.randn(n, generator=made)


def linear_params(d: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Zeros."""
    return torch.zeros(d), torch.zeros(())


def mlp_params(d: int = 3, h: int = 8) -> Any:
    """Small random numbers."""
    made = torch.Generator().manual_seed(1)

    def layer(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=made) * 0.3

    return (layer(d, h), layer(h)), (layer(h, h), layer(h)), (layer(h), torch.zeros(()))


def deep_params(layers: int = 8, d: int = 3) -> Any:
    """Square layers and an output."""
    made = torch.Generator().manual_seed(2)
    hidden = tuple((torch.randn(d, d, generator=made) * 0.3, torch.zeros(d)) for _ in range(layers))
    return (*hidden, (torch.randn(d, generator=made), torch.zeros(())))


def refused(params: Any, x: Any, y: Any) -> Any:
    """A branch on a traced value: it does not trace."""
    w, b = params
    r = x @ w + b - y
    if r.sum() > 0:
        return r.mean()
    return (r * r).mean()
