"""Losses of classes: cross entropy and its kin, with torch's meaning and defaults."""

from __future__ import annotations

from typing import Any

from .composites import log_softmax, where
from .composites import mean as _mean
from .dtypes import uint8
from .errors import ShapeError
from .layout import reshape
from .losses import reduced
from .precision import rounded_once
from .selection import promise_range, require_integers, select
from .sizes import Shape, format_shape
from .symbolic import require_equal
from .value import Value, binary, lift_all, reduce

# torch's default.
DEFAULT_IGNORED = -100


@rounded_once
def cross_entropy(
    logits: Value,
    target: Value,
    weight: Any = None,
    ignore_index: int = DEFAULT_IGNORED,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Value:
    """Cross entropy of softmax(logits) with class indices (integers) or class probabilities.

    The classes lie along axis 1 of the logits, (n, k, ...), or axis 0 of a vector. Class indices
    that are an argument are checked to lie in [0, k), or to be `ignore_index`, before a kernel
    runs.

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
    probable = y.element.is_float and y.ndim == x.ndim
    labels = x.sizes[:axis] + x.sizes[axis + 1 :]
    _check_target("cross_entropy", x, y, x.sizes if probable else labels, labels)
    logp = log_softmax(x, axis)
    weights = _class_weights("cross_entropy", x, weight, axis)
    if not probable:
        return _of_indices(
            "cross_entropy", logp, y, weights, axis, ignore_index, reduction, label_smoothing
        )
    if label_smoothing:
        y = y * (1.0 - label_smoothing) + label_smoothing / x.shape[axis]
    terms = logp * y if weights is None else logp * weights * y
    return reduced("cross_entropy", -reduce("sum", terms, axis), reduction)


@rounded_once
def nll_loss(
    logp: Value,
    target: Value,
    weight: Any = None,
    ignore_index: int = DEFAULT_IGNORED,
    reduction: str = "mean",
) -> Value:
    """The negated log-probability of each row's class: cross_entropy after log_softmax.

    Raises:
        ShapeError: where the target is not (n, ...) for log-probabilities (n, k, ...).
    """
    logp, y = lift_all(logp, target)
    axis = 1 if logp.ndim > 1 else 0
    labels = logp.sizes[:axis] + logp.sizes[axis + 1 :]
    _check_target("nll_loss", logp, y, labels, labels)
    weights = _class_weights("nll_loss", logp, weight, axis)
    return _of_indices("nll_loss", logp, y, weights, axis, ignore_index, reduction, 0.0)


def _check_target(name: str, x: Value, y: Value, wanted: Shape, labels: Shape) -> None:
    what = "logits" if name == "cross_entropy" else "log-probabilities"
    both = f"{name}: {what} {format_shape(x.sizes)} and targets {format_shape(y.sizes)}"
    hint = f"class indices have the shape {format_shape(labels)}"
    if name == "cross_entropy":
        hint += ", class probabilities that of the logits"
    if len(wanted) != y.ndim:
        raise ShapeError(f"{both} do not fit", hint=hint)
    for s, t in zip(wanted, y.sizes, strict=True):
        require_equal(f"{both} do not fit", s, t, x.graph.hints, hint)


def _class_weights(name: str, x: Value, weight: Any, axis: int) -> Value | None:
    """The weights along the axis of the classes."""
    if weight is None:
        return None
    w = x.lift(weight)
    classes = x.sizes[axis]
    if w.sizes != (classes,):
        raise ShapeError(
            f"{name}: weights {format_shape(w.sizes)} for {classes} classes",
            hint="give one weight for each class",
        )
    return reshape(w, (classes, *(1,) * (x.ndim - 1 - axis)))


def _of_indices(
    name: str,
    logp: Value,
    y: Value,
    weights: Value | None,
    axis: int,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> Value:
    require_integers(name, y)
    # An unsigned label is never negative.
    possible = ignore_index >= 0 or y.element is not uint8
    promise_range(y, 0, logp.sizes[axis], ignore_index if possible else None)
    weighted = logp if weights is None else logp * weights
    loss = -select(weighted, y, axis)
    if label_smoothing:
        spread = -_mean(weighted, axis)
        loss = loss * (1.0 - label_smoothing) + spread * label_smoothing
    counted = binary("ne", y, ignore_index) if possible else None
    if counted is not None:
        loss = where(counted, loss, 0.0)
    if reduction != "mean" or (weights is None and counted is None):
        return reduced(name, loss, reduction)
    if weights is None:
        part = loss.scalar(1.0, loss.element)
    else:
        wide = weights.apply("reshape", shape=(logp.sizes[axis],))
        part = select(_along(wide, logp, axis), y, axis)
    if counted is not None:
        part = where(counted, part, 0.0)
    return reduce("sum", loss, None) / reduce("sum", part, None)


def _along(weights: Value, logp: Value, axis: int) -> Value:
    return weights.apply("broadcast", shape=logp.sizes, dims=(axis,))
