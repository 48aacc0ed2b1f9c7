"""Triton text of a program: one module, with its kernels and the functions that they call.

Every decision was made before: from here on text is only spelled, a kernel by `triton_kernel.py`, a
statement by `triton_statements.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from graphir.graph import Node

from .program import Program, TritonModule
from .random_text import TRITON_RANDOM
from .triton_kernel import KernelPrinter

_HEADER = """import triton
import triton.language as tl
from triton.language.extra import libdevice
"""
# Triton's own maximum and minimum of a tile drop NaN.
_EXTREMUM = """
@triton.jit
def reduce_{name}(x, axis: tl.constexpr):
    nan = tl.max((x != x).to(tl.int32), axis)
    return tl.where(nan != 0, float("nan"), tl.{short}(x, axis))
"""
# Triton has no product of a tile.
_PRODUCT = """
@triton.jit
def multiply(x, y):
    return x * y


@triton.jit
def reduce_mul(x, axis: tl.constexpr):
    return tl.reduce(x, axis, multiply)
"""
# The programs of a cooperative grid wait for one another: `arrived` counts all that ever came.
_MEET = """
@triton.jit
def meet(arrived_ptr, expected):
    tl.debug_barrier()
    arrived = tl.atomic_add(arrived_ptr, 1, sem="acq_rel") + 1
    while arrived < expected:
        arrived = tl.atomic_add(arrived_ptr, 0, sem="acq_rel")
    tl.debug_barrier()
"""


def print_triton(program: Program) -> TritonModule:
    """The module that holds every kernel of `program`, and its launches in order."""
    return join_texts([KernelPrinter(program, kernel) for kernel in program.kernels])


def join_texts(printers: Sequence[KernelPrinter]) -> TritonModule:
    """The module of these kernels, with the functions that they call."""
    bodies = [p.text() for p in printers]
    helpers = "".join(
        _EXTREMUM.format(name=name, short=short)
        for name, short in (("maximum", "max"), ("minimum", "min"))
        if any(f"reduce_{name}(" in body for body in bodies)
    )
    if any("reduce_mul(" in body for body in bodies):
        helpers += _PRODUCT
    if any("random_bits(" in body for body in bodies):
        helpers += TRITON_RANDOM
    if any("meet(" in body for body in bodies):
        helpers += _MEET
    source = _HEADER + helpers + "".join("\n\n" + body for body in bodies)
    marks: list[Node | None] = [None] * (_HEADER + helpers).count("\n")
    for p in printers:
        marks += [None, None, *p.marks]
    scratch = tuple(dict.fromkeys(b for p in printers for b in p.scratch))
    return TritonModule(source, tuple(p.launch() for p in printers), scratch, tuple(marks))
