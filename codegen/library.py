"""Products that are left to torch: which ones may be, and whether that is faster.

A kernel that only multiplies two matrices in memory is still printed as every kernel is; beside it
stands what `torch.mm` would be given for the same result, and the runtime calls that. What would
else be fused into the product's kernel then reads the product from memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from graphir.dtypes import DType, float32
from graphir.graph import Graph, Node
from graphir.opdef import Kind
from graphir.sizes import Size

from .axes import AxisMap
from .fusion import Attempt
from .machine import Chip, Precision, Target
from .narrow import Edge, narrow_edges
from .program import Binding, Buffer, Decision
from .tile import LibraryProduct, Matrix, Store, TileKernel
from .uses import is_matrix_product
from .views import row_major, view

# Shares of the maker's rate that large products reach: published measurements of cuBLAS lie from
# 0.7 to 0.85, of plain Triton kernels (no TMA, no persistent programs) from 0.5 to 0.7.
_LIBRARY_REACHES, _GENERATED_REACHES = 0.8, 0.6
_WORTH = 0.9  # of the generated time: the shares are known no better than that
_LAUNCH = 2.5e-6  # seconds from one kernel to the next
_LEAST = 512  # of each side of a product: with less there are too few blocks for those shares
_ASSUMED = 4096  # of a size that is known when the kernel runs


@dataclass(frozen=True)
class Candidate:
    """A product that the library could do.

    Attributes:
        product: the contraction.
        result: what is written: the product, or the product rounded to its operands' 16 bits.
        left, right: operands in memory, as matrices of the result's rows and columns.
        sizes: rows, summed, columns.
    """

    product: Node
    result: Node
    left: Matrix
    right: Matrix
    sizes: tuple[Size, Size, Size]


def leave_to_library(
    attempt: Attempt,
    needed: Sequence[Node],
    graph: Graph,
    axes: AxisMap,
    stored: Mapping[Node, Buffer],
    target: Target,
) -> tuple[Attempt, Decision | None]:
    """The kernel of a large product without all else that it could take, where torch does the
    product so much faster that it is worth it; and what to tell, where there was a choice."""
    taken = [n for n in needed if n in attempt.stage and n not in stored]
    products = [n for n in taken if n.kind is Kind.CONTRACTION]
    chip, precision = target.machine.chip, target.precision
    # AMD's library adds some products up in an order that changes from run to run.
    if chip is None or chip.backend != "cuda" or len(products) != 1:
        return attempt, None
    found = _candidate(products[0], attempt, set(needed), graph, axes, stored, precision)
    if found is None or any(_size(s) < _LEAST for s in found.sizes):
        return attempt, None
    kept = _made_of(found.result, stored)
    others = [n for n in taken if n not in kept]
    fuses = any(
        n in attempt.asked or (n.kind is not Kind.SOURCE and not axes.is_alias(n)) for n in others
    )
    wins, why = _compare(found, fuses, chip, precision)
    told = Decision("product", f"%{found.product.id} = contract", why)
    if not wins:
        return attempt, told
    stage = {n: s for n, s in attempt.stage.items() if n not in others}
    refused = dict.fromkeys(others, f"%{found.product.id} is left to torch.mm")
    alone = replace(
        attempt, stage=stage, refused={**attempt.refused, **refused},
        waiting=attempt.waiting.union(others), product=found,
    )  # fmt: skip
    return alone, told


def library_product(
    candidate: Candidate, kernel: TileKernel, precision: Precision
) -> LibraryProduct | None:
    """All that `kernel` does as a call of the library; None where it writes elsewhere too."""
    stores = [s for s in kernel.statements() if isinstance(s, Store)]
    if len(stores) != 1:
        return None
    rows, _, columns = candidate.sizes
    first, second = row_major(candidate.result.shape)
    out = Matrix(stores[0].address.buffer, (rows, columns), (first, second))
    return LibraryProduct(candidate.left, candidate.right, out, precision)


# -- which ones may be ------------------------------------------------------------------------


def _candidate(
    node: Node,
    attempt: Attempt,
    needed: Collection[Node],
    graph: Graph,
    axes: AxisMap,
    stored: Mapping[Node, Buffer],
    precision: Precision,
) -> Candidate | None:
    """The product as the library could do it: of two matrices in memory, with torch's result."""
    if not is_matrix_product(node) or set(attempt.walk.grid) != set(axes.of[node]):
        return None
    result = node
    edges = narrow_edges(node, axes, attempt.stage.keys() - stored.keys())
    if edges is not None:
        # torch rounds a product of 16 bits to those; its float32 cannot be had.
        users = [n for n in graph.users(node) if n in needed]
        if node in graph.outputs or len(users) != 1 or users[0].op != "cast":
            return None
        (result,) = users
        if result.dtype is not edges[0][0].inputs[0].dtype or result not in attempt.stage:
            return None
    elif node.dtype is float32 and precision == "medium":
        return None  # torch does not promise bfloat16's products there
    edges = edges or ((node, 0), (node, 1))
    if len(axes.of[node]) != 2 or len(axes.reduced(node)) != 1:
        return None  # an axis of one element is one more
    rows, columns = axes.of[node]
    (summed,) = axes.reduced(node)
    left, right = edges if rows in axes.ports[edges[0]] else edges[::-1]
    sides = (
        _matrix(left, (rows, summed), axes, stored),
        _matrix(right, (summed, columns), axes, stored),
    )
    if sides[0] is None or sides[1] is None:
        return None
    sizes = (axes.size[rows], axes.size[summed], axes.size[columns])
    return Candidate(node, result, sides[0], sides[1], sizes)


