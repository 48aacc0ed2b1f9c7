"""What the scheduler knows of a target: limits and block sizes, never a device or a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from graphir.errors import BackendError

KIB = 1024
Precision = Literal["highest", "high", "medium"]
PRECISIONS: tuple[Precision, ...] = ("highest", "high", "medium")
"""How exactly float32 products are summed on a matrix unit, with torch's meaning: to float32's
own accuracy, of operands rounded to 10 bits (tf32), or to 7 (bfloat16)."""


def check_precision(precision: object) -> None:
    """Raise BackendError for what is none of the names in PRECISIONS."""
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise BackendError(
            f"there is no precision {precision!r}", hint=f"use one of {', '.join(PRECISIONS)}"
        )


@dataclass(frozen=True)
class Rates:
    """What a GPU's maker gives for products of dense matrices, in operations a second.

    Attributes:
        float32: without rounding operands: on NVIDIA outside of the matrix unit.
        tf32, half, float64: of the matrix unit; `half` is float16 and bfloat16.
    """

    float32: float
    tf32: float
    half: float
    float64: float


@dataclass(frozen=True)
class Chip:
    """What its maker says of a GPU.

    Attributes:
        backend, arch, warp: Triton's names for the target: "cuda" or "hip", the architecture,
            threads of a warp.
        processors: multiprocessors (compute units).
        registers: of 32 bits, for all threads of a multiprocessor together.
        thread_registers: the most that one thread can have.
        shared_bytes: the most shared memory of one program.
        tensor_columns: of tensor memory; 0 where there is none.
        cache_bytes: of the last cache that all multiprocessors share.
        bandwidth: of the memory, in bytes a second.
        rates: of products of matrices.
        dots: how Triton names each of PRECISIONS for products of float32.
    """

    backend: str
    arch: int | str
    warp: int
    processors: int
    registers: int
    thread_registers: int
    shared_bytes: int
    tensor_columns: int
    cache_bytes: int
    bandwidth: float
    rates: Rates
    dots: tuple[str, str, str]

    @property
    def name(self) -> str:
        """As its maker calls it: sm_90, gfx942."""
        return f"sm_{self.arch}" if self.backend == "cuda" else str(self.arch)


@dataclass(frozen=True)
class Machine:
    """A target's limits.

    Attributes:
        name: for decisions and dumps.
        padded: tile axes are rounded up to powers of two and masked (Triton); else loops have
            exact bounds (C).
        tile_limit: elements of one value held whole in a kernel (weights, accumulators).
        kept_limit: elements of all accumulators of a kernel together.
        block_elements: elements of the widest tile of one stream block.
        light_elements: the same where no product of matrices reuses the block: small enough that
            reading the next rows overlaps with the second use of these.
        block_rows: bounds of the stream block.
        dot_size: smallest extent for which a contraction uses the matrix unit; 0 for none.
        vector_bytes: of a vector register; 0 where the target's compiler sees to it.
        accumulators: vector registers that a product may hold sums in; the rest hold operands.
        chip: the GPU, if it is one.
    """

    name: str
    padded: bool
    tile_limit: int
    kept_limit: int
    block_elements: int
    light_elements: int
    block_rows: tuple[int, int]
    dot_size: int
    vector_bytes: int
    accumulators: int = 0
    chip: Chip | None = None


def cpu(vector_bytes: int, registers: int) -> Machine:
    """A CPU core with so many vector registers of so many bytes.

    A block of 64 rows or more keeps its tiles within L2; weights may be re-read from L2/L3, so
    the limits are generous.
    """
    accumulators = registers * 3 // 4
    return Machine(
        "c", False, 1 << 22, 1 << 23, 1 << 16, 1 << 10, (16, 256), 0, vector_bytes, accumulators
    )


AVX512, AVX2, SSE, NEON = cpu(64, 32), cpu(32, 16), cpu(16, 16), cpu(16, 32)
CPU = AVX512  # what kernels are planned for where no processor is asked about

_NVIDIA = ("tf32x3", "tf32", "bf16")
# Data sheets of the A100, H100 (SXM), B200 and MI300X; AMD's matrix unit multiplies float32 itself.
SM_80 = Chip(
    "cuda", 80, 32, 108, 1 << 16, 255, 163 * KIB, 0, 40 << 20, 2.0e12,
    Rates(19.5e12, 156e12, 312e12, 19.5e12), _NVIDIA,
)  # fmt: skip
SM_90 = Chip(
    "cuda", 90, 32, 132, 1 << 16, 255, 227 * KIB, 0, 50 << 20, 3.35e12,
    Rates(67e12, 494e12, 989e12, 67e12), _NVIDIA,
)  # fmt: skip
SM_100 = Chip(
    "cuda", 100, 32, 148, 1 << 16, 255, 227 * KIB, 512, 126 << 20, 8.0e12,
    Rates(75e12, 1100e12, 2250e12, 37e12), _NVIDIA,
)  # fmt: skip
GFX942 = Chip(
    "hip", "gfx942", 64, 304, 1 << 17, 512, 64 * KIB, 0, 256 << 20, 5.3e12,
    Rates(163e12, 654e12, 1307e12, 163e12), ("ieee", "tf32", "bf16"),
)  # fmt: skip
CHIPS = {chip.name: chip for chip in (SM_80, SM_90, SM_100, GFX942)}


def chip_of(backend: str, arch: int | str) -> Chip:
    """The row of a chip; for one that has none, of a known one with the least that any has."""
    for chip in CHIPS.values():
        if (chip.backend, chip.arch) == (backend, arch):
            return chip
    if backend == "cuda":
        return replace(SM_80, arch=arch, shared_bytes=99 * KIB)
    warp = 64 if str(arch).startswith("gfx9") else 32
    return replace(
        GFX942, arch=arch, warp=warp, thread_registers=256, dots=("ieee", "ieee", "bf16")
    )


def halved(machine: Machine, times: int) -> Machine:
    """A machine whose kernels hold half as much, so many times over: there are more of them."""
    return replace(
        machine, tile_limit=machine.tile_limit >> times, kept_limit=machine.kept_limit >> times
    )


@dataclass(frozen=True)
class Target:
    """What a graph is planned for.

    Attributes:
        machine: with its limits halved as often as is asked for.
        precision: of products of float32 on a matrix unit.
        halvings: how often the limits were halved.
        choices: for kernels by name, which of their choices of blocks to take; by default the
            first.
    """

    machine: Machine
    precision: Precision = "highest"
    halvings: int = 0
    choices: Mapping[str, int] = field(default_factory=dict)


def gpu(chip: Chip) -> Machine:
    """A GPU's programs: weights and accumulators live in registers and shared memory."""
    # With more rows a block, products at float32 accuracy spill: 64 rows of 64 on sm_90 did.
    return Machine("triton", True, 1 << 14, 1 << 15, 1 << 11, 1 << 13, (16, 1024), 16, 0, chip=chip)


# Where a kernel is only read, or interpreted.
GPU = gpu(SM_90)
