"""Vector types for the C text: GCC and Clang's extension, which needs no header and serves x86
and Arm alike."""

from __future__ import annotations

import re

from graphir.dtypes import DType, float32, float64

from .spelling import C_TYPES

_SHORT = {"float32": "f32", "float64": "f64"}

_COMMON = """
#define UNROLL _Pragma("GCC unroll 32")
/* Into the second-level cache: into the first, it was slower than not at all. */
#define PREFETCH(p) __builtin_prefetch(p, 0, 2)
/* Hold a loaded vector in a register: gcc else loads it again for every product. */
#if defined(__x86_64__)
#define KEEP(x) __asm__("" : "+v"(x))
#elif defined(__aarch64__)
#define KEEP(x) __asm__("" : "+w"(x))
#else
#define KEEP(x)
#endif
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
"""

_TYPE = """
typedef {scalar} {name} __attribute__((vector_size({bytes})));
typedef {scalar} {name}u __attribute__((vector_size({bytes}), aligned({item}), may_alias));
"""

_LOAD_STORE = """
static inline {name} {name}_load(const {scalar} *p) {{ return *(const {name}u *)p; }}
static inline void {name}_store({scalar} *p, {name} v) {{ *({name}u *)p = v; }}
/* The first `count` lanes; the others are 0. */
static inline {name} {name}_tail(const {scalar} *p, int64_t count) {{
{masked}    {name} v = {{0}};
    __builtin_memcpy(&v, p, sizeof({scalar}) * (size_t)count);
    return v;
{end}}}
/* `v` with 0 in the lanes from `count` on, whatever was there. */
static inline {name} {name}_keep({name} v, int64_t count) {{
    typedef {integer} bits __attribute__((vector_size({bytes})));
    bits lane = {{{lanes_list}}};
    return ({name})((bits)v & (lane < ({integer})count));
}}
"""

_SUM = """
static inline {scalar} {name}_sum({name} v) {{
    union {{ {name} whole; {half} halves[2]; }} u = {{v}};
    return {half}_sum(u.halves[0] + u.halves[1]);
}}
"""
_SUM_PAIR = """
static inline {scalar} {name}_sum({name} v) {{ return v[0] + v[1]; }}
"""

# All of `count` numbers in memory joined to one, two vectors at a time.
_ALL = """
static inline {scalar} {name}_{op}_all(const {scalar} *p, int64_t count) {{
    /* A vector would wait until the one number that was just written is in the cache. */
    if (count == 1) return p[0];
    {name} a = {identity} - ({name}){{0}}, b = a;
    int64_t k = 0;
    for (; k + {twice} <= count; k += {twice}) {{
        a = {name}_{op}(a, {name}_load(p + k));
        b = {name}_{op}(b, {name}_load(p + k + {lanes}));
    }}
    if (k + {lanes} <= count) {{
        a = {name}_{op}(a, {name}_load(p + k));
        k += {lanes};
    }}
    if (k < count) b = {name}_{op}(b, {last});
    return {name}_{op}_lanes({name}_{op}(a, b));
}}
"""
_ADD = """
static inline {name} {name}_add({name} a, {name} b) {{ return a + b; }}
static inline {scalar} {name}_add_lanes({name} v) {{ return {name}_sum(v); }}
"""
# Not a number wins.
_PICK = """
static inline {name} {name}_{op}({name} a, {name} b) {{
    typedef {integer} bits __attribute__((vector_size({bytes})));
    const bits first = (a {sign} b) | (a != a);
    return ({name})((first & (bits)a) | (~first & (bits)b));
}}
static inline {scalar} {name}_{op}_lanes({name} v) {{
{folds}    return v[0];
}}
"""
_OR = """
/* `v` with another number in the lanes from `count` on. */
static inline {name} {name}_or({name} v, int64_t count, {scalar} other) {{
    for (int k = 0; k < {lanes}; k++) v[k] = k < count ? v[k] : other;
    return v;
}}
"""
_JOINS = {"add": ("", "0"), "maximum": (">", "(-INFINITY)"), "minimum": ("<", "INFINITY")}

