"""Calls that torch's autograd tracks: their backward is a vector-Jacobian product of graphir's."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optree

from ..errors import UnsupportedError
from ..trees import NAMESPACE, unflatten
from .torch_names import is_tensor

Run = Callable[[list[Any]], Any]


def is_tracked(x: object) -> bool:
    """Whether `x` is a tensor whose uses torch's autograd records at this moment."""
    return is_tensor(x) and x.requires_grad and sys.modules["torch"].is_grad_enabled()  # type: ignore[attr-defined]


def call_tracked(
    run: Run,
    pull: Callable[..., Any],
    leaves: Sequence[Any],
    tree: Any,
    closed: Sequence[Any] = (),
) -> Any:
    """`run(leaves)`, whose tensors autograd tracks.

    Args:
        run: from the flattened arguments to the result, tensors and numbers.
        pull: `(*args, cotangents)` to the cotangents of the tracked tensors among the arguments
            and then of those in `closed`. For second derivatives it must itself be tracked.
        leaves, tree: the flattened arguments and their structure.
        closed: the tensors that the function closes over.
    """
    places = [i for i, x in enumerate(leaves) if is_tensor(x)]
    tensors = [leaves[i] for i in places] + list(closed)
    once = _Once(run, pull, leaves, tree, places, [is_tracked(x) for x in tensors])
    outputs = _function().apply(once, *tensors)
    return unflatten(once.spec, outputs)


def refuse_arrays(what: str) -> UnsupportedError:
    """The error for a call whose results are NumPy arrays, which autograd does not follow."""
    return UnsupportedError(
        "requires_grad",
        f"{what} closes over a tensor that requires a gradient, and its results are NumPy "
        "arrays, which torch's autograd does not follow",
        hint="pass tensors as arguments, or detach the tensor that it closes over",
    )


class _Once:
    """One call: what its backward needs besides its tensors, which autograd keeps.

    Attributes:
        places: where tensors stand among the leaves.
        tracked: which of the tensors, those closed over last, `pull` gives cotangents for.
        spec: the structure of the result, once it has run.
    """

    def __init__(
        self,
        run: Run,
        pull: Callable[..., Any],
        leaves: Sequence[Any],
        tree: Any,
        places: Sequence[int],
        tracked: Sequence[bool],
    ) -> None:
        self.run, self.pull, self.tree = run, pull, tree
        self.places, self.tracked = places, tracked
        # The caller may write into an array before backward, which torch would notice of tensors.
        self.leaves = [x.copy() if isinstance(x, np.ndarray) else x for x in leaves]
        self.spec: Any = None
        for i in places:
            self.leaves[i] = None

    def forward(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The flattened outputs."""
        result = self.run(self._with(tensors))
        outputs, self.spec = optree.tree_flatten(result, namespace=NAMESPACE)
        return tuple(outputs)

    def backward(self, tensors: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """A cotangent for each of the tensors, or None."""
        args = unflatten(self.tree, self._with(tensors))
        found = iter(self.pull(*args, list(cotangents)))
        return [next(found) if tracked else None for tracked in self.tracked]

    def _with(self, tensors: Sequence[Any]) -> list[Any]:
        leaves = list(self.leaves)
        # The rest of the tensors is closed over.
        for i, x in zip(self.places, tensors, strict=False):
            leaves[i] = x
        return leaves


@functools.cache
def _function() -> Any:
    """The torch.autograd.Function of all calls. torch is imported by now, and only then."""
    import torch

    class TrackedCall(torch.autograd.Function):
        @staticmethod
        def forward(once: _Once, *tensors: Any) -> tuple[Any, ...]:
            # Where autograd tracked this too, it would never end.
            with torch.no_grad():
                return once.forward(tensors)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
            ctx.once, *tensors = inputs
            ctx.save_for_backward(*tensors)
            ctx.floating = [is_tensor(y) and y.is_floating_point() for y in output]
            ctx.mark_non_differentiable(
                *(y for y, f in zip(output, ctx.floating, strict=True) if is_tensor(y) and not f)
            )

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
            cotangents = [g for g, f in zip(grads, ctx.floating, strict=True) if f]
            return None, *ctx.once.backward(ctx.saved_tensors, cotangents)

    return TrackedCall
