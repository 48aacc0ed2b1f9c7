"""Writing in place: `x += y`, `x[1:] = 0`, `x.mul_(2)`, through views too, as new values.

Graphs have no writes. What the user calls an array is a `Memory`, whose contents are a node that
each write replaces. A view is the memory with the steps that lead from it: it is computed again
after a write, and a write through it goes back along its steps. What may be a view or a copy
(`reshape` of an array that is not contiguous) must not be read once the other was written.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from .dtypes import bool_
from .errors import DTypeError, Location, ShapeError, UnsupportedError, user_location
from .graph import Graph, Node
from .layout import broadcast_to, reshape
from .selection import iota
from .sizes import Dim, Shape, Size, format_shape, numel
from .symbolic import broadcast_shapes
from .value import Value, cast


@dataclass(frozen=True)
class Step:
    """One view of a value.

    Attributes:
        key: equal for equal views.
        view: the view of a value.
        put: `(value, new contents of its view) -> the value with them`.
    """

    key: Hashable
    view: Callable[[Value], Value] = field(compare=False)
    put: Callable[[Value, Value], Value] = field(compare=False)


@dataclass(eq=False)
class Memory:
    """One array of the user's, which writes change.

    Attributes:
        node: its contents now.
        is_argument: whether it was an argument of the trace.
        version: how often it was written.
        near: other arrays that may be the same memory.
        lost: the line that wrote one of those: what this one holds is not known any more.
    """

    node: Node
    is_argument: bool
    version: int = 0
    near: list[Memory] = field(default_factory=list)
    lost: Location | bool = False

    def write(self, graph: Graph, steps: Sequence[Step], value: Value) -> None:
        """Replace the contents of the view at the end of `steps`."""
        bases = [Value(graph, self.node)]
        for step in steps[:-1]:
            bases.append(step.view(bases[-1]))
        for base, step in zip(reversed(bases), reversed(steps), strict=False):
            value = step.put(base, value)
        self.node = value.node
        self.version += 1
        self._spoil_near()

    def _spoil_near(self) -> None:
        seen: list[Memory] = [self]
        for memory in seen:
            seen += [other for other in memory.near if other not in seen]
        for other in seen[1:]:
            other.lost = user_location() or True


@dataclass(eq=False)
class Place:
    """Where a traced value lies: its memory, the way from there, and the version last read."""

    memory: Memory
    steps: tuple[Step, ...] = ()
    version: int = 0

    def then(self, step: Step) -> Place:
        """The place of a view of what lies here."""
        return Place(self.memory, (*self.steps, step), self.memory.version)

    def apart(self, node: Node) -> Place:
        """The place of `node`, which may or may not be a view of what lies here."""
        other = Memory(node, self.memory.is_argument)
        self.memory.near.append(other)
        other.near.append(self.memory)
        return Place(other)

    def read(self, graph: Graph) -> Node:
        """What lies here now."""
        self.check()
        value = Value(graph, self.memory.node)
        for step in self.steps:
            value = step.view(value)
        self.version = self.memory.version
        return value.node

    def check(self) -> None:
        """Raise where nobody knows what lies here.

        Raises:
            UnsupportedError: with a way out.
        """
        if self.memory.lost:
            where = f" at {self.memory.lost}" if isinstance(self.memory.lost, Location) else ""
            raise UnsupportedError(
                "in-place",
                f"a value is read after a write in place{where} to another one that may or may "
                "not share its memory: reshape and its kin give a view of some arrays and a copy "
                "of others",
                hint="say which: x.view(...) for a view, x.clone() or x.copy() for a copy",
            )


def prepared(
    symbol: str, before: Value, after: Value, *, converts: bool = False, stretches: bool = False
) -> Value:
    """What a write puts in the place of `before`: `after`, of its shape and dtype.

    Args:
        symbol: as the user wrote it: `+=`.
        converts: whether a write may lose kind, as `x[0] = 1.5` does for integers.
        stretches: whether `after` is broadcast.

    Raises:
        ShapeError, DTypeError: where shape or dtype would change.
    """
    if stretches:
        after = stretched(symbol, after, before.sizes)
    if after.sizes != before.sizes:
        raise ShapeError(
            f"{symbol} would change the shape {format_shape(before.sizes)} to "
            f"{format_shape(after.sizes)}",
            hint="write x = x + y",
        )
    if not converts and "bif".index(after.element.kind) > "bif".index(before.element.kind):
        raise DTypeError(
            f"{symbol} would change the dtype {before.element} to {after.element}",
            hint="convert first, or write x = x + y",
        )
    return cast(after, before.element)


def stretched(symbol: str, x: Value, shape: Shape) -> Value:
    """What is written, broadcast to what it replaces.

    Raises:
        ShapeError: where it does not fit.
    """
    while x.ndim > len(shape) and x.sizes[0] == 1:
        x = reshape(x, x.sizes[1:])
    message = f"{symbol}: {x.node.type} does not fit into {format_shape(shape)}"
    hint = "what is written must broadcast to the elements that it replaces"
    if x.ndim > len(shape):
        raise ShapeError(message, hint=hint)
    if broadcast_shapes(symbol, x.sizes, shape, x.graph.hints) != tuple(shape):
        raise ShapeError(message, hint=hint)
    return broadcast_to(x, shape)


# -- the primitives that are views ---------------------------------------------------------------


def step_of(op: str, attrs: Mapping[str, Any]) -> Step | None:
    """The primitive `op` as a view of its operand; None where it is none."""
    put = _PUTS.get(op)
    if put is None:
        return None
    key = (op, *sorted(attrs.items()))
    return Step(key, lambda x: x.apply(op, **attrs), partial(put, **attrs))


def _put_permute(base: Value, new: Value, order: tuple[int, ...]) -> Value:
    return new.apply("permute", order=tuple(int(i) for i in np.argsort(order)))


def _put_reshape(base: Value, new: Value, shape: Shape) -> Value:
    return new.apply("reshape", shape=base.sizes)


def _put_broadcast(base: Value, new: Value, shape: Shape, dims: tuple[int, ...]) -> Value:
    if numel(shape) != numel(base.sizes):
        raise UnsupportedError(
            "in-place",
            f"elements of {format_shape(shape)} share memory (expand, broadcast_to), so they "
            "cannot be written one by one",
            hint="make a copy first: x.expand(...).clone() or np.broadcast_to(...).copy()",
        )
    return new.apply("reshape", shape=base.sizes)


def _put_slice(base: Value, new: Value, axis: int, start: int, step: int, length: Size) -> Value:
    size = base.sizes[axis]
    wide = new.apply("embed", axis=axis, start=start, step=step, length=size)
    if length == size:
        return wide
    return positions(base, axis, start, step, length).apply("where", wide, base)


def positions(like: Value, axis: int, start: int, step: int, length: Size) -> Value:
    """Bools of the shape of `like`: whether a slice of `axis` holds the element."""
    size = like.sizes[axis]
    place = iota(like, size)
    if step == 1:
        held = place.apply("ge", _number(place, start))
        if isinstance(size, Dim) or isinstance(length, Dim) or start + length < size:
            held = held.apply("logical_and", place.apply("lt", _number(place, start + length)))
    else:
        ones = place.scalar(True, bool_).apply("broadcast", shape=(length,), dims=())
        held = ones.apply("embed", axis=0, start=start, step=step, length=size)
    return held.apply("broadcast", shape=like.sizes, dims=(axis,))


def _number(like: Value, size: Size) -> Value:
    """`size` as int64s of the shape of `like`."""
    if isinstance(size, Dim):
        one = Value(like.graph, like.graph.add("size", size=size))
    else:
        one = like.scalar(size, like.element)
    return one.apply("broadcast", shape=like.sizes, dims=())


def _put_stopped(base: Value, new: Value) -> Value:
    raise UnsupportedError(
        "in-place",
        "a write through detach() or .data changes a value behind the back of differentiation, "
        "which is not supported",
        hint="write to the value itself, or make a copy: x.detach().clone()",
    )


_PUTS: Mapping[str, Callable[..., Value]] = {
    "permute": _put_permute,
    "reshape": _put_reshape,
    "broadcast": _put_broadcast,
    "slice": _put_slice,
    "stop_gradient": _put_stopped,
}