# Four sums at once: lanes of each four are added across vectors first, whole vectors folded last.
_SUM_FOUR = """
static inline {name} {name}_groups({name} a, {name} b, {name} c, {name} d) {{
    const {name} p = SHUFFLE(a, b, {one}) + SHUFFLE(a, b, {other});
    const {name} q = SHUFFLE(c, d, {one}) + SHUFFLE(c, d, {other});
    return SHUFFLE(p, q, {low}) + SHUFFLE(p, q, {high});
}}
static inline {quad} {name}_sum4({name} a, {name} b, {name} c, {name} d) {{
    return {name}_fold({name}_groups(a, b, c, d));
}}
"""
# A square of as many rows as a vector has lanes: blocks of 1, then 2, then 4 … lanes change sides.
_TRANSPOSE = """
static inline void {name}_transpose({scalar} *to, int64_t to_row, const {scalar} *from,
                                    int64_t from_row) {{
    {name} v[{lanes}], w[{lanes}];
    UNROLL for (int r = 0; r < {lanes}; r++) v[r] = {name}_load(from + r * from_row);
{stages}    UNROLL for (int r = 0; r < {lanes}; r++) {name}_store(to + r * to_row, {last}[r]);
}}
"""
_STAGE = """    UNROLL for (int r = 0; r < {lanes}; r++)
        {after}[r] = r & {width} ? SHUFFLE({before}[r ^ {width}], {before}[r], {upper})
            : SHUFFLE({before}[r], {before}[r ^ {width}], {lower});
"""
# As many sums at once as there are lanes: those of each four, then their groups of four lanes.
_SUM_EIGHT = """
static inline {name} {name}_sum8({arguments}) {{
    const {name} p = {name}_groups(a0, a1, a2, a3), q = {name}_groups(a4, a5, a6, a7);
    return SHUFFLE(p, q, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(p, q, 4, 5, 6, 7, 12, 13, 14, 15);
}}
"""
_SUM_SIXTEEN = """
static inline {name} {name}_sum16({arguments}) {{
    const {name} p = {name}_groups(a0, a1, a2, a3), q = {name}_groups(a4, a5, a6, a7);
    const {name} r = {name}_groups(a8, a9, a10, a11), s = {name}_groups(a12, a13, a14, a15);
    const {name} t = SHUFFLE(p, q, {first}) + SHUFFLE(p, q, {second});
    const {name} u = SHUFFLE(r, s, {first}) + SHUFFLE(r, s, {second});
    return SHUFFLE(t, u, {first}) + SHUFFLE(t, u, {second});
}}
"""
_SUM_MANY = {8: _SUM_EIGHT, 16: _SUM_SIXTEEN}
_FOLD = """
static inline {quad} {name}_fold({name} v) {{
    union {{ {name} whole; {half} halves[2]; }} u = {{v}};
    return {half}_fold(u.halves[0] + u.halves[1]);
}}
"""
_FOLD_QUAD = """
static inline {quad} {name}_fold({name} v) {{ return v; }}
"""

# Masked loads by the compiler's own names, where the machine has them.
_MASKED = {
    ("f32", 16): ("__AVX512F__", "__builtin_ia32_loadups512_mask(p, v, (uint16_t)m)"),
    ("f64", 8): ("__AVX512F__", "__builtin_ia32_loadupd512_mask(p, v, (uint8_t)m)"),
    ("f32", 8): ("__AVX512VL__", "__builtin_ia32_loadups256_mask(p, v, (uint8_t)m)"),
    ("f64", 4): ("__AVX512VL__", "__builtin_ia32_loadupd256_mask(p, v, (uint8_t)m)"),
    ("f32", 4): ("__AVX512VL__", "__builtin_ia32_loadups128_mask(p, v, (uint8_t)m)"),
    ("f64", 2): ("__AVX512VL__", "__builtin_ia32_loadupd128_mask(p, v, (uint8_t)m)"),
}


# A vector's functions, e.g. `f32x16_load`. `f(?<!\wf)` is `\bf`, and thirty times as fast.
_CALLED = re.compile(r"(f(?<!\wf)(?:32|64))x(\d+)_(\w+)")


def vector_name(dtype: DType, lanes: int) -> str:
    """The C type of `lanes` elements, e.g. `f32x16`."""
    return f"{_SHORT[dtype.name]}x{lanes}"


def vector_prelude(text: str, dtypes: tuple[DType, ...]) -> str:
    """The declarations of the vector types that `text` names, and of their halves."""
    called = sorted(set(_CALLED.findall(text)))
    used = {(kind, int(lanes)) for kind, lanes, _ in called}
    if not used:
        return ""
    out = [_COMMON]
    for dtype in dtypes:
        kind = _SHORT[dtype.name]
        lanes = 2
        most = max((n for k, n in used if k == kind), default=0)
        while lanes <= most:
            out.append(_declare(dtype, kind, lanes))
            lanes *= 2
    joins = [(k, n, what.removesuffix("_all")) for k, n, what in called if what.endswith("_all")]
    for kind, count in sorted({(k, n) for k, n, op in joins if op != "add"}):
        scalar = next(C_TYPES[d.name] for d in dtypes if _SHORT[d.name] == kind)
        out.append(_OR.format(name=f"{kind}x{count}", scalar=scalar, lanes=count))
    for kind, count in [(k, n) for k, n, what in called if what == "transpose"]:
        scalar = next(C_TYPES[d.name] for d in dtypes if _SHORT[d.name] == kind)
        out.append(_declare_transpose(f"{kind}x{count}", scalar, int(count)))
    for kind, count, op in joins:
        out.append(_declare_join(kind, int(count), op))
    return "".join(out)


