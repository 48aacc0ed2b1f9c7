"""The generator of random bits in both targets: Philox4x32-10, as `graphir.ops.random` has it."""

from __future__ import annotations

from graphir.ops.random import BITS, KEY_STEPS, MULTIPLIERS, ROUNDS

C_RANDOM = f"""
/* {BITS} random bits: Philox4x32-{ROUNDS} of the counter (index, call) and the key `seed`. */
GR_INLINE int64_t gr_random(int64_t index, int64_t seed, int64_t call) {{
    uint32_t a = (uint32_t)index, b = (uint32_t)((uint64_t)index >> 32);
    uint32_t c = (uint32_t)call, d = (uint32_t)((uint64_t)call >> 32);
    uint32_t k = (uint32_t)seed, m = (uint32_t)((uint64_t)seed >> 32);
    for (int i = 0; i < {ROUNDS}; i++) {{
        const uint64_t p = (uint64_t)a * {MULTIPLIERS[0]:#x}u;
        const uint64_t q = (uint64_t)c * {MULTIPLIERS[1]:#x}u;
        a = (uint32_t)(q >> 32) ^ b ^ k;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ m;
        d = (uint32_t)p;
        k += {KEY_STEPS[0]:#x}u;
        m += {KEY_STEPS[1]:#x}u;
    }}
    return (int64_t)((((uint64_t)a << 32) | b) >> {64 - BITS});
}}
"""

TRITON_RANDOM = f"""
@triton.jit
def random_words(x):
    whole = x.to(tl.uint64)
    return whole & 0xFFFFFFFF, whole >> 32


@triton.jit
def random_bits(index, seed, call):
    a, b = random_words(index)
    c, d = random_words(call)
    k, m = random_words(seed)
    for _ in tl.static_range({ROUNDS}):
        p = a * {MULTIPLIERS[0]:#x}
        q = c * {MULTIPLIERS[1]:#x}
        a = (q >> 32) ^ b ^ k
        b = q & 0xFFFFFFFF
        c = (p >> 32) ^ d ^ m
        d = p & 0xFFFFFFFF
        k = (k + {KEY_STEPS[0]:#x}) & 0xFFFFFFFF
        m = (m + {KEY_STEPS[1]:#x}) & 0xFFFFFFFF
    return (((a << 32) | b) >> {64 - BITS}).to(tl.int64)
"""
