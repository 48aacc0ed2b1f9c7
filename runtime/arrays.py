"""What users pass in and get back: NumPy arrays, torch tensors and Python numbers."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import optree

from graphir.errors import DTypeError, GraphirError
from graphir.frontend.torch_arrays import as_tensor, check_dense, has_its_numbers
from graphir.frontend.torch_names import is_tensor as is_tensor
from graphir.graph import Graph
from graphir.trees import NAMESPACE, flatten, is_unknown_tree

from .executable import Backend, Memory


def is_array(x: object) -> bool:
    """Whether `x` has a shape and a dtype of its own, as arrays, NumPy's scalars and tensors do."""
    return isinstance(x, (np.ndarray, np.generic)) or is_tensor(x)


def leaves_of(tree: Any) -> tuple[list[Any], Any]:
    """The leaves of a tree of arguments, and its structure."""
    leaves, structure = optree.tree_flatten(tree, namespace=NAMESPACE)
    if any(map(is_unknown_tree, leaves)):
        # Its class is met for the first time: this makes it known as a tree.
        leaves, _, structure = flatten(tree, "args")
    return leaves, structure


def signature(x: Any) -> Hashable:
    """All that compiled code may depend on, but for the sizes: kind, dtype and device.

    Raises:
        DTypeError: for what is neither an array, a tensor nor a number.
    """
    if isinstance(x, np.ndarray):
        dtype: Hashable = x.dtype
        return dtype
    if is_tensor(x):
        return x.dtype, x.device
    if type(x) in (float, int, bool) or isinstance(x, np.generic):
        return type(x).__name__
    raise DTypeError(
        f"an argument must be an array, a tensor or a number (or a tree of them), "
        f"got {type(x).__name__}",
        hint="close over settings that are no numbers, or pass them with functools.partial",
    )


def call_key(structure: Hashable, leaves: Sequence[Any]) -> tuple[Hashable, ...] | None:
    """All that a call depends on besides the contents of its arguments.

    None where an argument is of another kind than plain arrays, tensors and numbers.
    """
    torch = sys.modules.get("torch")
    key: list[Any] = [structure]
    for x in leaves:
        kind = type(x)
        if kind is np.ndarray:
            flags = x.flags
            key.append((x.dtype, x.shape, flags.c_contiguous and flags.aligned))
        elif torch is not None and (kind is torch.Tensor or kind is torch.nn.Parameter):
            # Asked here, and not there, since every call comes this way.
            if x.layout is not torch.strided or x.is_nested:
                check_dense(x)
            plain = has_its_numbers(x)
            key.append((x.dtype, x.shape, x.is_cpu or x.device, plain, x.requires_grad))
        elif kind is float or kind is int or kind is bool:
            key.append(kind)
        elif isinstance(x, np.generic):
            key.append((kind, "scalar"))
        else:
            return None
    return tuple(key)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape; a number has none."""
    return tuple(x.shape) if is_array(x) else ()


def to_memory(x: Any, dtype: np.dtype[Any], backend: Backend) -> Memory:
    """`x` as memory of `backend`; a number becomes a 0-d array of `dtype`."""
    return backend.upload(x if isinstance(x, np.ndarray) or is_tensor(x) else np.asarray(x, dtype))


def to_user(memory: Memory, *, tensor: bool) -> Any:
    """Memory as what the user works with: a tensor or a NumPy array, on the same bytes."""
    if tensor and isinstance(memory, np.ndarray):
        return as_tensor(memory)
    return memory


def check_ranges(graph: Graph, arrays: Iterable[Any]) -> None:
    """Check the graph's promises about index arguments.

    Args:
        arrays: one for each of the graph's inputs, in order.

    Raises:
        GraphirError: naming the argument and the place of the first index outside.
    """
    given = list(arrays)
    for promise in graph.ranges:
        if promise.node.op != "input":
            continue
        array = given[promise.node.attrs["index"]]
        if 0 in array.shape:
            continue
        if promise.low <= int(array.min()) and int(array.max()) < promise.high:
            continue
        values = np.asarray(array.cpu() if is_tensor(array) else array)
        outside = (values < promise.low) | (values >= promise.high)
        if promise.ignored is not None:
            outside &= values != promise.ignored
            if not outside.any():
                continue
        place = tuple(int(i) for i in np.argwhere(outside)[0])
        where = graph.names[promise.node] + (f"[{', '.join(map(str, place))}]" if place else "")
        raise GraphirError(
            f"`{where}`: index {values[place]} is out of range: "
            f"{promise.low} <= index < {promise.high}",
            hint="check the labels or ids, e.g. that they count from 0",
            location=promise.location,
        )