def _matrix(
    edge: Edge, dims: tuple[int, int], axes: AxisMap, stored: Mapping[Node, Buffer]
) -> Matrix | None:
    """An operand as a matrix of these axes; None where it is not one in memory, or one of whose
    sides the elements do not lie together along."""
    node, position = edge
    place, port = view(node.inputs[position], stored), axes.ports[edge]
    if place is None or place.buffer.binding is not Binding.WHOLE or sorted(port) != sorted(dims):
        return None
    along = dict(zip(port, place.dims, strict=True))
    strides = (along[dims[0]].stride, along[dims[1]].stride)
    if not all(d.plain and d.shift == 0 and d.step == 1 for d in place.dims):
        return None
    if 1 not in strides or 0 in strides:
        return None
    shape = (axes.size[dims[0]], axes.size[dims[1]])
    return Matrix(place.buffer.name, shape, strides, place.offset)


def _made_of(node: Node, stored: Mapping[Node, Buffer]) -> set[Node]:
    """`node`, and what it is made of that is not in memory."""
    found: set[Node] = set()
    stack = [node]
    while stack:
        x = stack.pop()
        if x not in found and x not in stored:
            found.add(x)
            stack += x.inputs
    return found


# -- whether it is faster ---------------------------------------------------------------------


def _size(size: Size) -> int:
    return size if isinstance(size, int) else _ASSUMED


def _compare(
    candidate: Candidate, fuses: bool, chip: Chip, precision: Precision
) -> tuple[bool, str]:
    """Whether torch is faster with the product, and the reason.

    Args:
        fuses: whether a generated kernel would do more than the product.
    """
    rows, summed, columns = map(_size, candidate.sizes)
    result = candidate.result
    width = result.dtype.itemsize
    flops = 2.0 * rows * summed * columns
    own, theirs = _rates(result.dtype, chip, precision)
    moved = width * (rows * summed + summed * columns + rows * columns) / chip.bandwidth
    generated = max(flops / (_GENERATED_REACHES * own), moved)
    library = max(flops / (_LIBRARY_REACHES * theirs), moved)
    if fuses:
        # Another kernel reads what this one writes.
        library += _LAUNCH + 2 * width * rows * columns / chip.bandwidth
    told = f"{1e6 * generated:.0f} µs generated, {1e6 * library:.0f} by torch.mm"
    if fuses:
        told += " and a kernel for what could be fused"
    if own != theirs:
        told += ", which multiplies float32 outside of the matrix unit"
    unknown = any(not isinstance(s, int) for s in candidate.sizes)
    told += f" (a size known at run time taken as {_ASSUMED})" if unknown else ""
    return library < _WORTH * generated, told


def _rates(dtype: DType, chip: Chip, precision: Precision) -> tuple[float, float]:
    """The chip's rates of a generated product and of torch's, in operations a second."""
    rates = chip.rates
    if dtype.itemsize == 2:
        return rates.half, rates.half
    if dtype.itemsize == 8:
        return rates.float64, rates.float64
    if precision == "high":
        return rates.tf32, rates.tf32
    # "highest": three products of tf32 in one; torch takes no part in such splitting.
    return max(rates.tf32 / 3, rates.float32), rates.float32
