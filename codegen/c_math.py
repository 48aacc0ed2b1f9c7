"""Elementary functions as inline C: plain arithmetic without branches, so that a loop over one
vectorises on any machine, without a vector library.

Each function has a float form (`gr_expf`) and a double form (`gr_exp`), printed from one template.
Infinity, NaN, the sign of zero and gradual underflow are kept. `ACCURACY` says how exact they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .c_exponential import EXPONENTIAL
from .c_polynomials import POLYNOMIALS
from .c_trigonometric import TRIGONOMETRIC
from .random_text import C_RANDOM

# A bound on each function's error in units of the last place, float and double. Measured, with FMA
# and without: one float in 17 or more (with FMA, all for exp, log and tanh) and doubles over 60
# million. sin, cos and tan: up to 8e8; beyond it `gr_far_sin` and the like ask libm. pow in double
# is libm's.
ACCURACY: Mapping[str, tuple[float, float | None]] = {
    "exp": (1.1, 1.1),
    "exp2": (1.1, 1.1),
    "expm1": (1.4, 1.4),
    "log": (1.0, 1.0),
    "log2": (2.0, 2.0),
    "log10": (2.0, 2.0),
    "log1p": (1.6, 1.6),
    "sin": (1.6, 1.5),
    "cos": (1.6, 1.5),
    "tan": (3.5, 3.1),
    "tanh": (1.5, 1.5),
    "sinh": (1.7, 1.7),
    "cosh": (1.6, 1.6),
    "sigmoid": (2.0, 2.0),
    "softplus": (1.8, 1.8),
    "erf": (1.5, 1.5),
    "atan": (2.2, 1.9),
    "asin": (2.0, 2.3),
    "acos": (1.2, 1.3),
    "pow": (1.0, None),
}

# What differs between the two types. A constant's `_HI` part ends in zeros, so that an exponent
# times it is exact; `_LO` is the rest.
_CONSTANTS: dict[str, tuple[str, str]] = {
    "T": ("float", "double"),
    "U": ("uint32_t", "uint64_t"),
    "F": ("f", ""),
    "MANTISSA": ("23", "52"),
    "BIAS": ("127", "1023"),
    "ROUND": ("0x1.8p23f", "0x1.8p52"),
    "SIGN_SHIFT": ("30", "62"),
    "ONE_BITS": ("0x3f800000u", "0x3ff0000000000000u"),
    "ROOT_BITS": ("0x3f3504f3u", "0x3fe6a09e667f3bcdu"),
    "FRACTION_BITS": ("0x007fffffu", "0x000fffffffffffffu"),
    "WHOLE_BITS": ("0x4b000000u", "0x4330000000000000u"),
    "WHOLE": ("0x1p23f", "0x1p52"),
    "SMALLEST": ("0x1p-126f", "0x1p-1022"),
    "TINY": ("0x1p-25f", "0x1p-54"),
    "EXP_MIN": ("-104.0f", "-746.0"),
    "EXP_MAX": ("90.0f", "711.0"),
    "EXP2_MIN": ("-151.0f", "-1076.0"),
    "EXP2_MAX": ("129.0f", "1025.0"),
    "EXPM1_MIN": ("-25.0f", "-45.0"),
    "EXPM1_MAX": ("89.0f", "710.0"),
    "TANH_MAX": ("10.0f", "20.0"),
    "ERF_MAX": ("4.0f", "6.0"),
    "LOG2_E": ("0x1.715476p+0f", "0x1.71547652b82fep+0"),
    "LOG2_E_LO": ("0x1.4ae0c0p-26f", "0x1.777d0ffda0d24p-56"),
    "LN2": ("0x1.62e430p-1f", "0x1.62e42fefa39efp-1"),
    "LN2_HI": ("0x1.62e400p-1f", "0x1.62e42fefa4000p-1"),
    "LN2_LO": ("0x1.7f7d1cp-20f", "-0x1.8432a1b0e2634p-43"),
    "LOG10_E": ("0x1.bcb7b2p-2f", "0x1.bcb7b1526e50ep-2"),
    "LOG10_E_LO": ("-0x1.5b235ep-27f", "0x1.95355baaafad3p-57"),
    "LOG10_2_HI": ("0x1.344000p-2f", "0x1.34413509f8000p-2"),
    "LOG10_2_LO": ("0x1.3509f8p-18f", "-0x1.80433b83b532ap-44"),
    "HALF_PI": ("0x1.921fb6p+0f", "0x1.921fb54442d18p+0"),
    "HALF_PI_LO": ("-0x1.777a5cp-25f", "0x1.1a62633145c07p-54"),
    "QUARTER_PI": ("0x1.921fb6p-1f", "0x1.921fb54442d18p-1"),
    "QUARTER_PI_LO": ("-0x1.777a5cp-26f", "0x1.1a62633145c07p-55"),
    "FAR": ("8e8f", "8e8"),
}

# Templates: `$name` is a constant of the type, and a line `POLY p(x) NAME;` evaluates one of the
# polynomials. A template given as a pair serves float, then double.
_TEMPLATES: dict[str, str | tuple[str, str]] = {
    **EXPONENTIAL,
    **TRIGONOMETRIC,
    "gr_bits": """
