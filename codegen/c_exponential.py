"""C templates of exponentials, logarithms and what is made of them; `c_math.py` fills them in."""

from __future__ import annotations

EXPONENTIAL: dict[str, str | tuple[str, str]] = {
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
