"""torch's own results and derivatives of a program, and how far its rounding carries them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.fuzz.expect import Expected
from tests.fuzz.program import Program, as_numpy
from tests.support.derivatives import gradients

# Where torch's result is not graphir's: with how many other last places it is computed, and how
# many times as far it may lie as those carry it.
_SHAKEN, _ROOM = 4, 4
# aten's sums, products and quotients.
_ROUNDED = frozenset(
    getattr(torch.ops.aten, name)
    for name in ("add", "sub", "rsub", "mul", "div", "sum", "mean", "mm", "bmm", "mv", "dot")
)


def scored(values: Sequence[Any], shift: float) -> Any:
    """A smooth scalar of all floating values, in which each element has a weight of its own."""
    total = None
    for i, y in enumerate(values):
        if "float" in str(y.dtype):
            part = ((y + (shift + 0.1 * i)) * y).sum()
            total = part if total is None else total + part
    return total


def torchs(program: Program, args: Sequence[torch.Tensor]) -> list[Any]:
    """The same by torch and its autograd."""
    fn = program.function()
    xs = [a.clone().requires_grad_(i in program.wrt) for i, a in enumerate(args)]
    wrt = [xs[i] for i in program.wrt]
    values = fn(*xs)
    results: list[Any] = [tuple(v.detach() for v in values)]
    try:
        if program.order > 0:
            first = gradients(scored(values, 0.7), wrt)
            results.append(tuple(g.detach() for g in first))
        if program.order > 1:
            results.append(tuple(g.detach() for g in gradients(scored(first, 0.3), wrt)))
    except RuntimeError as error:
        # torch has no derivative of some functions that have one: it is 0, as graphir says.
        if "is not implemented" not in str(error):
            raise
    return results


def as_torch_rounds(
    program: Program, args: Sequence[torch.Tensor], found: Any, wanted: Expected,
    place: tuple[int, int],
) -> Expected:  # fmt: skip
    """`wanted`, with room for how far torch's own rounding carries a result.

    Its derivatives are other formulas than graphir's, and may be less exact. Measured is what they
    make of the same arguments in float64, and of arguments and sums and products on the way that
    differ in their last place; and terms as large as the largest element may have cancelled. An
    element that they cannot hold at all, NaN or infinite, is left out where they give the wanted
    one in float64.
    """
    rule, i = place
    if "float" not in wanted.dtype:
        return wanted
    tried = []
    for sample in range(_SHAKEN):
        generator = torch.Generator().manual_seed(sample)
        moved = [_in_the_last_place(a, generator) for a in args]
        with _Shaken(generator):
            tried.append(torchs(program, moved)[rule][i])
    wider = [a.double() if a.is_floating_point() else a for a in args]
    tried.append(torchs(program, wider)[rule][i])
    others = [as_numpy(other).astype(float) for other in tried]
    room = np.zeros(wanted.value.shape)
    with np.errstate(all="ignore"):
        for other in others:
            room = np.fmax(room, _ROOM * np.abs(other - found.astype(float)))
    largest = np.max(np.abs(wanted.value) + wanted.bound, where=wanted.steady, initial=0.0)
    unit = float(ml_dtypes.finfo(found.dtype).eps)
    bound = wanted.bound + room + 4 * unit * largest
    with np.errstate(all="ignore"):
        agrees = np.abs(others[-1] - wanted.value) <= bound
        lost = agrees & ~np.isfinite(found.astype(float))
    roomy = replace(wanted, bound=bound, steady=wanted.steady & ~lost)
    return replace(roomy, surer=lambda: roomy)


class _Shaken(TorchDispatchMode):
    """What torch adds, multiplies and divides, its autograd too, is off in its last place."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self._generator = generator

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.overloadpacket in _ROUNDED and not func._schema.is_mutable:
            return _in_the_last_place(made, self._generator)
        return made


def _in_the_last_place(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if not x.dtype.is_floating_point:
        return x
    signs = torch.randint(-1, 2, x.shape, generator=generator)
    return x * (1 + signs.to(x.dtype) * torch.finfo(x.dtype).eps)
