"""Products of large matrices by `torch.mm`, as exact as the program says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from graphir.codegen.machine import Precision
from graphir.codegen.tile import LibraryProduct, Matrix
from graphir.sizes import evaluate

if TYPE_CHECKING:
    import torch

# What torch may do to products of 16 bits for speed.
_ROUNDING = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)


def multiply(
    product: LibraryProduct, memory: Mapping[str, torch.Tensor], sizes: Mapping[str, int]
) -> None:
    """`out = left @ right`, in the memory that the program's buffers have.

    Args:
        memory: the buffers that the product names.
        sizes: the number behind each Dim.
    """
    import torch

    left, right, out = (
        _matrix(m, memory[m.buffer], sizes) for m in (product.left, product.right, product.out)
    )
    with _exactly(product.precision):
        torch.mm(left, right, out=out)


def _matrix(matrix: Matrix, memory: torch.Tensor, sizes: Mapping[str, int]) -> torch.Tensor:
    rows, columns = (evaluate(s, sizes) for s in matrix.shape)
    first, second = (evaluate(s, sizes) for s in matrix.strides)
    offset = memory.storage_offset() + evaluate(matrix.offset, sizes)
    return memory.as_strided((rows, columns), (first, second), offset)


@contextmanager
def _exactly(precision: Precision) -> Iterator[None]:
    """Sums in float32, and products of float32 as exact as asked for, whatever the process has
    chosen for its own."""
    import torch

    flags: Any = torch.backends.cuda.matmul
    wanted: dict[str, Any] = dict.fromkeys(_ROUNDING, False)
    # Two names for one thing: torch 2.9 and later refuse to be asked by the older one.
    if hasattr(flags, "fp32_precision"):
        wanted["fp32_precision"] = "ieee" if precision == "highest" else "tf32"
    else:
        wanted["allow_tf32"] = precision != "highest"
    had = {name: getattr(flags, name) for name in wanted if hasattr(flags, name)}
    changed = {name: value for name, value in had.items() if value != wanted[name]}
    for name in changed:
        setattr(flags, name, wanted[name])
    try:
        yield
    finally:
        for name, value in changed.items():
            setattr(flags, name, value)
