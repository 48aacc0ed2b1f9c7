"""Elementary functions as inline C: plain arithmetic without branches, so that a loop over one
vectorises on any machine, without a vector library.

Each function has a float form (`gr_expf`) and a double form (`gr_exp`), printed from one template.
Infinity, NaN, the sign of zero and gradual underflow are kept. `ACCURACY` says how exact they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .random_text import C_RANDOM

# A bound on each function's error in units of the last place, float and double. Measured, with FMA
# and without: one float in 17 or more (with FMA, all for exp, log and tanh) and doubles over 60
# million. sin and cos (and tan alike): up to 8e8; from there to 2^50 the error is 4 units of 1's
# last place with FMA, and without it grows in proportion to x, to 0.06. pow in double is libm's.
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

# Minimax polynomials by Remez's algorithm in 200-bit arithmetic, in rising order. Coefficients are
# rounded one by one, from the first on, and the others are fitted again after each.
_POLYNOMIALS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # exp(r) = 1 + r + r²·P(r), |r| ≤ ln(2)/2: relative error of exp(r) - 1 2^-26.1, 2^-61.6
    "EXP": (
        (0.49999997, 0.16666539, 0.041667745, 0.008367058, 0.0013839407),
        (
            *(0.5, 0.16666666666666677, 0.041666666666666685, 0.00833333333332182),
            *(0.0013888888888893682, 0.0001984126988526242, 2.4801587278956458e-05),
            *(2.755724523042208e-06, 2.755732946657829e-07, 2.510866413048234e-08),
            2.0893995813645147e-09,
        ),
    ),
    # float: log(1 + f) = f + f²·(-1/2 + f·P(f)), sqrt(1/2) ≤ 1 + f ≤ sqrt(2): 2^-27.3
    # double: log(1 + f) = 2·s + s³·P(s²), s = f/(2 + f): 2^-58.3
    "LOG": (
        (
            *(0.3333333, -0.2500084, 0.20001283, -0.16622674),
            *(0.1419982, -0.13165091, 0.12778746, -0.07643565),
        ),
        (
            *(0.666666666666674, 0.3999999999937635, 0.2857142875174038, 0.22222197535232277),
            *(0.18183621991234716, 0.1531248767170841, 0.14812398580651226),
        ),
    ),
    # sin(r) = r + r³·P(r²), |r| ≤ pi/4: 2^-27.9, 2^-57.9
    "SIN": (
        (-0.16666655, 0.008332188, -0.00019518101),
        (
            *(-0.1666666666666663, 0.00833333333332184, -0.00019841269829358184),
            *(2.7557313538256884e-06, -2.5050734327507786e-08, 1.5895428522433163e-10),
        ),
    ),
    # cos(r) = 1 - r²/2 + r⁴·P(r²), |r| ≤ pi/4: 2^-33.0, 2^-63.9
    "COS": (
        (0.041666646, -0.001388731, 2.443235e-05),
        (
            *(0.041666666666666595, -0.0013888888888873325, 2.4801587288983685e-05),
            *(-2.755731421007604e-07, 2.087570427105239e-09, -1.1358683337232543e-11),
        ),
    ),
    # sinh(x) = x + x³·P(x²), |x| ≤ 1: 2^-25.2, 2^-61.8
    "SINH": (
        (0.1666672, 0.008330149, 0.00020383911),
        (
            *(0.16666666666666669, 0.008333333333332912, 0.00019841269841593058),
            *(2.7557319107029527e-06, 2.5052130925579778e-08, 1.6056667342911031e-10),
            7.776274833714181e-13,
        ),
    ),
    # tanh(x) = x + x³·P(x²), |x| ≤ 0.55: 2^-29.7, 2^-60.6
    "TANH": (
        (-0.33333316, 0.13332544, -0.053847548, 0.021050714, -0.006242853),
        (
            *(-0.333333333333333, 0.1333333333332658, -0.05396825396373697),
            *(0.021869488385174198, -0.00886323259016017, 0.003592091915363344),
            *(-0.001455542099025449, 0.0005884413984329933, -0.0002333736906944788),
            *(8.330516261623653e-05, -1.9487736435509306e-05),
        ),
    ),
    # erf(x) = x + x·P(x²), |x| ≤ 1: 2^-29.4, 2^-56.0
    "ERF": (
        (
            *(0.12837917, -0.37612626, 0.11283579, -0.026853347),
            *(0.005187162, -0.0007997853, 7.806904e-05),
        ),
        (
            *(0.12837916709551256, -0.37612638903183343, 0.1128379167093695),
            *(-0.026866170641959147, 0.005223977596736105, -0.0008548325485002818),
            *(0.00012055280495364474, -1.4924465556226997e-05, 1.6444148272719539e-06),
            *(-1.6183959717822017e-07, 1.3616486613729996e-08, -7.607245762074414e-10),
        ),
    ),
    # erf(x) = 1 - exp(-P(x)), 1 ≤ x ≤ 4 (6): error relative to erf(x) 2^-35.2, 2^-57.0
    "ERFC": (
        (
            *(-0.00018845993, 1.1295803, 0.63321656, 0.108421825),
            *(-0.02521008, 0.0042051487, -0.00044143567, 2.1693582e-05),
        ),
        (
            *(5.028358050621223e-07, 1.1283740896202745, 0.6366436274032903),
            *(0.10270344150711579, -0.01899018280239787, -0.00041062224254715876),
            *(0.001915937299725259, -0.0007706383199795934, 0.00013504732028508893),
            *(2.0268141501997863e-05, -2.2823066151525533e-05, 8.667331377653542e-06),
            *(-2.1357154325574555e-06, 3.733092878977151e-07, -4.642365861888975e-08),
            *(3.934322792622182e-09, -2.0449942570833248e-10, 4.9286954255134004e-12),
        ),
    ),
    # atan(t) = t + t³·P(t²), |t| ≤ tan(pi/8): 2^-25.5, 2^-59.4
    "ATAN": (
        (-0.33332947, 0.19977614, -0.13876596, 0.08050115),
        (
            *(-0.3333333333333319, 0.19999999999952184, -0.14285714280054104),
            *(0.11111110776299701, -0.09090897550725162, 0.07692056510549525),
            *(-0.06663061657181835, 0.058475785867133305, -0.05037893920177793),
            *(0.03802843819076965, -0.01786734484109533),
        ),
    ),
    # asin(t) = t + t³·P(t²), |t| ≤ 1/2: 2^-27.6, 2^-55.9
    "ASIN": (
        (0.16666752, 0.074953064, 0.04546977, 0.02418081, 0.042166322),
        (
            *(0.16666666666665403, 0.07500000000338593, 0.0446428568269368),
            *(0.030381959197302577, 0.02237175654416017, 0.017359728255149757),
            *(0.013884996639033625, 0.01217081998173393, 0.006520859191174319),
            *(0.019548148577221678, -0.016256059845262065, 0.03193446722437601),
        ),
    ),
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
}

# Templates: `$name` is a constant of the type, and a line `POLY p(x) NAME;` evaluates one of the
# polynomials. A template given as a pair serves float, then double.
_TEMPLATES: dict[str, str | tuple[str, str]] = {
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
    "gr_exp_part": """