GR_INLINE $U gr_bits$F($T x) {
    $U u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}
""",
    "gr_from_bits": """
GR_INLINE $T gr_from_bits$F($U u) {
    $T x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}
""",
    "gr_sin_cos": (
        """
/* The sine and cosine of x less the nearest multiple of pi/2, whose number modulo 4 is in the last
   two bits of the result. x is reduced in double, by exact products up to 8e8. */
GR_INLINE uint32_t gr_sin_cosf(float x, float *s, float *c) {
    const double wide = x;
    const double shifted = wide * 0x1.45f306dc9c883p-1 + 0x1.8p52;
    const double n = shifted - 0x1.8p52;
    const float r = (float)(wide - n * 0x1.921fb6p+0 - n * -0x1.777a5cf72cecep-25);
    const float square = r * r;
    POLY p(square) SIN;
    POLY q(square) COS;
    *s = r + r * (square * p);
    *c = 1.0f + square * (square * q - 0.5f);
    return (uint32_t)gr_bits(shifted);
}
""",
        """
/* The sine and cosine of x less the nearest multiple of pi/2, whose number modulo 4 is in the last
   two bits of the result; by exact products up to 8e8. */
GR_INLINE uint64_t gr_sin_cos(double x, double *s, double *c) {
    const double shifted = x * 0x1.45f306dc9c883p-1 + 0x1.8p52;
    const double n = shifted - 0x1.8p52;
    const double high = x - n * 0x1.921fb6p+0 - n * -0x1.777a5cp-25;
    const double next = high - n * -0x1.ee59dap-50;
    const double rest = ((high - next) - n * -0x1.ee59dap-50) - n * 0x1.98a2e03707345p-77;
    const double r = next + rest;
    const double low = (next - r) + rest;
    const double square = r * r;
    POLY p(square) SIN;
    POLY q(square) COS;
    *s = r + (r * (square * p) + low);
    *c = 1.0 + (square * (square * q - 0.5) - r * low);
    return gr_bits(shifted);
}
""",
    ),
    "gr_quarter": """
/* Two bits as a number: the last as its exponent, the other as its sign: 0, 2, -0 or -2. */
GR_INLINE $T gr_quarter$F($U turns) { return gr_from_bits$F(turns << $SIGN_SHIFT); }
""",
    "gr_sin": """
GR_INLINE $T gr_sin$F($T x) {
    $T s, c;
    const $U turns = gr_sin_cos$F(x, &s, &c);
    const $T y = gr_quarter$F(turns) != 0.0$F ? c : s;
    const $U sign = (turns & 2) << $SIGN_SHIFT;
    return x == 0.0$F ? x : gr_from_bits$F(gr_bits$F(y) ^ sign);
}
""",
    "gr_cos": """
GR_INLINE $T gr_cos$F($T x) {
    $T s, c;
    const $U turns = gr_sin_cos$F(x, &s, &c);
    const $T y = gr_quarter$F(turns) != 0.0$F ? s : c;
    const $U sign = ((turns + 1) & 2) << $SIGN_SHIFT;
    return gr_from_bits$F(gr_bits$F(y) ^ sign);
}
""",
    "gr_tan": """
GR_INLINE $T gr_tan$F($T x) {
    $T s, c;
    const $U turns = gr_sin_cos$F(x, &s, &c);
    const int odd = gr_quarter$F(turns) != 0.0$F;
    const $T y = (odd ? -c : s) / (odd ? s : c);
    return x == 0.0$F ? x : y;
}
""",
    "gr_far": """
/* Whether the functions above do not reduce x exactly. */
GR_INLINE int gr_far$F($T x) { return __builtin_fabs$F(x) > $FAR; }
""",
    "gr_larger": """
/* The larger of a size and that of x; not a number is passed over. */
GR_INLINE $T gr_larger$F($T most, $T x) {
    const $T size = __builtin_fabs$F(x);
    return size > most ? size : most;
}
""",
    "gr_far_sin": """
