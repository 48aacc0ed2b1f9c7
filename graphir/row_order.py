"""The order in which an epoch takes the rows: a permutation that is computed place by place.

A Feistel network of four rounds (M. Luby and C. Rackoff, "How to construct pseudorandom
permutations from pseudorandom functions", 1988) over the cells of a table that is as nearly square
as can be and has a cell for every row: in turns, the column of a cell is moved on by a hash of its
line, and its line by a hash of its column. The few cells beyond the rows are left out. It costs a
few operations a row, which vectors do side by side, where drawing rows costs a cache miss each.
"""

from __future__ import annotations

from math import isqrt
from typing import Any, TypeAlias

import numpy as np

_Words: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]
Keys: TypeAlias = tuple[int, int, int, int]
# The finalizer of C. Wellons' 32-bit hash "lowbias32": shifts and multipliers.
SHIFTS, MULTIPLIERS = (16, 15, 15), (0x21F0AAAD, 0x735A2D97)


def order_keys(seed: int, epoch: int) -> Keys:
    """The keys of the four rounds, 32 bits each, from the generator that all else is drawn from."""
    bits = np.random.Philox(key=np.array([seed % 2**64, epoch], np.uint64)).random_raw(2)
    first, second = map(int, bits)
    mask = 0xFFFFFFFF
    return first & mask, first >> 32, second & mask, second >> 32


def table(rows: int) -> tuple[int, int]:
    """Lines and columns: at least `rows` cells, fewer than one line too many."""
    lines = isqrt(max(rows, 1) - 1) + 1
    return lines, -(-rows // lines)


def row_order(rows: int, keys: Keys) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The numbers 0 to rows - 1 in the order that the keys give; int64."""
    lines, columns = table(rows)
    line = np.arange(lines, dtype=np.uint32)[:, None]
    column = np.arange(columns, dtype=np.uint32)[None, :]
    for turn, key in enumerate(keys):
        if turn % 2:
            line = _moved(line, _shift(column, key, lines), lines)
        else:
            column = _moved(column, _shift(line, key, columns), columns)
    order: np.ndarray[Any, np.dtype[np.int64]] = line.astype(np.int64) * columns + column
    return order[order < rows]


def _moved(x: _Words, shift: _Words, size: int) -> _Words:
    there = x + shift
    there -= np.where(there >= size, np.uint32(size), np.uint32(0))
    return there


def _shift(x: _Words, key: int, size: int) -> _Words:
    """A number from 0 to size - 1 for each number."""
    h = x ^ np.uint32(key)
    for shift, multiplier in zip(SHIFTS, (*MULTIPLIERS, 1), strict=True):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(multiplier)
    scaled = (h >> np.uint32(1)).astype(np.uint64) * np.uint64(size)
    return (scaled >> np.uint64(31)).astype(np.uint32)