/* exp(x) / 2^n, with the whole number n in the last bits of `shifted`. */
GR_INLINE $T gr_exp_part$F($T x, $T *shifted) {
    *shifted = x * $LOG2_E + $ROUND;
    const $T n = *shifted - $ROUND;
    const $T r = x - n * $LN2_HI - n * $LN2_LO;
    POLY p(r) EXP;
    return p * (r * r) + r + 1.0$F;
}
""",
    "gr_scaled_exp": """
/* exp(x) times a power of two, which may leave the normal range: 2^n takes two factors. */
GR_INLINE $T gr_scaled_exp$F($T x, int power) {
    x = x < $EXP_MIN ? $EXP_MIN : x;
    x = x > $EXP_MAX ? $EXP_MAX : x;
    $T shifted;
    const $T p = gr_exp_part$F(x, &shifted);
    const $U u = gr_bits$F(shifted) - gr_bits$F($ROUND) + ($U)(2 * $BIAS + power);
    const $U half = u >> 1;
    return p * gr_from_bits$F(half << $MANTISSA) * gr_from_bits$F((u - half) << $MANTISSA);
}
""",
    "gr_exp": """
GR_INLINE $T gr_exp$F($T x) { return gr_scaled_exp$F(x, 0); }
""",
    "gr_exp2": """
