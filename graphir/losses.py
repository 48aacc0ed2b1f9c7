"""Losses with torch's meaning and defaults. Predictions and targets must be of one shape."""

from __future__ import annotations

import math
from typing import Any

from .activations import xlogy
from .composites import mean as _mean
from .composites import softplus, square, stop_gradient, unsupported_option, where
from .composites import sum as total
from .dtypes import limits
from .errors import ShapeError
from .layout import reshape
from .precision import rounded_once
from .sizes import format_shape
from .symbolic import NeedsNumber, broadcast_shapes, require_equal
from .value import Value, float_value, lift_all, reduce, unary


def reduced(name: str, loss: Value, reduction: str) -> Value:
    """torch's reductions of a loss: its mean, its sum, or itself.

    Raises:
        UnsupportedError: for another word.
    """
    if reduction == "mean":
        return _mean(loss)
    if reduction == "sum":
        return total(loss)
    if reduction == "none":
        return loss
    raise unsupported_option(name, f"reduction={reduction!r}", "use 'mean', 'sum' or 'none'")


def _pair(name: str, prediction: Any, target: Any) -> tuple[Value, Value]:
    """Both as Values of one shape; a Python number as the target fits any.

    Raises:
        ShapeError: for two shapes, which would broadcast by accident or not at all.
    """
    x, y = lift_all(prediction, target)
    if x.sizes != y.sizes and not (y.weak or x.weak):
        both = f"predictions {format_shape(x.sizes)} and targets {format_shape(y.sizes)}"
        if x.ndim == y.ndim:
            for s, t in zip(x.sizes, y.sizes, strict=True):
                require_equal(
                    f"{name}: {both} differ", s, t, x.graph.hints, "bring both to one shape"
                )
        try:
            wide = format_shape(broadcast_shapes(name, x.sizes, y.sizes, x.graph.hints))
            message = f"{name}: {both} would broadcast to {wide}"
        except (ShapeError, NeedsNumber):
            message = f"{name}: {both} differ"
        raise ShapeError(message, hint=_remedy(x, y))
    return x, y


def _remedy(x: Value, y: Value) -> str:
    if x.ndim == y.ndim + 1 and x.sizes[-1] == 1:
        return "drop the last axis of the predictions, e.g. prediction.squeeze(-1)"
    if y.ndim == x.ndim + 1 and y.sizes[-1] == 1:
        return "drop the last axis of the targets, e.g. target.squeeze(-1)"
    return "bring both to one shape"


@rounded_once
def mse_loss(prediction: Any, target: Any, reduction: str = "mean", weight: Any = None) -> Value:
    """The squared error; `weight` multiplies each element's, and a mean is over its sum.

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("mse_loss", prediction, target)
    loss = square(x - y)
    if weight is not None:
        loss = loss * weight
        if reduction == "mean":
            return reduce("sum", loss, None) / reduce("sum", weight, None)
    return reduced("mse_loss", loss, reduction)


@rounded_once
def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Value:
    """The absolute error.

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("l1_loss", prediction, target)
    return reduced("l1_loss", abs(x - y), reduction)


def _huber(x: Value, y: Value, delta: float) -> Value:
    error = x - y
    size = abs(error)
    return where(size < delta, 0.5 * square(error), delta * (size - 0.5 * delta))


