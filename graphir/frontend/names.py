"""What both front ends share: calling an implementation with either spelling of its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, wraps
from typing import Any, TypeAlias

from .. import integers
from ..composites import elementwise
from ..composites import where as choose
from ..dtypes import DType, dtype_of
from ..errors import UnsupportedError
from ..opdef import OPS, Kind, OpDef
from ..value import Value, binary, cast

Implementation: TypeAlias = Callable[..., Any]
Table: TypeAlias = Mapping[str, Implementation]

# One word for what torch and NumPy call differently; the implementations use the right-hand one.
_RENAMED = {"axis": "dim", "axes": "dim", "keepdims": "keepdim", "a_min": "min", "a_max": "max",
            "newshape": "shape", "dims": "shape", "size": "shape", "ddof": "correction",
            "axis1": "dim0", "axis2": "dim1", "axis0": "dim0", "indices": "index",
            "b": "other"}  # fmt: skip
_FIRST = ("input", "self", "a", "x", "arr", "tensor")
# Options that change nothing when they have these values.
_HARMLESS = {"inplace": (False,), "_stacklevel": (3,), "order": ("C", "K", "A"),
             "copy": (False, True), "non_blocking": (False, True), "subok": (False, True),
             "casting": ("same_kind",), "requires_grad": (False,),
             "where": (True,), "sparse_grad": (False,), "optimize": (True, False)}  # fmt: skip


@cache
def _signature(implementation: Implementation) -> inspect.Signature:
    return inspect.signature(implementation)


def call(
    name: str, implementation: Implementation, args: Sequence[Any], keywords: Mapping[str, Any]
) -> Any:
    """`implementation(*args, **keywords)` with the user's spelling of the keywords.

    Raises:
        UnsupportedError: for an option that the implementation does not take.
    """
    signature = _signature(implementation)
    parameters = signature.parameters
    keywords = dict(keywords)
    target = keywords.pop("out", None)
    where = keywords.pop("where", True) if "where" not in parameters else True
    if where is not True and target is None:
        keywords["where"] = where
    if keywords.get("inplace") is True and "inplace" not in parameters:
        target, keywords["inplace"] = args[0] if args else keywords.get("input"), False
    positional, named = list(args), {}
    for key, value in keywords.items():
        word = key if key in parameters else _RENAMED.get(key, key)
        if word in parameters:
            if parameters[word].kind is inspect.Parameter.VAR_POSITIONAL:
                positional.append(value)
            else:
                named[word] = value
        elif key in _FIRST:
            positional.insert(0, value)
        elif value is not None and not _harmless(key, value):
            raise UnsupportedError(
                name,
                f"{name}: the option {key}= is not supported",
                hint=_option_hint(key, parameters),
            )
    try:
        bound = signature.bind(*positional, **named)
    except TypeError as error:
        raise UnsupportedError(
            name,
            f"{name}: these arguments are not supported ({error})",
            hint=f"it takes {', '.join(parameters)}",
        ) from None
    if bound.arguments.get("dtype") is not None:
        bound.arguments["dtype"] = dtype_of(bound.arguments["dtype"])
    result = implementation(*bound.args, **bound.kwargs)
    return result if target is None else _write_out(name, result, target, where)


def _write_out(name: str, result: Any, out: Any, where: Any) -> Any:
    """`out` with the result in it (`out=`, `inplace=True`), but where NumPy's `where` is false."""
    if isinstance(out, tuple):
        results = result if isinstance(result, tuple) else (result,)
        written = tuple(_write_out(name, r, o, where) for r, o in zip(results, out, strict=True))
        return written if isinstance(result, tuple) else written[0]
    if not isinstance(out, Value):
        out = result.lift(out)
    if where is not True:
        result = choose(where, result, out)
    return out.write(f"{name}(out=)", result)


def own(result: Any) -> Any:
    """A result in memory of its own, where it is an operand or a view of one."""
    if isinstance(result, Value):
        return result.copied()
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return type(result)(*map(own, result))
    return type(result)(map(own, result)) if type(result) in (tuple, list) else result


def sharing(
    table: Table,
    views: Collection[str],
    reshapes: Collection[str] = (),
    perhaps: Collection[str] = (),
) -> dict[str, Implementation]:
    """The table with results in memory of their own, but for some functions.

    Args:
        views: the functions whose results lie in their operand's memory.
        reshapes: those of which that holds where no axes are joined; where some are, it holds for
            operands that are contiguous only, which a trace cannot know.
        perhaps: those of which one cannot know.
    """
    made = {}
    for name, implementation in table.items():
        if name in views:
            made[name] = implementation
        elif name in reshapes or name in perhaps:
            made[name] = _perhaps_shared(implementation, name in reshapes)
        else:
            made[name] = _owned(implementation)
    return made