GR_INLINE $T gr_exp2$F($T x) {
    x = x < $EXP2_MIN ? $EXP2_MIN : x;
    x = x > $EXP2_MAX ? $EXP2_MAX : x;
    const $T shifted = x + $ROUND;
    const $T r = (x - (shifted - $ROUND)) * $LN2;
    POLY p(r) EXP;
    p = p * (r * r) + r + 1.0$F;
    const $U u = gr_bits$F(shifted) - gr_bits$F($ROUND) + 2 * $BIAS;
    const $U half = u >> 1;
    return p * gr_from_bits$F(half << $MANTISSA) * gr_from_bits$F((u - half) << $MANTISSA);
}
""",
    "gr_exp_less_1": """
/* exp(x) - 1 between the bounds of expm1, without its special cases. */
GR_INLINE $T gr_exp_less_1$F($T x) {
    const $T shifted = x * $LOG2_E + $ROUND;
    const $T n = shifted - $ROUND;
    const $T high = x - n * $LN2_HI;
    const $T r = high - n * $LN2_LO;
    const $T rest = (high - r) - n * $LN2_LO;
    POLY p(r) EXP;
    p = p * (r * r) + rest;
    /* Half of 2^n, which does not overflow. */
    const $T s = gr_from_bits$F((gr_bits$F(shifted) + ($BIAS - 1)) << $MANTISSA);
    return 2.0$F * (s * r + (s - 0.5$F) + s * p);
}
""",
    "gr_expm1": """
GR_INLINE $T gr_expm1$F($T x) {
    $T y = x < $EXPM1_MIN ? $EXPM1_MIN : x;
    y = y > $EXPM1_MAX ? $EXPM1_MAX : y;
    y = gr_exp_less_1$F(y);
    return __builtin_fabs$F(x) < $TINY ? x : y;
}
""",
    "gr_sigmoid": """
GR_INLINE $T gr_sigmoid$F($T x) {
    const $T e = gr_scaled_exp$F(-__builtin_fabs$F(x), 0);
    const $T whole = 1.0$F + e;
    const $T y = (x < 0.0$F ? e : 1.0$F) / whole;
    /* What rounding took from `whole`. */
    return y - y * (e - (whole - 1.0$F));
}
""",
    "gr_tanh": """
GR_INLINE $T gr_tanh$F($T x) {
    const $T a = __builtin_fabs$F(x), square = x * x;
    POLY p(square) TANH;
    p = a + a * (square * p);
    $T shifted;
    $T e = gr_exp_part$F(2.0$F * (a > $TANH_MAX ? $TANH_MAX : a), &shifted);
    e = e * gr_from_bits$F((gr_bits$F(shifted) + $BIAS) << $MANTISSA);
    return __builtin_copysign$F(a < 0.55$F ? p : 1.0$F - 2.0$F / (e + 1.0$F), x);
}
""",
    "gr_cosh": """
GR_INLINE $T gr_cosh$F($T x) {
    const $T e = gr_scaled_exp$F(__builtin_fabs$F(x), -1);
    return e + 0.25$F / e;
}
""",
    "gr_sinh": """
GR_INLINE $T gr_sinh$F($T x) {
    const $T a = __builtin_fabs$F(x);
    const $T e = gr_scaled_exp$F(a, -1);
    const $T square = x * x;
    POLY p(square) SINH;
    p = a + a * (square * p);
    return __builtin_copysign$F(a < 1.0$F ? p : e - 0.25$F / e, x);
}
""",
    "gr_log_tail": (
        """
/* log(1 + f) - f, for 1 + f between sqrt(1/2) and sqrt(2). */
GR_INLINE float gr_log_tailf(float f) {
    POLY p(f) LOG;
    return f * f * (p * f - 0.5f);
}
""",
        """
/* log(1 + f) - f, for 1 + f between sqrt(1/2) and sqrt(2). */
GR_INLINE double gr_log_tail(double f) {
    const double s = f / (2.0 + f);
    const double square = s * s;
    POLY p(square) LOG;
    return s * (p * square - f);
}
""",
    ),
    "gr_log_split": """
