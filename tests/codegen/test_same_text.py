"""The text of a kernel is its key in the cache: the same graph gives the same text."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import graphir


def logistic(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(x @ w, y)


def poisson(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.poisson_nll_loss(x @ w, y)


def two_heads(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    z = x @ w
    return (F.huber_loss(z, y) + torch.tanh(z).std()) * w.norm()


@pytest.mark.parametrize("backend", ["c", "interpret"])
@pytest.mark.parametrize("loss", [logistic, poisson, two_heads])
def test_the_text_does_not_depend_on_where_objects_lie(loss: object, backend: str) -> None:
    w, x, y = torch.full((5,), 0.1), torch.rand(40, 5), torch.rand(40)
    texts, kept = set(), []
    for count in range(8):
        kept.append([object() for _ in range(37 * count)])
        compiled = graphir.compile(graphir.value_and_grad(loss), backend=backend)
        texts.add("".join(k.source for k in compiled.kernels(w, x, y)))
    assert len(texts) == 1
