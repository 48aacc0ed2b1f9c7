"""C text of a program: one translation unit, whose entry runs the steps of a call."""

from __future__ import annotations

from graphir.dtypes import float32, float64

from .blocking import lower_loops
from .c_kernel import KernelPrinter
from .c_math import math_prelude, used_functions
from .c_runtime import ENTRY, RUNTIME
from .c_vector import vector_prelude
from .c_work import WorkPrinter
from .order_text import C_ORDER
from .program import C_ENTRY, Program
from .resident import choose_residents
from .sharing import own_buffers

# Few headers: reading <math.h> alone took a tenth of the time to build a small program.
_HEADER = """#include <stddef.h>
#include <stdint.h>

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define PARAMETERS void *const *buffers, const int64_t *sizes, int64_t step, int32_t thread, \\
    const int64_t *block, int64_t begin, int64_t end, char *kept, char *scratch
"""


def print_c(program: Program) -> str:
    """The C text of a program; its entry is `program.C_ENTRY`."""
    machine = program.machine
    plain = [lower_loops(k, machine, {}) for k in program.kernels]
    residents = choose_residents(program, [k.wanted for k in plain])
    loops = [lower_loops(k, machine, residents) for k in program.kernels] if residents else plain
    own = own_buffers(program)
    names = None if own is None else frozenset(b.name for b in own)
    printers: list[KernelPrinter] = []
    for kernel in loops:
        zeros = printers[-1].zero_bytes if printers else 0
        printers.append(KernelPrinter(program, kernel, zeros, names))
    kernels = "".join("\n" + p.text() for p in printers)
    work = WorkPrinter(program, printers, list(residents.values()), own)
    return (
        _HEADER
        + f"#define KEPT {work.kept_bytes}\n#define ZEROED {work.zero_bytes}\n"
        + f"#define OF_A_THREAD {work.thread_bytes}\n#define OF_ALL {work.shared_bytes}\n"
        + math_prelude(used_functions(kernels))
        + vector_prelude(kernels, (float32, float64))
        + kernels
        + (C_ORDER if program.loop is not None and program.loop.shuffled else "")
        + RUNTIME
        + work.text()
        + ENTRY.format(entry=C_ENTRY)
    )
