"""Where a value lies in memory: a strided view of a buffer, through movement ops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from graphir.graph import Node
from graphir.sizes import Dim, Shape, Size, divide, numel

from .program import Binding, Buffer

# Sizes that a kernel computes for itself at the start of each step of a batch loop.
START = Dim.symbol("start")  # the first row of the batch
STEP = Dim.symbol("step")  # the step's number


@dataclass(frozen=True)
class ViewDim:
    """One dimension: element i lies at `stride * ((i - shift) / step)`.

    `rows` marks the dimension that a batch loop walks, of whose rows element i is number
    `first + i * by`; `length` bounds what `embed` placed.
    """

    stride: Size
    rows: bool = False
    first: int = 0
    by: int = 1
    shift: int = 0
    step: int = 1
    length: Size | None = None

    @property
    def plain(self) -> bool:
        """Whether the dimension is a stride and nothing else."""
        return not self.rows and self.length is None


@dataclass(frozen=True)
class View:
    """A value in memory, one ViewDim for each of its dimensions."""

    buffer: Buffer
    dims: tuple[ViewDim, ...]
    offset: Size = 0


def row_major(shape: Shape) -> list[Size]:
    """The strides of a C-contiguous array, in elements."""
    return [numel(shape[i + 1 :]) for i in range(len(shape))]


def _whole(buffer: Buffer, shape: Shape) -> View:
    dims = [ViewDim(stride) for stride in row_major(shape)]
    if buffer.binding is Binding.ROWS:
        dims[0] = replace(dims[0], rows=True)
        return View(buffer, tuple(dims))
    if buffer.binding is Binding.STEP:
        return View(buffer, (), STEP)
    return View(buffer, tuple(dims))


def view(node: Node, stored: Mapping[Node, Buffer]) -> View | None:
    """The view that `node` is, or None where it is not (a view of something) in memory."""
    if node in stored:
        return _whole(stored[node], node.shape)
    if node.op not in ("broadcast", "permute", "reshape", "slice", "embed"):
        return None
    source = view(node.inputs[0], stored)
    if source is None:
        return None
    match node.op:
        case "broadcast":
            dims = [ViewDim(0)] * node.ndim
            for i, place in enumerate(node.attrs["dims"]):
                dims[place] = source.dims[i]
            return View(source.buffer, tuple(dims), source.offset)
        case "permute":
            return View(
                source.buffer, tuple(source.dims[i] for i in node.attrs["order"]), source.offset
            )
        case "reshape":
            return _reshaped(node, source)
        case "slice":
            return _sliced(node, source)
        case _:
            return _embedded(node, source)


def _reshaped(node: Node, source: View) -> View | None:
    """Dimensions are split, and joined where memory has them side by side."""
    old = [(s, d) for s, d in zip(node.inputs[0].shape, source.dims, strict=True) if s != 1]
    places = [j for j, s in enumerate(node.shape) if s != 1]
    dims = [ViewDim(0)] * node.ndim
    while old:
        taken, filled = [old.pop(0)], [places.pop(0)]
        have, want = taken[0][0], node.shape[filled[0]]
        while have != want:
            if old and (not places or _precedes(have, want)):
                taken.append(old.pop(0))
                have = have * taken[-1][0]
            elif places:
                filled.append(places.pop(0))
                want = want * node.shape[filled[-1]]
            else:
                return None
        if len(taken) == len(filled) == 1:
            dims[filled[0]] = taken[0][1]
            continue
        if not _side_by_side(taken):
            return None
        stride = taken[-1][1].stride
        for j in reversed(filled):
            dims[j] = ViewDim(stride)
            stride = stride * node.shape[j]
    return View(source.buffer, tuple(dims), source.offset)


def _precedes(have: Size, want: Size) -> bool:
    """Whether `have` needs more factors to become `want`."""
    if isinstance(have, int) and isinstance(want, int):
        return have < want
    return divide(want, have) is not None


def _side_by_side(taken: Sequence[tuple[Size, ViewDim]]) -> bool:
    """Whether dimensions are one run of memory with a single stride."""
    return all(dim.plain for _, dim in taken) and all(
        left.stride == right.stride * size for (_, left), (size, right) in pairwise(taken)
    )


def _sliced(node: Node, source: View) -> View | None:
    axis, start, step = (node.attrs[k] for k in ("axis", "start", "step"))
    dim = source.dims[axis]
    dims = list(source.dims)
    if dim.rows:
        dims[axis] = replace(dim, first=dim.first + start * dim.by, by=dim.by * step)
        return View(source.buffer, tuple(dims), source.offset)
    if not dim.plain:
        return None
    dims[axis] = ViewDim(dim.stride * step)
    return View(source.buffer, tuple(dims), source.offset + dim.stride * start)


def _embedded(node: Node, source: View) -> View | None:
    axis, start, step = (node.attrs[k] for k in ("axis", "start", "step"))
    dim = source.dims[axis]
    if not dim.plain:
        return None
    dims = list(source.dims)
    dims[axis] = ViewDim(dim.stride, shift=start, step=step, length=node.inputs[0].shape[axis])
    return View(source.buffer, tuple(dims), source.offset)
