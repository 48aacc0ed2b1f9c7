"""Angles that the inline sine, cosine and tangent of the C target do not reach.

A loop over the inline functions takes no branch, so that it vectorises. Whether it met a larger
angle is known after it: then it is run again, element by element, with functions that ask libm.
"""

from __future__ import annotations

from collections.abc import Mapping

from .loops import Array, FarAngles, Nest, accesses
from .spelling import may_be_far
from .tile import Contract, Load, Map, Reduce, Statement, Store, Tile, operands

_SHORT = 128  # elements of an innermost loop


def far_angles(
    nest: Nest, arrays: Mapping[Tile, Array], inline: Mapping[Tile, Statement]
) -> FarAngles | None:
    """What a nest asks of its angles, and when; None where it has none."""
    maps = [s for s in nest.statements if isinstance(s, Map)]
    angles = tuple(dict.fromkeys(s.args[0] for s in maps if may_be_far(s.op, s.args[0].dtype)))
    if not angles:
        return None
    joins = [s for s in nest.statements if isinstance(s, (Reduce, Contract))]
    changed = tuple(dict.fromkeys(s.out for s in joins if s.into is not None))
    small = all(not t.axes or arrays[t].on_stack for t in changed)
    lanes = nest.axes[-1].block if nest.axes and nest.axes[-1].block < _SHORT else 1
    if small and not _overwrites(nest, inline):
        return FarAngles(angles, None, changed, lanes)
    return FarAngles(angles, _leading_to(angles, maps), (), lanes)


def _overwrites(nest: Nest, inline: Mapping[Tile, Statement]) -> bool:
    """Whether the nest writes to memory that it also reads."""
    stored = {s.address.buffer for s in nest.statements if isinstance(s, Store)}
    read = [x for s in nest.statements for x in (s, *accesses(s, inline))]
    return any(isinstance(x, Load) and x.address.buffer in stored for x in read)


def _leading_to(angles: tuple[Tile, ...], maps: list[Map]) -> tuple[Map, ...]:
    """The statements that the angles depend on, in order."""
    wanted = set(angles)
    found = []
    for s in reversed(maps):
        if s.out in wanted:
            wanted.update(operands(s))
            found.append(s)
    return tuple(reversed(found))