@rounded_once
def huber_loss(prediction: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Value:
    """Half the squared error up to `delta`, linear beyond.

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("huber_loss", prediction, target)
    return reduced("huber_loss", _huber(x, y, delta), reduction)


@rounded_once
def smooth_l1_loss(
    prediction: Any, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Value:
    """`huber_loss / beta`; the absolute error for beta = 0."""
    x, y = _pair("smooth_l1_loss", prediction, target)
    loss = abs(x - y) if beta == 0 else _huber(x, y, beta) / beta
    return reduced("smooth_l1_loss", loss, reduction)


@rounded_once
def binary_cross_entropy_with_logits(
    logits: Any,
    target: Any,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Value:
    """`softplus(x) - x * y`: cross entropy of probabilities given as logits, without overflow.

    Raises:
        ShapeError: for logits and targets of two shapes.
    """
    x, y = _pair("binary_cross_entropy_with_logits", logits, target)
    x = float_value(x)
    if pos_weight is None:
        loss = softplus(x) - x * y
    else:
        loss = (1.0 - y) * x + (1.0 + (pos_weight - 1.0) * y) * softplus(-x)
    loss = loss if weight is None else loss * weight
    return reduced("binary_cross_entropy_with_logits", loss, reduction)


def _log_at_least(x: Value) -> Value:
    """`log(x)`, and -100 below exp(-100), 0 and less: torch's log of a probability."""
    empty = x <= 0.0
    log = unary("log", where(empty, 1.0, x))
    return where(empty | (log < -100.0), -100.0, log)


def binary_cross_entropy(
    prediction: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Value:
    """Cross entropy of probabilities, whose logarithms count as -100 at least.

    The derivative is torch's, (x - y) / max(x (1 - x), 1e-12).

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("binary_cross_entropy", prediction, target)
    yes, no = _log_at_least(x), _log_at_least(1.0 - x)
    # At the ends, a line through the value with that slope, as far as float16 has it.
    here, steep = stop_gradient(x), min(1e12, float(limits(x.element).max) / 2)
    value = -(y * stop_gradient(yes) + (1.0 - y) * stop_gradient(no))
    line = value + (x - here) * ((here - y) * steep)
    loss = where(x * (1.0 - x) < 1e-12, line, -(y * yes + (1.0 - y) * no))
    loss = loss if weight is None else loss * weight
    return reduced("binary_cross_entropy", loss, reduction)


@rounded_once
def kl_div(
    prediction: Any, target: Any, reduction: str = "mean", log_target: bool = False
) -> Value:
    """`target * (log(target) - prediction)`: the divergence of log-probabilities from a target.

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("kl_div", prediction, target)
    loss = unary("exp", y) * (y - x) if log_target else xlogy(y, y) - y * x
    if reduction == "batchmean":
        whole = total(loss)
        return whole / loss.shape[0] if loss.ndim else whole
    return reduced("kl_div", loss, reduction)


@rounded_once
def poisson_nll_loss(
    prediction: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Value:
    """The negated log-probability of counts; `full` adds Stirling's term.

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("poisson_nll_loss", prediction, target)
    loss = unary("exp", x) - y * x if log_input else x - y * unary("log", x + eps)
    if full:
        many = y > 1.0
        safe = where(many, y, 1.0)
        log = unary("log", safe)
        loss = loss + where(many, safe * log - safe + 0.5 * (log + math.log(2 * math.pi)), 0.0)
    return reduced("poisson_nll_loss", loss, reduction)


@rounded_once
def gaussian_nll_loss(
    prediction: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Value:
    """The negated log-probability of a normal distribution, whose variance counts as `eps` at
    least; as in torch the derivative passes there as if it did not.

    Raises:
        ShapeError: for predictions and targets of two shapes, or a variance of another.
    """
    x, y = _pair("gaussian_nll_loss", prediction, target)
    v = x.lift(var)
    if v.ndim == x.ndim - 1 and v.sizes == x.sizes[:-1]:
        v = reshape(v, (*v.sizes, 1))
    elif v.ndim and v.sizes not in (x.sizes, (*x.sizes[:-1], 1)):
        raise ShapeError(
            f"gaussian_nll_loss: a variance {format_shape(v.sizes)} for {format_shape(x.sizes)}",
            hint="give one for each prediction, or for each row",
        )
    v = where(v < eps, (v - stop_gradient(v)) + eps, v)
    loss = 0.5 * (unary("log", v) + square(x - y) / v)
    loss = loss + 0.5 * math.log(2 * math.pi) if full else loss
    return reduced("gaussian_nll_loss", loss, reduction)
