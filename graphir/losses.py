"""Losses with torch's meaning and defaults. Predictions and targets must be of one shape."""

from __future__ import annotations

from typing import Any

from .composites import (
    log_softmax,
    softplus,
    square,
    unsupported_option,
    where,
)
from .composites import mean as _mean
from .errors import ShapeError
from .selection import promise_range, require_integers, select
from .sizes import format_shape
from .value import (
    NeedsNumber,
    Value,
    broadcast_shapes,
    float_value,
    lift_all,
    reduce,
    require_equal,
)


def _reduced(name: str, loss: Value, reduction: str) -> Value:
    if reduction == "mean":
        return _mean(loss)
    if reduction == "sum":
        return reduce("sum", loss, None)
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
    return _reduced("mse_loss", loss, reduction)


def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Value:
    """The absolute error.

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("l1_loss", prediction, target)
    return _reduced("l1_loss", abs(x - y), reduction)


def _huber(x: Value, y: Value, delta: float) -> Value:
    error = x - y
    size = abs(error)
    return where(size < delta, 0.5 * square(error), delta * (size - 0.5 * delta))


def huber_loss(prediction: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Value:
    """Half the squared error up to `delta`, linear beyond.

    Raises:
        ShapeError: for predictions and targets of two shapes.
    """
    x, y = _pair("huber_loss", prediction, target)
    return _reduced("huber_loss", _huber(x, y, delta), reduction)


def smooth_l1_loss(
    prediction: Any, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Value:
    """`huber_loss / beta`; the absolute error for beta = 0."""
    x, y = _pair("smooth_l1_loss", prediction, target)
    loss = abs(x - y) if beta == 0 else _huber(x, y, beta) / beta
    return _reduced("smooth_l1_loss", loss, reduction)


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
    return _reduced("binary_cross_entropy_with_logits", loss, reduction)


def cross_entropy(
    logits: Value, target: Value, reduction: str = "mean", label_smoothing: float = 0.0
) -> Value:
    """Cross entropy of softmax(logits) with class indices (integers) or class probabilities.

    The classes lie along axis 1 of the logits, (n, k, ...), or axis 0 of a vector. Class indices
    that are an argument are checked to lie in [0, k) before a kernel runs.

    Raises:
        ShapeError: where the target is neither (n, ...) nor, as probabilities, (n, k, ...).
        DTypeError: for floating-point targets of the shape of class indices.
    """
    x, y = lift_all(logits, target)
    if not x.ndim:
        raise ShapeError(
            "cross_entropy: logits (n, k) are expected, got a 0-d value",
            hint="give one logit per class",
        )
    axis = 1 if x.ndim > 1 else 0
    classes = x.sizes[axis]
    labels = x.sizes[:axis] + x.sizes[axis + 1 :]
    probable = y.element.is_float and y.ndim == x.ndim
    wanted = x.sizes if probable else labels
    both = f"cross_entropy: logits {format_shape(x.sizes)} and targets {format_shape(y.sizes)}"
    hint = (
        f"class indices have the shape {format_shape(labels)}, class probabilities that of "
        "the logits"
    )
    if len(wanted) != y.ndim:
        raise ShapeError(f"{both} do not fit", hint=hint)
    for s, t in zip(wanted, y.sizes, strict=True):
        require_equal(f"{both} do not fit", s, t, x.graph.hints, hint)
    logp = log_softmax(x, axis)
    if probable:
        if label_smoothing:
            y = y * (1.0 - label_smoothing) + label_smoothing / x.shape[axis]
        loss = -reduce("sum", logp * y, axis)
        return _reduced("cross_entropy", loss, reduction)
    require_integers("cross_entropy", y)
    promise_range(y, 0, classes)
    loss = -select(logp, y, axis)
    if label_smoothing:
        spread = -_mean(logp, axis)
        loss = loss * (1.0 - label_smoothing) + spread * label_smoothing
    return _reduced("cross_entropy", loss, reduction)


def nll_loss(logp: Value, target: Value, reduction: str = "mean") -> Value:
    """The negated log-probability of each row's class: cross_entropy after log_softmax.

    Raises:
        ShapeError: where the target is not (n, ...) for log-probabilities (n, k, ...).
    """
    axis = 1 if logp.ndim > 1 else 0
    labels = logp.sizes[:axis] + logp.sizes[axis + 1 :]
    both = f"nll_loss: {format_shape(logp.sizes)} and targets {format_shape(target.sizes)}"
    if len(labels) != target.ndim:
        raise ShapeError(f"{both} do not fit", hint="targets are class indices, one a row")
    for s, t in zip(labels, target.sizes, strict=True):
        require_equal(f"{both} do not fit", s, t, logp.graph.hints, "one class index a row")
    require_integers("nll_loss", target)
    promise_range(target, 0, logp.sizes[axis])
    return _reduced("nll_loss", -select(logp, target, axis), reduction)
