"""What the scheduler knows of a target: limits and block sizes, never a device or a measurement."""

from __future__ import annotations

from dataclasses import dataclass


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


# A CPU core: a block of 64 rows or more keeps its tiles within L2; weights may be re-read from
# L2/L3, so the limits are generous.
CPU = Machine("c", False, 1 << 22, 1 << 23, 1 << 16, 1 << 10, (16, 256), 0, 64)

# A GPU program: weights and accumulators live in registers and shared memory. With more rows a
# block, products at float32 accuracy spill: 64 rows of 64 on sm_90 did, 32 did not.
GPU = Machine("triton", True, 1 << 14, 1 << 15, 1 << 11, 1 << 13, (16, 256), 16, 0)