/* k and f with x = 2^k (1 + f), for a positive x. */
GR_INLINE void gr_log_split$F($T x, $T *k, $T *f) {
    const int small = x < $SMALLEST;
    const $U u = gr_bits$F(small ? x * $WHOLE : x) + ($ONE_BITS - $ROOT_BITS);
    const $T whole = gr_from_bits$F($WHOLE_BITS | u >> $MANTISSA);
    *k = whole - (small ? $WHOLE + ($BIAS + $MANTISSA) : $WHOLE + $BIAS);
    *f = gr_from_bits$F((u & $FRACTION_BITS) + $ROOT_BITS) - 1.0$F;
}
""",
    "gr_log_limits": """
/* y, a logarithm of x, put right where x is 0, negative, infinite or NaN. */
GR_INLINE $T gr_log_limits$F($T x, $T y) {
    y = x < INFINITY ? y : x;
    y = x < 0.0$F ? NAN : y;
    return x == 0.0$F ? -INFINITY : y;
}
""",
    "gr_log": """
GR_INLINE $T gr_log$F($T x) {
    $T k, f;
    gr_log_split$F(x, &k, &f);
    const $T y = k * $LN2_HI + (f + (gr_log_tail$F(f) + k * $LN2_LO));
    return gr_log_limits$F(x, y);
}
""",
    "gr_log2": """
GR_INLINE $T gr_log2$F($T x) {
    $T k, f;
    gr_log_split$F(x, &k, &f);
    const $T rest = gr_log_tail$F(f) * $LOG2_E + f * $LOG2_E_LO;
    return gr_log_limits$F(x, k + (f * $LOG2_E + rest));
}
""",
    "gr_log10": """
GR_INLINE $T gr_log10$F($T x) {
    $T k, f;
    gr_log_split$F(x, &k, &f);
    const $T rest = gr_log_tail$F(f) * $LOG10_E + (f * $LOG10_E_LO + k * $LOG10_2_LO);
    return gr_log_limits$F(x, k * $LOG10_2_HI + (f * $LOG10_E + rest));
}
""",
    "gr_log_more_1": """
/* log(1 + x) for a finite x > -1. */
GR_INLINE $T gr_log_more_1$F($T x) {
    const $U u = gr_bits$F(1.0$F + x) + ($ONE_BITS - $ROOT_BITS);
    const $U n = u >> $MANTISSA;
    const $T k = gr_from_bits$F($WHOLE_BITS | n) - ($WHOLE + $BIAS);
    /* Four times 2^-k, which does not underflow; f = 2^-k (1 + x) - 1 for the exact x. */
    const $T s = gr_from_bits$F((2 * $BIAS + 2 - n) << $MANTISSA);
    const $T f = 0.25$F * (x * s + (s - 4.0$F));
    return k * $LN2_HI + (f + (gr_log_tail$F(f) + k * $LN2_LO));
}
""",
    "gr_log1p": """
GR_INLINE $T gr_log1p$F($T x) {
    $T y = gr_log_more_1$F(x);
    y = x == 0.0$F ? x : y;
    return gr_log_limits$F(1.0$F + x, y);
}
""",
    "gr_softplus": """
GR_INLINE $T gr_softplus$F($T x) {
    const $T e = gr_scaled_exp$F(-__builtin_fabs$F(x), 0);
    return (x > 0.0$F ? x : 0.0$F) + gr_log_more_1$F(e);
}
""",
    "gr_sin_cos": (
        """
/* The sine and cosine of x less the nearest multiple of pi/2, whose number modulo 4 is in the last
   two bits of the result. x is reduced in double: exact products up to 8e8, or with FMA. From 2^50
   on, where floats lie 2^27 apart, NaN. */