GR_INLINE $T gr_far_sin$F($T x) { return gr_far$F(x) ? __builtin_sin$F(x) : gr_sin$F(x); }
""",
    "gr_far_cos": """
GR_INLINE $T gr_far_cos$F($T x) { return gr_far$F(x) ? __builtin_cos$F(x) : gr_cos$F(x); }
""",
    "gr_far_tan": """
GR_INLINE $T gr_far_tan$F($T x) { return gr_far$F(x) ? __builtin_tan$F(x) : gr_tan$F(x); }
""",
    "gr_erf": """
GR_INLINE $T gr_erf$F($T x) {
    $T a = __builtin_fabs$F(x);
    const $T square = x * x;
    POLY near(square) ERF;
    near = a + a * near;
    const $T b = a > $ERF_MAX ? $ERF_MAX : a;
    POLY far(b) ERFC;
    far = 1.0$F - gr_scaled_exp$F(-far, 0);
    return __builtin_copysign$F(a < 1.0$F ? near : far, x);
}
""",
}

_HEADER = """
#define GR_INLINE static inline __attribute__((always_inline, unused))
"""


@dataclass(frozen=True)
class Snippet:
    """The C text of one function, and the functions that it calls."""

    text: str
    needs: tuple[str, ...]


def _literal(value: float, kind: int) -> str:
    return f"{value!r}f" if kind == 0 else repr(value)


def _fill(template: str, kind: int) -> str:
    """The template for float (kind 0) or double (kind 1)."""

    def polynomial(found: re.Match[str]) -> str:
        out, variable, name = found.groups()
        *rest, last = POLYNOMIALS[name][kind]
        lines = [f"    $T {out} = {_literal(last, kind)};"]
        for value in reversed(rest):
            sign, size = ("-", -value) if value < 0 else ("+", value)
            lines.append(f"    {out} = {out} * {variable} {sign} {_literal(size, kind)};")
        return "\n".join(lines)

    text = re.sub(r"    POLY (\w+)\((\w+)\) (\w+);", polynomial, template)
    return re.sub(r"\$([A-Z][A-Z0-9_]*)", lambda found: _CONSTANTS[found[1]][kind], text)


def _table() -> Mapping[str, Snippet]:
    texts = {}
    for kind, suffix in enumerate(("f", "")):
        for name, template in _TEMPLATES.items():
            text = _fill(template if isinstance(template, str) else template[kind], kind)
            if text:
                texts[name + suffix] = text
    table = {}
    for name, text in texts.items():
        called = re.findall(r"\bgr_\w+", text)
        table[name] = Snippet(text, tuple(n for n in dict.fromkeys(called) if n != name))
    return table


_BFLOAT16 = {
    "gr_from_bfloat16": """
GR_INLINE float gr_from_bfloat16(uint16_t bits) {
    return gr_from_bitsf((uint32_t)bits << 16);
}
""",
    "gr_to_bfloat16": """
/* To the nearest, halves to even. */
GR_INLINE uint16_t gr_to_bfloat16(float x) {
    const uint32_t bits = gr_bitsf(x);
    const uint32_t near = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    return (uint16_t)(x != x ? 0x7fc0 : near);
}
""",
}

SNIPPETS: Mapping[str, Snippet] = {
    **_table(),
    "gr_random": Snippet(C_RANDOM, ()),
    "gr_from_bfloat16": Snippet(_BFLOAT16["gr_from_bfloat16"], ("gr_from_bitsf",)),
    "gr_to_bfloat16": Snippet(_BFLOAT16["gr_to_bfloat16"], ("gr_bitsf",)),
}


def used_functions(text: str) -> set[str]:
    """The functions of this module that a C text calls."""
    # `g(?<!\wg)` is `\bg`, and thirty times as fast.
    return {name for name in re.findall(r"g(?<!\wg)r_\w+", text) if name in SNIPPETS}


def math_prelude(used: Iterable[str]) -> str:
    """The C text of these functions and of what they call, each before its callers.

    It needs `INFINITY`, `NAN` and `<stdint.h>`. Nothing is printed where nothing is used.
    """
    order: dict[str, str] = {}

    def visit(name: str) -> None:
        for other in SNIPPETS[name].needs:
            if other not in order:
                visit(other)
        order.setdefault(name, SNIPPETS[name].text)

    for name in sorted(used):
        visit(name)
    return _HEADER + "".join(order.values()) if order else ""
