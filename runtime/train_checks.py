"""What is checked before and while training, so that a mistake is named where it was made."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphir.dtypes import DType, dtype_of
from graphir.errors import DivergedError, DTypeError, GraphirError, ShapeError
from graphir.given import require_call, require_function, require_whole
from graphir.trees import leaf_names, unflatten

from .arrays import is_array, is_tensor, leaves_of, shape_of, signature

_ONE_EACH = "give one array for each argument of the loss after the first, e.g. (x, y)"


@dataclass(frozen=True)
class Task:
    """What to train, flattened and checked."""

    loss: Callable[..., Any]
    params: Any
    data: tuple[Any, ...]
    validation: tuple[Any, ...] | None
    batch: int
    epochs: int
    rows: int
    names: list[str]  # of the parameters, then of the data

    @classmethod
    def checked(
        cls,
        loss: Callable[..., Any],
        params: Any,
        data: Any,
        validation: Any,
        batch_size: int | None,
        epochs: int,
        seed: int,
    ) -> Task:
        """Raise the first error that can be found without tracing."""
        require_function("train", loss)
        arguments = _as_arguments(data)
        names = leaf_names(loss, (params, *arguments))
        weights, tree = leaves_of(params)
        check_params(names[: len(weights)], weights)
        rows = check_data(names[len(weights) :], leaves_of(arguments)[0], weights)
        require_call("train", loss, (params, *arguments), _call(arguments), _ONE_EACH)
        batch = check_counts(batch_size, epochs, rows)
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise GraphirError(f"train: seed must be a whole number, got {seed!r}")
        held_out = None
        if validation is not None:
            held_out = _as_arguments(validation)
            held_names = leaf_names(loss, (params, *held_out))[len(weights) :]
            check_data(held_names, leaves_of(held_out)[0], weights, "validation")
            require_call(
                "train", loss, (params, *held_out), _call(held_out, "validation"), _ONE_EACH
            )
        # NumPy's scalars count as numbers elsewhere; a parameter is an array.
        leaves = [np.asarray(x) if isinstance(x, np.generic) else x for x in weights]
        params = unflatten(tree, leaves)
        return cls(loss, params, arguments, held_out, batch, epochs, rows, names)

    @property
    def param_leaves(self) -> list[Any]:
        """The parameters in order."""
        return leaves_of(self.params)[0]

    @property
    def data_leaves(self) -> list[Any]:
        """The data in order."""
        return leaves_of(self.data)[0]

    def key(self) -> Hashable:
        """What a compiled step depends on: all but the numbers of rows."""
        weights = [(signature(x), shape_of(x)) for x in self.param_leaves]
        columns = [(signature(x), shape_of(x)[1:]) for x in self.data_leaves]
        trees = leaves_of(self.params)[1], leaves_of(self.data)[1]
        return trees, tuple(weights), tuple(columns)


def _as_arguments(data: Any) -> tuple[Any, ...]:
    return tuple(data) if type(data) in (tuple, list) else (data,)


def _call(arguments: Sequence[Any], name: str = "data") -> str:
    """How a loss is called, in an error."""
    given = (
        name if len(arguments) == 1 else ", ".join(f"{name}[{i}]" for i in range(len(arguments)))
    )
    return f"(params, {given})"


def check_counts(batch_size: int | None, epochs: int, rows: int) -> int:
    """The batch size to use: all rows by default.

    Raises:
        ShapeError: for a batch larger than the data.
        GraphirError: for a batch size or a number of epochs below 1.
    """
    require_whole("train", "epochs", epochs, 1)
    if batch_size is None:
        return rows
    size = require_whole("train", "batch_size", batch_size, 1)
    if size > rows:
        raise ShapeError(
            f"train: batch_size {size} is larger than the data of {rows} rows",
            hint=f"lower batch_size to at most {rows}, or leave it out",
        )
    return size


def check_params(names: Sequence[str], leaves: Sequence[Any]) -> None:
    """Raise unless every parameter is a floating-point array.

    Raises:
        DTypeError: naming the parameter.
        ShapeError: for an empty one.
    """
    if not leaves:
        raise GraphirError("train: params holds no arrays", hint="pass e.g. (weights, bias)")
    for name, x in zip(names, leaves, strict=True):
        if not is_array(x):
            raise DTypeError(
                f"train: the parameter `{name}` is a {type(x).__name__}, not an array",
                hint="make it one, e.g. torch.zeros(()) or np.zeros(()) for a single number",
            )
        if not dtype_of(x.dtype).is_float:
            raise DTypeError(
                f"train: the parameter `{name}` holds {dtype_of(x.dtype)}, which has no gradient",
                hint="convert it, e.g. w.float() or w.astype('float32')",
            )
        if 0 in shape_of(x):
            raise ShapeError(
                f"train: the parameter `{name}` is empty: its shape is {shape_of(x)}",
                hint="leave it out",
            )


def check_data(
    names: Sequence[str], leaves: Sequence[Any], params: Sequence[Any], what: str = "data"
) -> int:
    """The number of rows that all arrays share.

    Raises:
        ShapeError: for empty data, or leading axes that differ.
        DTypeError: for what is no array, or floats of another width than the parameters', but
            for float16 and bfloat16.
    """
    if not leaves:
        raise ShapeError(f"train: {what} holds no arrays", hint="pass e.g. (x, y)")
    floats = list(dict.fromkeys(dtype_of(p.dtype) for p in params))
    for name, x in zip(names, leaves, strict=True):
        if not is_array(x) or not shape_of(x):
            raise DTypeError(
                f"train: `{name}` in {what} must be an array with an axis of rows, "
                f"got {'a 0-d array' if is_array(x) else type(x).__name__}",
                hint=_not_rows(name, x),
            )
        if 0 in shape_of(x):
            raise ShapeError(
                f"train: the data set is empty: `{name}` has shape {shape_of(x)}",
                hint="check how it was loaded or filtered",
            )
        dtype = _data_type(name, x, what)
        # Half-width data for wider weights is no accident: the loss says how they meet.
        if dtype.is_float and dtype not in floats and dtype.itemsize > 2:
            raise DTypeError(
                f"train: `{name}` is {dtype}, and the parameters are {', '.join(map(str, floats))}",
                hint=f"convert one of them, e.g. {_conversion(name, x, floats[0].name)}",
            )
    rows = [shape_of(x)[0] for x in leaves]
    if len(set(rows)) > 1:
        listed = ", ".join(f"`{n}` has {r}" for n, r in zip(names, rows, strict=True))
        raise ShapeError(
            f"train: the arrays in {what} differ in their number of rows: {listed}",
            hint="the leading axis of each array must be the rows",
        )
    return int(rows[0])


def _not_rows(name: str, x: Any) -> str:
    if "[" in name and not is_array(x):
        whole = name.partition("[")[0]
        return f"a list counts as one array for each element: pass np.asarray({whole})"
    return "let the loss close over what is the same for every row"


def _data_type(name: str, x: Any, what: str) -> DType:
    try:
        return dtype_of(x.dtype)
    except DTypeError as unknown:
        hint = unknown.hint
        if getattr(x.dtype, "kind", None) in ("U", "S", "O"):
            hint = f"number its values, e.g. np.unique({name}, return_inverse=True)[1]"
        raise DTypeError(f"train: `{name}` in {what}: {unknown.message}", hint=hint) from None


def _conversion(name: str, x: Any, dtype: str) -> str:
    return f"{name}.to(torch.{dtype})" if is_tensor(x) else f"{name}.astype('{dtype}')"


def diverged(
    names: Sequence[str],
    data: Sequence[Any],
    what: str,
    *,
    before: float | None = None,
    lr: float | None = None,
) -> DivergedError:
    """The error for a loss that is not finite: in the data already, or from too large steps.

    Args:
        data: on the host, in its own order.
        what: the loss, epoch and step.
        before: the last finite loss.
        lr: the learning rate, where it can be the reason.
    """
    for name, x in zip(names, data, strict=True):
        place = first_not_finite(x)
        if place is not None:
            column = f", column {', '.join(map(str, place[1:]))}" if place[1:] else ""
            return DivergedError(
                f"{what}, because the data holds {x[place]}: "
                f"first in `{name}` at row {place[0]}{column}",
                hint="drop or fill such rows, e.g. keep = np.isfinite(x).all(axis=1)",
            )
    last = "" if before is None else f", after {before:.4g} in the step before"
    if lr is None:
        hint = "lower the learning rate, or standardise the data"
        return DivergedError(what + last, hint=hint)
    return DivergedError(
        f"{what}{last}; the learning rate was {lr:.4g}",
        hint=f"lower the learning rate, e.g. to {lr / 10:.1g}, or standardise the data",
    )


def first_not_finite(x: np.ndarray[Any, Any]) -> tuple[int, ...] | None:
    """The place of the first NaN or infinity."""
    if x.dtype.kind != "f":
        return None
    bad = ~np.isfinite(x)
    return tuple(int(i) for i in np.argwhere(bad)[0]) if bad.any() else None
