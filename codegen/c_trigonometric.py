"""C templates of the inverse functions of angles; `c_math.py` fills them in."""

from __future__ import annotations

TRIGONOMETRIC: dict[str, str | tuple[str, str]] = {
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
}
