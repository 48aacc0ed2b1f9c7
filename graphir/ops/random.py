"""Random numbers: a counter-based generator, whose bits are the same on every backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..errors import DTypeError
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Kind, OpDef
from ..sizes import Shape

# Philox4x32-10 (Salmon, Moraes, Dror, Shaw, 2011).
ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
BITS = 53


def _infer(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    first = inputs[0]
    for x in inputs:
        if x.dtype is not dtypes.int64 or x.shape != first.shape:
            raise DTypeError(f"random_bits: int64 of one shape are expected, got {x.type}")
    return first.shape, dtypes.int64


def philox(index: Array, seed: Array, call: Array) -> Array:
    """53 random bits for each (index, seed, call), as a whole number from 0 on.

    The counter is (index, call), the key is the seed, each as two words of 32 bits.
    """
    word = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)

    def words(x: Array) -> tuple[Any, Any]:
        whole = np.asarray(x, np.int64).astype(np.uint64)
        return whole & word, whole >> half

    (a, b), (c, d), (k, m) = words(index), words(call), words(seed)
    for _ in range(ROUNDS):
        p, q = a * np.uint64(MULTIPLIERS[0]), c * np.uint64(MULTIPLIERS[1])
        a, b, c, d = (q >> half) ^ b ^ k, q & word, (p >> half) ^ d ^ m, p & word
        k, m = (k + np.uint64(KEY_STEPS[0])) & word, (m + np.uint64(KEY_STEPS[1])) & word
    bits: Array = (((a << half) | b) >> np.uint64(64 - BITS)).astype(np.int64)
    return bits


OPS.register(
    OpDef(
        "random_bits",
        Kind.ELEMENTWISE,
        _infer,
        lambda sizes, node, *arrays: np.asarray(philox(*arrays)),
        (None, None, None),
        doc="53 random bits from a place, a seed and the number of the draw",
    )
)