def _owned(implementation: Implementation) -> Implementation:
    @wraps(implementation)
    def apply(*args: Any, **keywords: Any) -> Any:
        return own(implementation(*args, **keywords))

    return apply


def _perhaps_shared(implementation: Implementation, reshapes: bool) -> Implementation:
    @wraps(implementation)
    def apply(*args: Any, **keywords: Any) -> Any:
        result = implementation(*args, **keywords)
        first: Any = next((x for x in (*args, *keywords.values()) if isinstance(x, Value)), None)
        if first is None or not isinstance(result, Value) or not first.shares(result):
            return result
        return result if reshapes and splits(first, result) else result.apart()  # type: ignore[attr-defined]

    return apply


def splits(x: Value, y: Value) -> bool:
    """Whether `y`, a reshape of `x`, joins no axes, so that it is a view whatever the strides."""
    old = [s for s in x.sizes if s != 1]
    new = [s for s in y.sizes if s != 1]
    for size in old:
        part: Any = 1
        while part != size:
            if not new:
                return False
            part = part * new.pop(0)
            if isinstance(part, int) and isinstance(size, int) and part > size:
                return False
    return not new


def in_place(implementation: Implementation, symbol: str, converts: bool = False) -> Implementation:
    """The method that writes what `implementation` gives into its first argument."""

    @wraps(implementation)
    def apply(x: Any, *args: Any, **keywords: Any) -> Any:
        return x.write(symbol, implementation(x, *args, **keywords), converts=converts)

    return apply


def _harmless(key: str, value: Any) -> bool:
    plain = isinstance(value, (bool, int, float, str))
    return plain and value in _HARMLESS.get(key, ())


def _option_hint(key: str, parameters: Iterable[str]) -> str:
    if key == "out":
        return "assign the result instead: y = f(x)"
    if key == "where":
        return "select afterwards with np.where"
    return f"leave it out; the arguments are {', '.join(parameters)}"


def unknown(name: str, short: str, known: Iterable[str], prefix: str) -> UnsupportedError:
    """The error for a function that is in no table, with the nearest names that are."""
    near = get_close_matches(short, [k for k in known if not k.startswith("_")], n=3)
    hint = (
        f"the nearest supported: {', '.join(prefix + n for n in near)}"
        if near
        else "write it with supported functions, or call it outside the compiled function"
    )
    return UnsupportedError(name, f"{name} is not a function that graphir knows", hint=hint)


def from_operations(names: Callable[[OpDef], Iterable[str]]) -> dict[str, Implementation]:
    """The rows that the primitives' declarations give: unary and binary functions by name."""
    table: dict[str, Implementation] = {}
    for op in OPS.values():
        if op.kind is Kind.ELEMENTWISE:
            for name in names(op):
                table[name] = _unary(op.name) if len(op.vjps) == 1 else _binary(op.name)
    return table


def _unary(op: str) -> Implementation:
    def apply(input: Any) -> Any:
        return elementwise(op, input)

    return apply


def _binary(op: str) -> Implementation:
    def apply(input: Any, other: Any) -> Any:
        return binary(op, input, other)

    return apply


def _bitwise(name: str) -> Implementation:
    def apply(input: Any, other: Any) -> Any:
        return integers.bitwise(name, input, other)

    return apply


BITWISE = {
    **{
        f"bitwise_{name}": _bitwise(name)
        for name in ("and", "or", "xor", "left_shift", "right_shift")
    },
    "bitwise_not": integers.invert,
}


def as_sizes(shape: Sequence[Any]) -> tuple[Any, ...]:
    """A shape from `f(2, 3)` or `f((2, 3))`."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        return tuple(shape[0])
    return tuple(shape)


def spread(function: Implementation) -> Implementation:
    """`function(x, shape)` called as f(x, 2, 3) or as f(x, (2, 3))."""

    def apply(input: Any, *shape: Any) -> Any:
        return function(input, as_sizes(shape))

    return apply


def converting(dtype: DType) -> Implementation:
    """The method that converts to `dtype`."""

    def apply(x: Any) -> Any:
        return cast(x, dtype)

    return apply


def to_device_or_dtype(x: Any, *targets: Any, dtype: Any = None, device: Any = None) -> Any:
    """torch's `to`: a dtype or another traced value converts; a device changes nothing.

    Arguments of one compiled function live on one device, which only the caller chooses.
    """
    for target in (*targets, dtype):
        if isinstance(target, Value):
            x = cast(x, target.element)
        elif type(target).__name__ == "dtype" or isinstance(target, DType):
            x = cast(x, dtype_of(target))
    return x
