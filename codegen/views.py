"""Where a value lies in memory: a strided view of a buffer, through movement ops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from graphir.graph import Node
from graphir.sizes import Dim, Shape, Size, numel

from .axes import same_up_to_ones
from .program import Binding, Buffer

# Sizes that a kernel computes for itself at the start of each step of a batch loop.
START = Dim.symbol("start")  # the first row of the batch
STEP = Dim.symbol("step")  # the step's number


@dataclass(frozen=True)
class ViewDim:
    """One dimension: element i lies at `stride * ((i - shift) / step)`.

    `rows` marks the dimension that a batch loop walks; `length` bounds what `embed` placed.
    """

    stride: Size
    rows: bool = False
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
    contiguous: bool = False


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
    return View(buffer, tuple(dims), 0, True)


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
    pairs = same_up_to_ones(node.inputs[0].shape, node.shape)
    if pairs is not None:
        dims = [ViewDim(0)] * node.ndim
        for i, j in pairs:
            dims[j] = source.dims[i]
        return View(source.buffer, tuple(dims), source.offset, source.contiguous)
    if not source.contiguous:
        return None
    strides = row_major(node.shape)
    return View(source.buffer, tuple(ViewDim(s) for s in strides), source.offset, True)


def _sliced(node: Node, source: View) -> View | None:
    axis, start, step = (node.attrs[k] for k in ("axis", "start", "step"))
    dim = source.dims[axis]
    if not dim.plain:
        return None
    dims = list(source.dims)
    dims[axis] = ViewDim(dim.stride * step)
    return View(source.buffer, tuple(dims), source.offset + dim.stride * start)


def _embedded(node: Node, source: View) -> View | None:
    axis, start, step = (node.attrs[k] for k in ("axis", "start", "step"))
    dim = source.dims[axis]
    if not dim.plain:
        return None
    dims = list(source.dims)
    dims[axis] = ViewDim(dim.stride, False, start, step, node.inputs[0].shape[axis])
    return View(source.buffer, tuple(dims), source.offset)