def _declare_transpose(name: str, scalar: str, lanes: int) -> str:
    """How a square of numbers is transposed in registers."""
    stages, before, after, width = "", "v", "w", 1
    while width < lanes:
        lower = (k - width + lanes if k & width else k for k in range(lanes))
        upper = (k + lanes if k & width else k + width for k in range(lanes))
        stages += _STAGE.format(
            lanes=lanes, width=width, before=before, after=after,
            lower=", ".join(map(str, lower)), upper=", ".join(map(str, upper)),
        )  # fmt: skip
        before, after, width = after, before, 2 * width
    return _TRANSPOSE.format(name=name, scalar=scalar, lanes=lanes, stages=stages, last=before)


def _declare_join(kind: str, lanes: int, op: str) -> str:
    """How all numbers of an array are joined to one."""
    dtype = next(d for d in (float32, float64) if _SHORT[d.name] == kind)
    sign, identity = _JOINS[op]
    tail = f"{kind}x{lanes}_tail(p + k, count - k)"
    folds, step = "", lanes // 2
    while step:
        order = ", ".join(str((k + step) % lanes) for k in range(lanes))
        folds += f"    v = {kind}x{lanes}_{op}(v, SHUFFLE(v, v, {order}));\n"
        step //= 2
    fields = {
        "name": f"{kind}x{lanes}", "scalar": C_TYPES[dtype.name], "op": op, "sign": sign,
        "folds": folds,
        "identity": identity, "lanes": lanes, "twice": 2 * lanes,
        "bytes": lanes * dtype.itemsize, "integer": f"int{8 * dtype.itemsize}_t",
        "last": tail if op == "add" else f"{kind}x{lanes}_or({tail}, count - k, {identity})",
    }  # fmt: skip
    text = _ADD if op == "add" else _PICK
    return (text + _ALL).format(**fields)


def _declare(dtype: DType, kind: str, lanes: int) -> str:
    # Lanes that one instruction joins, without a table: x86's unpack takes them by turns from one
    # half of each 16 bytes, which are four floats but two doubles.
    first, rest = (2, 1) if dtype is float64 else (1, 2)
    fields = {
        "scalar": C_TYPES[dtype.name],
        "name": f"{kind}x{lanes}",
        "half": f"{kind}x{lanes // 2}",
        "bytes": lanes * dtype.itemsize,
        "item": dtype.itemsize,
        "integer": f"int{8 * dtype.itemsize}_t",
        "lanes_list": ", ".join(map(str, range(lanes))),
        "quad": f"{kind}x4",
        "one": _turns(lanes, (0, lanes, first, lanes + first)),
        "other": _turns(lanes, (rest, lanes + rest, 3, lanes + 3)),
        "low": _turns(lanes, (0, 1, lanes, lanes + 1)),
        "high": _turns(lanes, (2, 3, lanes + 2, lanes + 3)),
        "masked": "",
        "end": "",
    }
    if (kind, lanes) in _MASKED:
        feature, call = _MASKED[kind, lanes]
        fields["masked"] = (
            f"#if defined({feature}) && !defined(__clang__)\n"
            f"    {fields['name']} v = {{0}};\n"
            "    uint32_t m = ((uint32_t)1 << count) - 1;\n"
            f"    return {call};\n#else\n"
        )
        fields["end"] = "#endif\n"
    text = _TYPE.format(**fields) + _LOAD_STORE.format(**fields)
    text += (_SUM_PAIR if lanes == 2 else _SUM).format(**fields)
    if lanes >= 4:
        text += (_FOLD_QUAD if lanes == 4 else _FOLD).format(**fields)
        text += _SUM_FOUR.format(**fields)
    if lanes in _SUM_MANY:
        arguments = ", ".join(f"{fields['name']} a{k}" for k in range(lanes))
        fields |= {"arguments": arguments, "first": _quads(0, 8), "second": _quads(4, 12)}
        text += _SUM_MANY[lanes].format(**fields)
    return text


def _quads(*starts: int) -> str:
    """Groups of four lanes of a first and then of a second vector of sixteen."""
    return ", ".join(str(v + s + k) for v in (0, 16) for s in starts for k in range(4))


def _turns(lanes: int, pattern: tuple[int, int, int, int]) -> str:
    """A shuffle of two vectors that does the same in each group of four lanes."""
    return ", ".join(str(group + p) for group in range(0, lanes, 4) for p in pattern)