GR_INLINE uint32_t gr_sin_cosf(float x, float *s, float *c) {
    const double wide = x;
    const double shifted = wide * 0x1.45f306dc9c883p-1 + 0x1.8p52;
    const double n = shifted - 0x1.8p52;
    float r = (float)(wide - n * 0x1.921fb6p+0 - n * -0x1.777a5cf72cecep-25);
    r = __builtin_fabsf(x) < 0x1p50f ? r : NAN;
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
   two bits of the result. Exact products up to 8e8, or with FMA. From 2^50 on, where doubles lie
   1/4 apart, NaN. */
GR_INLINE uint64_t gr_sin_cos(double x, double *s, double *c) {
    const double shifted = x * 0x1.45f306dc9c883p-1 + 0x1.8p52;
    const double n = shifted - 0x1.8p52;
    const double high = x - n * 0x1.921fb6p+0 - n * -0x1.777a5cp-25;
    const double next = high - n * -0x1.ee59dap-50;
    const double rest = ((high - next) - n * -0x1.ee59dap-50) - n * 0x1.98a2e03707345p-77;
    double r = next + rest;
    const double low = (next - r) + rest;
    r = __builtin_fabs(x) < 0x1p50 ? r : NAN;
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
    "gr_atan": """
GR_INLINE $T gr_atan$F($T x) {
    const $T a = __builtin_fabs$F(x);
    const int above = a > 0.4142135623730950$F, far = a > 2.414213562373095$F;
    const $T t = (far ? -1.0$F : above ? a - 1.0$F : a) / (far ? a : above ? a + 1.0$F : 1.0$F);
    const $T square = t * t;
    POLY p(square) ATAN;
    p = t * (square * p) + (far ? $HALF_PI_LO : above ? $QUARTER_PI_LO : 0.0$F);
    p = (far ? $HALF_PI : above ? $QUARTER_PI : 0.0$F) + (t + p);
    return __builtin_copysign$F(p, x);
}
""",
    "gr_asin": """
GR_INLINE $T gr_asin$F($T x) {
    const $T a = __builtin_fabs$F(x);
    const int far = a > 0.5$F;
    const $T square = far ? 0.5$F - 0.5$F * a : a * a;
    const $T t = far ? __builtin_sqrt$F(square) : a;
    POLY p(square) ASIN;
    p = t * (square * p);
    p = far ? $HALF_PI - 2.0$F * (t + p) + $HALF_PI_LO : t + p;
    return __builtin_copysign$F(p, x);
}
""",
    "gr_acos": """
GR_INLINE $T gr_acos$F($T x) {
    const $T a = __builtin_fabs$F(x);
    const int far = a > 0.5$F;
    const $T square = far ? 0.5$F - 0.5$F * a : a * a;
    const $T t = far ? __builtin_sqrt$F(square) : x;
    POLY p(square) ASIN;
    p = t * (square * p);
    const $T near = $HALF_PI - (t + (p - $HALF_PI_LO));
    const $T beyond = 2.0$F * (t + p);
    return far ? (x < 0.0$F ? 2.0$F * $HALF_PI - (beyond - 2.0$F * $HALF_PI_LO) : beyond) : near;
}
""",
    "gr_pow": (
        """
/* |x|^y in double, by logarithms; then the sign, and the cases that IEEE 754 names. */
GR_INLINE float gr_powf(float x, float y) {
    const double base = x, power = y, size = __builtin_fabs(base);
    double z = gr_exp2(power * gr_log2(size));
    z = power == 0.0 ? 1.0 : z;
    z = size == 1.0 ? (power == power ? 1.0 : power) : z;
    /* From 2^25 on every float is even. */
    const double small = __builtin_fabs(power) < 0x1p25 ? power : 0.0;
    const double shifted = small + 0x1.8p52, whole = shifted - 0x1.8p52;
    double sign = gr_from_bits(gr_bits(shifted) << 62) != 0.0 ? base : 1.0;
    sign = whole == small ? sign : 1.0;
    z = __builtin_copysign(z, sign);
    const double refused = whole == small ? z : NAN;
    z = base < 0.0 ? (size < INFINITY ? refused : z) : z;
    return (float)(base == 1.0 ? 1.0 : z);
}
""",
        "",
    ),
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
        *rest, last = _POLYNOMIALS[name][kind]
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
    return {name for name in re.findall(r"\bgr_\w+", text) if name in SNIPPETS}


def math_prelude(used: Iterable[str]) -> str:
    """The C text of these functions and of what they call, each before its callers.

    It needs `<math.h>` and `<stdint.h>`. Nothing is printed where nothing is used.
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
