"""Functions at kinks, ties, poles and infinities, for value, gradient and second gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan, pi
from typing import Any

import torch
from torch.nn import functional as F


@dataclass(frozen=True, eq=False)
class Point:
    """A function and where it is taken.

    Attributes:
        name: of the case.
        fn: of one tensor for each of `at`.
        at: the numbers of each argument, as nested lists.
        order: how many derivatives are compared.
        kept: why gradients stay what they are where torch's are NaN; "" where they are NaN too.
    """

    name: str
    fn: Callable[..., Any]
    at: tuple[Any, ...]
    order: int = 2
    kept: str = ""

    def arguments(self) -> list[torch.Tensor]:
        """The arguments in float64."""
        return [torch.tensor(x, dtype=torch.float64) for x in self.at]


# What is compared of less than two derivatives, and why.
FIRST_ONLY = {
    "softplus": "torch's second derivative is 0 from the threshold on, where the first is not 1",
    "softplus past its threshold": "torch's second derivative is 0 at the threshold already",
    "hardsigmoid": "torch has no second derivative",
    "var of one": "the variance is 0 / 0: torch takes its second derivative for 0",
    "bce at the wrong end": "torch's second derivative is not that of its first",
    "xlogy": "torch's second derivative is not that of its first where log(y) is left out",
}
# Where torch's gradient is NaN and graphir's is not.
KEPT = {
    "amax of NaN": "those that are NaN share the gradient, as in torch's max()",
    "hypot": "it is a norm: 0 at 0, as the norm's",
    "xlogy": "x log(y) is 0 for every y where x is 0",
    "kl_div": "by xlogy",
    "poisson": "by xlogy",
}


def _point(name: str, fn: Callable[..., Any], *at: Any) -> Point:
    return Point(name, fn, at, 1 if name in FIRST_ONLY else 2, KEPT.get(name, ""))


def _of_one() -> list[Point]:
    tie = [[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]
    around = [-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0]
    edge = [-1.0, 1.0, 0.0]
    rows = {
        "amax": (lambda x: x.amax(1), tie),
        "amin": (lambda x: (-x).amin(1), tie),
        "amax of all": (lambda x: x.amax(), tie),
        "amax over two axes": (lambda x: x.amax((0, 1)), tie),
        "max of all": (lambda x: x.max(), tie),
        "min of all": (lambda x: (-x).min(), tie),
        "max of dim": (lambda x: x.max(1).values, tie),
        "min of dim": (lambda x: (-x).min(1).values, tie),
        "max of infinite ties": (lambda x: x.amax(0), [inf, 1.0, inf]),
        "amax of NaN": (lambda x: x.amax(0), [nan, 1.0, nan]),
        "max of dim of NaN": (lambda x: x.max(0).values, [1.0, nan, nan]),
        "prod": (lambda x: x.prod(), [2.0, 3.0, -1.0]),
        "prod with a zero": (lambda x: x.prod(), [2.0, 0.0, 3.0]),
        "prod with two zeros": (lambda x: x.prod(), [2.0, 0.0, 0.0, 3.0]),
        "prod with three zeros": (lambda x: x.prod(), [0.0, 0.0, 0.0, 3.0]),
        "prod of dim": (lambda x: x.prod(1), [[2.0, 0.0, 3.0], [0.0, 0.0, 4.0], [1.0, 2.0, 3.0]]),
        "cumprod": (lambda x: x.cumprod(0), [2.0, 0.0, 3.0, 0.0, 5.0]),
        "cumsum": (lambda x: x.cumsum(0), [2.0, 0.0, 3.0]),
        "cumsum with an infinity": (lambda x: x.cumsum(0), [2.0, inf, 3.0]),
        "square": (lambda x: x.square(), around),
        "x**0": (lambda x: x**0, around),
        "x**1": (lambda x: x**1, around),
        "x**2": (lambda x: x**2, around),
        "x**3": (lambda x: x**3, around),
        "x**0.5": (lambda x: x**0.5, [0.0, 1.0, 4.0]),
        "x**1.5": (lambda x: x**1.5, [0.0, 1.0, 4.0]),
        "x**2.5": (lambda x: x**2.5, [0.0, 1.0, 4.0]),
        "x**-1": (lambda x: x**-1, [0.0, -0.0, 2.0]),
        "x**-2": (lambda x: x**-2, [0.0, 2.0]),
        "0**x": (lambda x: 0.0**x, [0.0, 2.0, 0.5]),
        "0**-x": (lambda x: 0.0**x, [-1.0]),
        "1**x": (lambda x: 1.0**x, [0.0, 2.0, -3.0]),
        "2**x": (lambda x: 2.0**x, [0.0, 2.0, -3.0]),
        "(-2)**x": (lambda x: torch.pow(-2.0, x), [0.0, 2.0]),
        "sqrt": (torch.sqrt, [0.0, 1.0, inf]),
        "sqrt of less": (torch.sqrt, [-1.0]),
        "rsqrt": (torch.rsqrt, [0.0, 1.0, inf]),
        "reciprocal": (torch.reciprocal, [0.0, -0.0, inf, 2.0]),
        "1/x": (lambda x: 1 / x, [0.0, -0.0, inf, 2.0]),
        "sqrt of abs": (lambda x: x.abs().sqrt(), [0.0, 4.0, -4.0]),
        "abs": (torch.abs, around),
        "sign": (torch.sign, around),
        "abs of NaN": (torch.abs, [nan, inf]),
        "log": (torch.log, [0.0, 1.0, inf]),
        "log of less": (torch.log, [-1.0]),
        "log2": (torch.log2, [0.0, 1.0, inf]),
        "log10": (torch.log10, [0.0, 1.0, inf]),
        "log1p": (torch.log1p, [-1.0, 0.0, inf]),
        "expm1": (torch.expm1, [-inf, 0.0, 1.0, inf]),
        "exp": (torch.exp, [-inf, 0.0, 1.0, inf]),
        "exp2": (torch.exp2, [-inf, 0.0, 1.0, inf]),
        "asin": (torch.asin, edge),
        "acos": (torch.acos, edge),
        "atan": (torch.atan, [-inf, inf, 0.0]),
        "tanh": (torch.tanh, [-inf, inf, 0.0]),
        "sinh": (torch.sinh, [-inf, inf, 0.0]),
        "logit": (torch.logit, [-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, inf]),
        "cosh": (torch.cosh, [-inf, inf, 0.0]),
        "erf": (torch.erf, [-inf, inf, 0.0]),
        "sigmoid": (torch.sigmoid, [-inf, inf, 0.0]),
        "tan": (torch.tan, [0.0, pi / 4]),
        "floor": (torch.floor, around),
        "round": (torch.round, around),
        "trunc": (torch.trunc, around),
        "frac": (torch.frac, around),
        "relu": (torch.relu, around),
        "leaky_relu": (F.leaky_relu, around),
        "elu": (F.elu, around),
        "silu": (F.silu, [-inf, 0.0, inf]),
        "silu far out": (F.silu, [-800.0, 0.0, 800.0]),
        "gelu": (F.gelu, [-40.0, 0.0, 40.0]),
        "gelu by tanh": (lambda x: F.gelu(x, approximate="tanh"), [-40.0, 0.0, 40.0]),
        "softplus": (F.softplus, [-40.0, 0.0, 20.0, 40.0]),
        "softplus past its threshold": (
            lambda x: F.softplus(x, beta=2.0, threshold=4.0), [1.9, 2.0, 2.1]),
        "logsigmoid": (F.logsigmoid, [-800.0, 0.0, 800.0]),
        "hardtanh": (F.hardtanh, around),
        "relu6": (F.relu6, [0.0, 6.0, 3.0]),
        "hardsigmoid": (F.hardsigmoid, [-3.0, 3.0, 0.0]),
        "hardswish": (F.hardswish, [-3.0, 3.0, 0.0]),
        "threshold": (lambda x: F.threshold(x, 0.5, 2.0), [0.5, 0.0, 1.0]),
        "clamp": (lambda x: x.clamp(-1, 1), around),
        "clamp from below": (lambda x: x.clamp(min=-1), around),
        "clamp from above": (lambda x: x.clamp(max=1), around),
        "clamp where the bounds cross": (lambda x: x.clamp(1, -1), around),
        "clamp of NaN": (lambda x: x.clamp(-1, 1), [nan, 0.0]),
        "norm": (lambda x: x.norm(), [0.0, 0.0]),
        "norm of rows": (lambda x: x.norm(dim=1), [[0.0, 0.0], [3.0, 4.0]]),
        "1-norm": (lambda x: torch.linalg.vector_norm(x, 1), [0.0, 0.0, 2.0, -3.0]),
        "1-norm of zeros": (lambda x: torch.linalg.vector_norm(x, 1), [0.0, 0.0]),
        "3-norm": (lambda x: torch.linalg.vector_norm(x, 3), [0.0, 2.0, -3.0]),
        "3-norm of zeros": (lambda x: torch.linalg.vector_norm(x, 3), [0.0, 0.0]),
        "1.5-norm": (lambda x: torch.linalg.vector_norm(x, 1.5), [4.0, -9.0]),
        "1.5-norm of zeros": (lambda x: torch.linalg.vector_norm(x, 1.5), [0.0, 0.0]),
        "0.5-norm": (lambda x: torch.linalg.vector_norm(x, 0.5), [4.0, -9.0]),
        "0-norm": (lambda x: torch.linalg.vector_norm(x, 0), [0.0, 2.0]),
        "inf-norm": (lambda x: torch.linalg.vector_norm(x, inf), [2.0, -3.0, 3.0]),
        "inf-norm of zeros": (lambda x: torch.linalg.vector_norm(x, inf), [0.0, 0.0]),
        "-inf-norm": (lambda x: torch.linalg.vector_norm(x, -inf), [2.0, -3.0, -2.0]),
        "2-norm of an infinity": (torch.linalg.vector_norm, [inf, 1.0]),
        "Frobenius": (torch.linalg.matrix_norm, [[0.0, 0.0], [0.0, 0.0]]),
        "normalize": (lambda x: F.normalize(x, dim=0), [3.0, 4.0]),
        "logsumexp": (lambda x: torch.logsumexp(x, 0), [-inf, 0.0, 1.0]),
        "logsumexp of -inf": (lambda x: torch.logsumexp(x, 0), [-inf, -inf]),
        "logsumexp with inf": (lambda x: torch.logsumexp(x, 0), [inf, 0.0]),
        "softmax": (lambda x: torch.softmax(x, 0), [-inf, 0.0, 1.0]),
        "softmax of -inf": (lambda x: torch.softmax(x, 0), [-inf, -inf]),
        "softmax with inf": (lambda x: torch.softmax(x, 0), [inf, 0.0]),
        "log_softmax": (lambda x: torch.log_softmax(x, 0), [-inf, 0.0, 1.0]),
        "log_softmax far out": (lambda x: torch.log_softmax(x, 0), [-1e4, 0.0, 1e4]),
        "var of one": (lambda x: x.var(), [3.0]),
        "std of one": (lambda x: x.std(), [3.0]),
        "var of one of a population": (lambda x: x.var(correction=0), [3.0]),
        "std of one of a population": (lambda x: x.std(correction=0), [3.0]),
        "var of constants": (lambda x: x.var(), [3.0, 3.0, 3.0]),
        "std of constants": (lambda x: x.std(), [3.0, 3.0, 3.0]),
        "std of rows": (lambda x: x.std(1), [[3.0, 3.0], [1.0, 2.0]]),
        "remainder": (lambda x: torch.remainder(x, 2.0), [-4.0, 0.0, 4.0, 3.0, -3.0]),
        "remainder by less": (lambda x: torch.remainder(x, -2.0), [-4.0, 0.0, 4.0, 3.0, -3.0]),
        "remainder by 0": (lambda x: torch.remainder(x, 0.0), [1.0]),
        "fmod": (lambda x: torch.fmod(x, 2.0), [-4.0, 0.0, 4.0, 3.0, -3.0]),
        "nan_to_num": (torch.nan_to_num, [nan, inf, -inf, 1.0]),
        "where of a kink": (lambda x: torch.where(x > 1, x, 1.0), around),
        "where hides a pole": (
            lambda x: torch.where(x > 0, x, 1.0).log(), [0.0, -1.0, 2.0]),
        "sum of none": (lambda x: x[:0].sum() + x.sum(), [1.0, 2.0]),
        "relu of squares": (lambda x: torch.relu(x) ** 2, around),
        "huber": (lambda x: F.huber_loss(x, torch.zeros_like(x), reduction="none"), around),
        "smooth_l1": (
            lambda x: F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none"), around),
        "l1": (lambda x: F.l1_loss(x, torch.zeros_like(x), reduction="none"), around),
        "bce": (
            lambda x: F.binary_cross_entropy(x, torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64),
            reduction="none"), [0.0, 1.0, 0.5]),
        "bce at the wrong end": (
            lambda x: F.binary_cross_entropy(x, torch.tensor([1.0, 0.0], dtype=torch.float64),
            reduction="none"), [0.0, 1.0]),
        "layer_norm of constants": (lambda x: F.layer_norm(x, (3,)), [2.0, 2.0, 2.0]),
    }  # fmt: skip
    return [_point(name, fn, at) for name, (fn, at) in rows.items()]


def _of_two() -> list[Point]:
    rows = {
        "hypot": (torch.hypot, [0.0, 3.0, 0.0, -0.0], [0.0, 0.0, 4.0, 0.0]),
        "hypot of an infinity": (torch.hypot, [inf, inf, 1.0], [1.0, -inf, nan]),
        "atan2": (torch.atan2, [0.0, -0.0, 0.0, 1.0, 0.0], [0.0, 0.0, -1.0, 0.0, 1.0]),
        "xlogy": (torch.xlogy, [0.0, 0.0, 1.0, 0.0, 2.0], [0.0, 2.0, 0.0, -1.0, 3.0]),
        "xlogy of NaN": (torch.xlogy, [0.0], [nan]),
        "pow": (torch.pow, [0.0, 0.0, 0.0, 2.0, 1.0], [0.0, 1.0, 2.0, 0.0, 5.0]),
        "pow below 1": (torch.pow, [0.0, 0.0], [0.5, 1.5]),
        "pow of less": (torch.pow, [-2.0, -2.0], [2.0, 3.0]),
        "pow by less": (torch.pow, [0.0, 2.0], [-1.0, -1.0]),
        "maximum": (torch.maximum, [1.0, 2.0, 3.0, nan], [1.0, 3.0, 2.0, 1.0]),
        "minimum": (torch.minimum, [1.0, 2.0, 3.0, nan], [1.0, 3.0, 2.0, 1.0]),
        "logaddexp": (
            torch.logaddexp, [0.0, -inf, 0.0, 1e4, -800.0], [0.0, 0.0, -inf, -1e4, -800.0]),
        "logaddexp of -inf": (torch.logaddexp, [-inf], [-inf]),
        "logaddexp of inf": (torch.logaddexp, [inf, inf, 0.0], [inf, 0.0, inf]),
        "logaddexp of both": (torch.logaddexp, [inf, -inf], [-inf, inf]),
        "remainder of two": (torch.remainder, [4.0, -3.0, 5.0], [2.0, 2.0, -3.0]),
        "fmod of two": (torch.fmod, [4.0, -3.0, 5.0], [2.0, 2.0, -3.0]),
        "div": (torch.div, [1.0, 0.0, -1.0], [0.0, 0.0, -0.0]),
        "where": (lambda x, y: torch.where(x > y, x, y), [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]),
        "clamp by tensors": (lambda x, y: x.clamp(min=y), [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]),
        "clamp by tensors from above": (
            lambda x, y: x.clamp(max=y), [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]),
        "clamp by tensors from both sides": (
            lambda x, y: x.clamp(y - 1, y), [1.0, 2.0, 3.0, 0.5], [1.0, 3.0, 4.0, 0.0]),
        "lerp": (lambda x, y: torch.lerp(x, y, 0.5), [1.0, 2.0], [1.0, 3.0]),
        "cosine similarity": (
            lambda x, y: F.cosine_similarity(x, y, dim=0), [1.0, 2.0], [2.0, 1.0]),
        "kl_div": (
            lambda x, y: F.kl_div(x, y, reduction="none"), [-1.0, -2.0, -3.0], [0.0, 0.5, 1.0]),
        "poisson": (
            lambda x, y: F.poisson_nll_loss(x, y, full=True, reduction="none"),
            [-1.0, 0.5, 0.0], [0.0, 1.0, 2.0]),
        "poisson of rates": (
            lambda x, y: F.poisson_nll_loss(x, y, log_input=False, reduction="none"),
            [0.0, 0.5, 1.0], [0.0, 1.0, 2.0]),
    }  # fmt: skip
    return [_point(name, fn, *at) for name, (fn, *at) in rows.items()]


POINTS = (*_of_one(), *_of_two())
