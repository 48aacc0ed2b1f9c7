"""Which intermediates of a program with several kernels share memory.

Kernels run one after another. So a buffer that is only read by kernels before some point may hold
something else after it.
"""

from __future__ import annotations

from collections.abc import Iterable

from .program import Binding, Buffer, Program, Role
from .tile import Load, Statement, Store


def scratch_slots(program: Program) -> tuple[tuple[Buffer, ...], ...]:
    """The scratch buffers in groups; those of a group live in the same memory, in turn.

    A group's buffers have one element type, and no two of them are in use in the same kernel.
    """
    last: dict[str, int] = {}
    first: dict[str, int] = {}
    for k, kernel in enumerate(program.kernels):
        for name in _touched(kernel.statements()):
            first.setdefault(name, k)
            last[name] = k
    slots: list[list[Buffer]] = []
    mine = [b for b in program.buffers if b.role is Role.SCRATCH and b.name in first]
    for buffer in sorted(mine, key=lambda b: first[b.name]):
        for slot in slots:
            latest = slot[-1]
            free = last[latest.name] < first[buffer.name]
            if free and latest.dtype is buffer.dtype and _whole(latest) and _whole(buffer):
                slot.append(buffer)
                break
        else:
            slots.append([buffer])
    return tuple(map(tuple, slots))


def _whole(buffer: Buffer) -> bool:
    return buffer.binding is Binding.WHOLE


def _touched(statements: Iterable[Statement]) -> list[str]:
    return [s.address.buffer for s in statements if isinstance(s, (Load, Store))]
