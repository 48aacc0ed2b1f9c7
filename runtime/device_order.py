"""`graphir.row_order.row_order` by torch, on a tensor's own device and without waiting for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphir.row_order import MULTIPLIERS, SHIFTS, Keys, table

if TYPE_CHECKING:
    import torch

_WORD = 0xFFFFFFFF


def write_order(order: torch.Tensor, keys: Keys) -> None:
    """Write the numbers 0 to len(order) - 1 in the order that the keys give; `order` is int64."""
    import torch

    rows, device = order.shape[0], order.device
    lines, columns = table(rows)
    line = torch.arange(lines, device=device)[:, None]
    column = torch.arange(columns, device=device)[None, :]
    for turn, key in enumerate(keys):
        if turn % 2:
            line = _moved(line, column, key, lines)
        else:
            column = _moved(column, line, key, columns)
    cells = (line * columns + column).ravel()
    held = cells < rows
    # Those beyond the rows go to one place more: to select the others would wait for their number.
    places = torch.where(held, held.cumsum(0) - 1, rows)
    order.copy_(cells.new_empty(rows + 1).scatter_(0, places, cells)[:rows])


def _moved(x: torch.Tensor, other: torch.Tensor, key: int, size: int) -> torch.Tensor:
    """`x` moved on by a hash of the other half, within `size`. Words of 32 bits in int64."""
    h = other ^ key
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, 1), strict=True):
        h = ((h ^ (h >> shift)) * multiplier) & _WORD
    there = x + (((h >> 1) * size) >> 31)
    return there - (there >= size) * size
