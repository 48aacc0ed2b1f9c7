"""A traced value that lies somewhere: views share memory with it, and what is written in place is
seen under its other names. `in_place.py` keeps that memory."""

from __future__ import annotations

from typing import Any

from .errors import UnsupportedError
from .graph import Graph, Node
from .in_place import Memory, Place, Step, prepared, step_of
from .value import Value


class PlacedValue(Value):
    """A Value in memory, which has views and can be written.

    Attributes:
        flavour: "torch" or "numpy": whose methods, dtypes and rules of products it has.
        place: where it lies, once it has views or is one, or was written.
    """

    __slots__ = ("place",)
    flavour = "numpy"

    def __init__(self, graph: Graph, node: Node, weak: bool = False) -> None:
        super().__init__(graph, node, weak)
        self.place: Place | None = None

    @property
    def node(self) -> Node:
        """The node that it is now, after what was written in place.

        Raises:
            UnsupportedError: where nobody knows what a write did to it.
        """
        place = self.place
        if place is not None:
            place.check()
            if place.version != place.memory.version:
                self._node = place.read(self.graph)
        return self._node

    def apply(self, op: str, *others: Value, weak: bool = False, **attrs: Any) -> Value:
        """The primitive `op`, as Value's; some give views."""
        result = super().apply(op, *others, weak=weak, **attrs)
        step = step_of(op, attrs)
        return result if step is None else self._then(step, result)

    def viewed(self, step: Step) -> Value:
        """A view of this value."""
        return self._then(step, step.view(self))

    def _then(self, step: Step, result: Value) -> Value:
        assert isinstance(result, PlacedValue)
        result.place = self.located().then(step)
        return result

    def located(self) -> Place:
        """Where it lies."""
        if self.place is None:
            self.place = Place(Memory(self._node, self._node.op == "input"))
        return self.place

    def apart(self) -> Value:
        """The same value in memory that may or may not be the same."""
        other = self.copied()
        assert isinstance(other, PlacedValue)
        other.place = self.located().apart(self.node)
        return other

    def is_at(self, place: Place | None) -> bool:
        """Whether that is where it lies."""
        mine = self.place
        if mine is None or place is None:
            return False
        return mine.memory is place.memory and mine.steps == place.steps

    def shares(self, other: Value) -> bool:
        """Whether both lie in one memory."""
        if self is other:
            return True
        mine, others = self.place, getattr(other, "place", None)
        return mine is not None and others is not None and mine.memory is others.memory

    # -- writing in place -----------------------------------------------------------------------

    def write(
        self, symbol: str, new: Value, *, converts: bool = False, stretches: bool = False
    ) -> Value:
        """`new` in the place of this value, whose other names and views see it.

        Returns:
            This value; or `new`, where this one is a number, which nothing shares.

        Raises:
            ShapeError, DTypeError: where shape or dtype would change (see `in_place.prepared`).
            UnsupportedError: for elements that share memory.
        """
        if self._is_number():
            return new
        value = prepared(symbol, self, new, converts=converts, stretches=stretches)
        place = self.located()
        if place.memory.node in self.graph.captured:
            raise UnsupportedError(
                "in-place",
                f"{symbol} would write a traced value in place into an array that is not traced "
                "(out=, +=, add_, x[i] = y)",
                hint="make a new value, total = total + x; or make the array in the trace, with "
                "np.zeros_like(x), torch.zeros_like(x) or x.new_zeros(shape)",
            )
        place.memory.write(self.graph, place.steps, value)
        return self

    def _is_number(self) -> bool:
        """Whether it is a number: NumPy's 0-d results are, but for arguments and views."""
        if self.weak or self.flavour == "torch" or self.ndim:
            return self.weak
        place = self.located()
        return not place.steps and not place.memory.is_argument
