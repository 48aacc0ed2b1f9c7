"""How threads of a C call share a step: one finishes it for all, or each for itself.

A step ends with the join of the threads' partial sums and the update of the parameters. Where one
thread does both, the others wait for it, and then fetch the new parameters from its cache. Where
the parameters are small, each thread joins and updates a copy of its own, in the same order and so
to the same bits: the step needs one barrier instead of two, and nobody waits.
"""

from __future__ import annotations

from math import prod

from .program import Binding, Buffer, Program
from .tile import Store

# What every thread writes again in each step should stay within its share of the caches.
_OWN_BYTES = 1 << 19


def own_buffers(program: Program) -> tuple[Buffer, ...] | None:
    """The buffers of which each thread keeps a copy for the length of a call.

    Returns:
        None where one thread finishes each step for all.
    """
    if program.loop is None or len(program.kernels) != 1:
        return None
    (kernel,) = program.kernels
    if kernel.stream is None or kernel.grid or not kernel.accumulators or not kernel.epilogue:
        return None
    carried = [program.buffers[position] for _, position in program.loop.carry]
    names = {b.name for b in carried}
    inside = (*kernel.preamble, *kernel.body)
    if any(isinstance(s, Store) and s.address.buffer in names for s in inside):
        return None
    if any(b.binding is not Binding.WHOLE for b in carried):
        return None
    size = sum(buffer_bytes(b) for b in carried)
    return tuple(carried) if 0 < size <= _OWN_BYTES else None


def buffer_bytes(buffer: Buffer) -> int:
    """Bytes of a buffer whose sizes are all known; more than any limit where one is not."""
    sizes = [s for s in buffer.shape if isinstance(s, int)]
    if len(sizes) != len(buffer.shape):
        return _OWN_BYTES + 1
    return prod(sizes) * buffer.dtype.itemsize
