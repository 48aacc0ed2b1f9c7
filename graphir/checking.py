"""`check_grads`: reverse mode, forward mode and central differences, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .dtypes import dtype_of, float64
from .errors import DTypeError, GraphirError
from .evaluate import evaluate
from .frontend.torch_arrays import as_array, as_tensor
from .frontend.torch_names import is_tensor
from .given import require_arguments, require_function, require_size, require_whole
from .graph import Graph
from .jacobians import jacfwd, jacrev
from .layout import concatenate, reshape
from .opdef import Array
from .tracer import is_array
from .tracing import trace
from .trees import argument_names, flatten, placed, unflatten
from .value import Value, cast

_ORDINALS = ("", "first", "second", "third", "fourth")


class GradientError(GraphirError):
    """Derivatives that should agree and do not.

    Attributes:
        entry: the worst one, e.g. `d output / d w[1, 2]`.
        reverse, forward, numerical: its three values.
    """

    def __init__(
        self, message: str, entry: str, values: tuple[float, float, float], hint: str
    ) -> None:
        self.entry = entry
        self.reverse, self.forward, self.numerical = values
        super().__init__(message, hint=hint)


def check_grads(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    order: int = 2,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-7,
) -> None:
    """Check the derivatives of `fn` at `args` up to `order`, all of them, in float64.

    Each is computed in three ways: by reverse mode, by forward mode and by central differences of
    the derivative before it. They must agree within `atol + rtol * size`. It takes two
    evaluations for each element of the arguments, so use few.

    Args:
        fn: returns a tree of floating arrays.
        args: trees of arrays and numbers; those that are not floating stay as they are.
        order: of the highest derivative.
        rtol, atol: what differences may be.

    Raises:
        GradientError: naming the worst entry and its three values.
        DTypeError: where no argument is floating, or the result is not.
    """
    require_function("check_grads", fn)
    args = require_arguments("check_grads", "args", args)
    order = require_whole("check_grads", "order", order, 1)
    rtol, atol = (
        require_size("check_grads", "rtol", rtol),
        require_size("check_grads", "atol", atol),
    )
    point = _Point(fn, args)
    value, levels = point.vector, []
    for _ in range(order):
        levels.append((jacrev(value), jacfwd(value)))
        value = levels[-1][0]
    before = point.vector
    for level, (by_reverse, by_forward) in enumerate(levels, 1):
        reverse = point.evaluate(by_reverse)
        forward = point.evaluate(by_forward)
        numerical = point.differences(before)
        _compare(point, level, (reverse, forward, numerical), rtol, atol)
        before = by_reverse


class _Point:
    """A function of trees as a function of one vector, at some point.

    Attributes:
        at: the floating elements of the arguments, one after another.
        names: of those elements, `w[1, 2]`.
        results: the names of the elements of the result, once it was computed.
    """

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.leaves, labels, self.tree = flatten(tuple(args), argument_names(fn, len(args)))
        self.names: list[str] = []
        self.results: list[str] = []
        parts: list[Array] = []
        self.moving: list[int] = []
        for i, (x, label) in enumerate(zip(self.leaves, labels, strict=True)):
            if is_array(x) or isinstance(x, (float, np.floating)):
                values = np.asarray(as_array(x) if is_tensor(x) else x)
                if dtype_of(values.dtype).is_float:
                    parts.append(values.astype(np.float64))
                    self.names += _elements(label, values.shape)
                    self.moving.append(i)
        if not parts:
            raise DTypeError(
                "check_grads: no argument is floating, so there is nothing to differentiate by",
                hint="convert one, e.g. x.double(), or pass 1.0 for 1",
            )
        self.shapes = [p.shape for p in parts]
        self.at: Array = np.concatenate([p.ravel() for p in parts])
        self._tensor = any(map(is_tensor, self.leaves))
        self._graphs: dict[int, Graph] = {}

    def vector(self, v: Value) -> Value:
        """The elements of the result, in one vector, at the elements `v`."""
        leaves, start = list(self.leaves), 0
        for i, shape in zip(self.moving, self.shapes, strict=True):
            count = int(np.prod(shape, dtype=int))
            leaves[i] = reshape(v[start : start + count], shape)
            start += count
        with placed(unflatten(self.tree, leaves)) as args:
            outputs, names, _ = flatten(self.fn(*args), "output")
        results = [v.lift(y) for y in outputs]
        for y, name in zip(results, names, strict=True):
            if not y.element.is_float:
                raise DTypeError(
                    f"check_grads: {name} is {y.element}, which has no derivative",
                    hint="return floating arrays only",
                )
        self.results = [
            element
            for y, name in zip(results, names, strict=True)
            for element in _elements(name, tuple(int(s) for s in y.shape))
        ]
        return concatenate([cast(reshape(y, (-1,)), float64) for y in results])

    def evaluate(self, fn: Callable[..., Any], at: Array | None = None) -> Array:
        """A function of the vector, in float64."""
        given: Any = self.at if at is None else at
        if id(fn) not in self._graphs:
            example = as_tensor(given) if self._tensor else given
            self._graphs[id(fn)] = trace(fn, (example,), dynamic=()).graph
        return evaluate(self._graphs[id(fn)], [given], wide=True)[0]

    def differences(self, fn: Callable[..., Any]) -> Array:
        """Central differences, the axis of the vector last."""
        columns = []
        for i, x in enumerate(self.at):
            # The cube root of the rounding unit balances rounding and truncation.
            step = 6e-6 * max(1.0, abs(x))
            ends = []
            for sign in (1, -1):
                moved = self.at.copy()
                moved[i] += sign * step
                ends.append(self.evaluate(fn, moved))
            columns.append((ends[0] - ends[1]) / (2 * step))
        return np.stack(columns, axis=-1)


def _elements(name: str, shape: Sequence[int]) -> list[str]:
    """`name[i, j]` for each element of an array of that shape."""
    if not shape:
        return [name]
    return [f"{name}[{', '.join(map(str, at))}]" for at in np.ndindex(*shape)]


@dataclass(frozen=True)
class _Worst:
    """Where two of three arrays differ most, by how many times what is allowed."""

    place: tuple[int, ...]
    excess: float


def _compare(
    point: _Point, level: int, found: tuple[Array, Array, Array], rtol: float, atol: float
) -> None:
    """Raise GradientError unless all three agree everywhere."""
    reverse, forward, numerical = found
    allowed = atol + rtol * np.maximum(np.abs(reverse), np.abs(numerical))
    worst = _Worst((), 0.0)
    for a, b in ((reverse, numerical), (forward, numerical), (reverse, forward)):
        with np.errstate(invalid="ignore"):
            excess = np.where(a == b, 0.0, np.abs(a - b) / allowed)
        excess = np.where(np.isnan(excess), np.inf, excess)
        if excess.size and excess.max() > worst.excess:
            place = np.unravel_index(int(excess.argmax()), excess.shape)
            worst = _Worst(tuple(map(int, place)), float(excess.max()))
    if worst.excess <= 1:
        return
    output, *inputs = worst.place
    by = [point.names[i] for i in inputs]
    power = f"^{level}" if level > 1 else ""
    entry = f"d{power} {point.results[output]} / " + " ".join(f"d {name}" for name in by)
    values = (
        float(reverse[worst.place]), float(forward[worst.place]), float(numerical[worst.place])
    )  # fmt: skip
    message = (
        f"the {_ORDINALS[level] if level < len(_ORDINALS) else f'{level}th'} derivatives differ, "
        f"most at {entry}: reverse mode {values[0]:.9g}, forward mode {values[1]:.9g}, "
        f"central differences {values[2]:.9g}"
    )
    raise GradientError(message, entry, values, _hint(values, rtol, atol))


def _hint(values: tuple[float, float, float], rtol: float, atol: float) -> str:
    reverse, forward, numerical = values

    def near(a: float, b: float) -> bool:
        return bool(np.isclose(a, b, rtol=rtol, atol=atol))

    if near(reverse, forward):
        return (
            "check away from kinks and jumps (abs, max, where, round), where no difference is a "
            "derivative; stop_gradient (detach) and a custom_vjp with a wrong rule also do this"
        )
    if near(forward, numerical):
        return "reverse mode is wrong: check the rule given to custom_vjp (defvjp)"
    if near(reverse, numerical):
        return "forward mode is wrong: check the rule given to custom_vjp (defjvp)"
    return "check at another point: at this one the function may not be differentiable"
