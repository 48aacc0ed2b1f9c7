"""`record`: define by run, in the style of MXNet's and TensorFlow's tapes.

with graphir.record() as tape:
    a = tape.watch(torch.tensor([1.0, 2.0]), "a")
    b = tape.watch(torch.tensor([3.0, 4.0]), "b")
    c = torch.sum(a * b)
    print(c)                       # <recorded f32() = 11.0>
    if c > 10:                     # its number is known: control flow works
        c = c * 2
da, db = tape.gradient(c, [a, b])
tape.backward(c)                   # now a.grad and b.grad hold them
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .differentiate import gradients
from .dtypes import dtype_of
from .errors import GraphirError, TraceError
from .evaluate import check_range, compute
from .frontend.torch_arrays import as_array, as_tensor
from .frontend.torch_names import is_tensor
from .graph import Graph, Node
from .opdef import Array
from .tracer import Tracer, is_array, own_attributes
from .trees import flatten, unflatten
from .value import Value


class Recorded(Tracer):
    """A value on a tape: a traced value whose number is known at once."""

    __slots__ = ()
    tape: Tape

    def apply(self, op: str, *others: Value, weak: bool = False, **attrs: Any) -> Value:
        """The primitive `op`, recorded and computed.

        Raises:
            TraceError: after the recording has ended.
        """
        if not self.tape.is_recording:
            raise TraceError(
                f"{op}: the recording of {self!r} has ended",
                hint="compute inside the `with` block, or take the number: x.value",
            )
        result = super().apply(op, *others, weak=weak, **attrs)
        self.tape.array_of(result.node)
        self.tape.check_ranges()
        return result

    @property
    def value(self) -> Any:
        """The array or tensor behind it, the caller's own."""
        array = np.array(self.tape.array_of(self.node))
        return as_tensor(array).to(self.device) if self.flavour == "torch" else array

    @property
    def grad(self) -> Any:
        """What the last `tape.backward` found for it; None before, and for what it did not."""
        return self.tape.grads.get(self.node)

    def numpy(self) -> Array:
        """The array behind it."""
        return np.array(self.tape.array_of(self.node))

    def item(self) -> Any:
        """The number behind a single element."""
        return self.numpy().item()

    def tolist(self) -> Any:
        """The numbers as nested lists."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __bool__(self) -> bool:
        return bool(self.numpy())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self.numpy().__index__()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    def __repr__(self) -> str:
        text = np.array2string(self.numpy(), threshold=20, separator=", ")
        return f"<recorded {self.node.type} = {text}>"


class TorchRecorded(Recorded):
    """A Recorded with the methods of a torch tensor."""

    __slots__ = ()
    flavour = "torch"


class Tape:
    """What was computed in one `with graphir.record()`.

    Attributes:
        graph: all of it, as a Graph.
        grads: what `backward` found, by node.
    """

    def __init__(self) -> None:
        self.graph = Graph()
        self.grads: dict[Node, Any] = {}
        self.is_recording = True
        self._arrays: dict[Node, Array] = {}
        self._watched: list[Recorded] = []
        self._promises = 0

    def watch(self, x: Any, name: str | None = None) -> Any:
        """`x`, an array, tensor or number, as a recorded value: an argument of the graph.

        Raises:
            GraphirError: for what is no array, or a name that is taken.
        """
        if not (is_array(x) or isinstance(x, (bool, int, float, np.generic))):
            raise GraphirError(
                f"watch takes an array, a tensor or a number, got {type(x).__name__}",
                hint="watch the arrays inside, one by one",
            )
        label = name if name is not None else f"x{len(self.graph.inputs)}"
        if label in self.graph.names.values():
            raise GraphirError(f"there is an input `{label}` already")
        tensor = is_tensor(x)
        array = np.array(as_array(x) if tensor else x)
        weak = not is_array(x)
        dtype = dtype_of(type(x) if isinstance(x, (bool, int, float)) else array.dtype)
        node = self.graph.add_input(array.shape, dtype, label, weak=weak)
        self._arrays[node] = array.astype(dtype.numpy)
        value = self._type(tensor, x.device if tensor else "cpu")(self.graph, node, weak)
        self._watched.append(value)
        return value

    def output(self, *values: Value) -> Graph:
        """The graph, with `values` as its results."""
        self.graph.outputs = [x.node for x in values]
        return self.graph

    def gradient(self, target: Any, sources: Any) -> Any:
        """The derivative of the scalar `target` by each of `sources`, a tree of recorded values.

        The results are recorded too: inside the block they can be differentiated again.

        Raises:
            ShapeError, DTypeError: where `target` is no floating scalar, or a source an integer.
        """
        leaves, _, tree = flatten(sources, "sources")
        for x in (target, *leaves):
            if not isinstance(x, Recorded) or x.tape is not self:
                raise GraphirError(
                    f"a gradient is of and by values that this tape recorded, got {x!r}",
                    hint="a = tape.watch(a) first, then compute with it",
                )
        with self._reopened():
            return unflatten(tree, gradients(target, leaves))

    def backward(self, target: Any) -> None:
        """Write the derivative of the scalar `target` by each floating value that is watched
        into its `grad`, as arrays or tensors."""
        leaves = [x for x in self._watched if x.element.is_float]
        self.grads = {
            x.node: g.value for x, g in zip(leaves, self.gradient(target, leaves), strict=True)
        }

    def array_of(self, node: Node) -> Array:
        """The array behind a node."""
        if node not in self._arrays:
            if node in self.graph.captured:
                held = self.graph.captured[node]
                array = np.array(as_array(held) if is_tensor(held) else held)
            else:
                operands = [self.array_of(x) for x in node.inputs]
                with np.errstate(all="ignore"):
                    array = compute(node, {}, operands)
            self._arrays[node] = np.asarray(array, node.dtype.numpy)
        return self._arrays[node]

    def check_ranges(self) -> None:
        """Check the indices that were promised since the last time.

        Raises:
            GraphirError: for the first that is out of range.
        """
        promises, self._promises = self.graph.ranges[self._promises :], len(self.graph.ranges)
        for promise in promises:
            name = self.graph.names.get(promise.node, f"%{promise.node.id}")
            check_range(promise, self.array_of(promise.node), name)

    @contextmanager
    def _reopened(self) -> Iterator[None]:
        before, self.is_recording = self.is_recording, True
        try:
            yield
        finally:
            self.is_recording = before

    def _type(self, tensor: bool, device: Any) -> type[Recorded]:
        base = TorchRecorded if tensor else Recorded
        return type(base.__name__, (base,), {**own_attributes(device), "tape": self})


@contextmanager
def record() -> Iterator[Tape]:
    """A scope in which what is computed with watched values is recorded, and known at once."""
    tape = Tape()
    try:
        yield tape
    finally:
        tape.is_recording = False
