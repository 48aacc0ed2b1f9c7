"""How each elementwise op is spelled in the two targets, side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphir.dtypes import DType, bfloat16, float32

from .machine import PRECISIONS, Chip, Precision


@dataclass(frozen=True)
class Spelling:
    """Templates over the arguments `{0}`, `{1}`, …, the result's `{type}` and its size in `{bits}`.

    `c` may use `{f}`, the suffix of a function's name for the type ("f" for float32); the `gr_`
    functions are `c_math`'s. The `64` and `_int` templates stand in for `triton` and `c` where
    those types are spelled differently, and `c_far` for `c` where a loop has met an argument that
    the usual function does not reach.
    """

    c: str
    triton: str
    triton64: str | None = None
    c_int: str | None = None
    triton_int: str | None = None
    c64: str | None = None
    c_far: str | None = None


def _infix(symbol: str, triton: str | None = None) -> Spelling:
    return Spelling(f"({{0}} {symbol} {{1}})", f"({{0}} {triton or symbol} {{1}})")


def _function(c: str, triton: str, triton64: str | None = None) -> Spelling:
    return Spelling(c + "{f}({0})", triton + "({0})", triton64 and triton64 + "({0})")


def _function_of_two(c: str, triton: str) -> Spelling:
    return Spelling(c + "{f}({0}, {1})", triton + "({0}, {1})")


def _periodic(name: str, triton: str) -> Spelling:
    function = _function(f"gr_{name}", triton)
    return replace(function, c_far=f"gr_far_{name}{{f}}({{0}})")


_NAN_ALL = "propagate_nan=tl.PropagateNan.ALL"

SPELLINGS: dict[str, Spelling] = {
    "add": _infix("+"),
    "sub": _infix("-"),
    "mul": _infix("*"),
    # Triton's plain division of float32 is approximate.
    "div": Spelling("({0} / {1})", "tl.div_rn({0}, {1})", "({0} / {1})"),
    "pow": Spelling(
        "gr_powf({0}, {1})",
        "libdevice.pow({0}, {1})",
        c64="__builtin_pow({0}, {1})",
    ),
    "neg": Spelling("(-{0})", "(-{0})"),
    "abs": Spelling("__builtin_fabs{f}({0})", "tl.abs({0})", None, "({0} < 0 ? -{0} : {0})"),
    # 0 for NaN, as in torch.
    "sign": Spelling(
        "({0} > 0 ? 1 : ({0} < 0 ? -1 : 0))", "(({0} > 0).to({type}) - ({0} < 0).to({type}))"
    ),
    "exp": _function("gr_exp", "tl.exp"),
    "expm1": _function("gr_expm1", "libdevice.expm1"),
    "log": _function("gr_log", "tl.log"),
    "log1p": _function("gr_log1p", "libdevice.log1p"),
    "exp2": _function("gr_exp2", "tl.exp2"),
    "log2": _function("gr_log2", "tl.log2"),
    "log10": _function("gr_log10", "libdevice.log10"),
    "sqrt": _function("__builtin_sqrt", "tl.sqrt_rn", "tl.sqrt"),
    "sin": _periodic("sin", "tl.sin"),
    "cos": _periodic("cos", "tl.cos"),
    "tan": _periodic("tan", "libdevice.tan"),
    "asin": _function("gr_asin", "libdevice.asin"),
    "acos": _function("gr_acos", "libdevice.acos"),
    "atan": _function("gr_atan", "libdevice.atan"),
    "atan2": _function_of_two("__builtin_atan2", "libdevice.atan2"),
    "hypot": _function_of_two("__builtin_hypot", "libdevice.hypot"),
    "tanh": _function("gr_tanh", "libdevice.tanh"),
    "sinh": _function("gr_sinh", "libdevice.sinh"),
    "cosh": _function("gr_cosh", "libdevice.cosh"),
    "sigmoid": Spelling("gr_sigmoid{f}({0})", "(1.0 / (1.0 + tl.exp(-{0})))"),
    "softplus": Spelling(
        "gr_softplus{f}({0})",
        "(tl.where({0} > 0, {0}, 0.0) + libdevice.log1p(tl.exp(-tl.abs({0}))))",
    ),
    "erf": _function("gr_erf", "libdevice.erf"),
    "floor": _function("__builtin_floor", "tl.floor"),
    "ceil": _function("__builtin_ceil", "tl.ceil"),
    "rint": _function("__builtin_rint", "libdevice.rint"),
    "trunc": _function("__builtin_trunc", "libdevice.trunc"),
    # Integers: a division by 0, or of the least one by -1, would trap.
    "fmod": Spelling(
        "__builtin_fmod{f}({0}, {1})",
        "libdevice.fmod({0}, {1})",
        None,
        "({1} == 0 || {1} == -1 ? 0 : {0} % {1})",
        "tl.where({1} == 0, 0, {0} % tl.where({1} == 0, 1, {1}))",
    ),
    "quotient": Spelling(
        "({1} == 0 ? 0 : {1} == -1 ? -{0} : {0} / {1})",
        "tl.where({1} == 0, 0, {0} // tl.where({1} == 0, 1, {1}))",
    ),
    "random_bits": Spelling("gr_random({0}, {1}, {2})", "random_bits({0}, {1}, {2})"),
    # A comparison that is false for NaN, so that NaN comes through.
    "relu": Spelling(
        "({0} < 0 ? 0 : {0})",
        "tl.where({0} < 0, 0.0, {0})",
        None,
        None,
        "tl.where({0} < 0, 0, {0})",
    ),
    "maximum": Spelling(
        "({0} > {1} || {0} != {0} ? {0} : {1})",
        f"tl.maximum({{0}}, {{1}}, {_NAN_ALL})",
        None,
        None,
        "tl.maximum({0}, {1})",
    ),
    "minimum": Spelling(
        "({0} < {1} || {0} != {0} ? {0} : {1})",
        f"tl.minimum({{0}}, {{1}}, {_NAN_ALL})",
        None,
        None,
        "tl.minimum({0}, {1})",
    ),
    "eq": _infix("=="),
    "ne": _infix("!="),
    "lt": _infix("<"),
    "le": _infix("<="),
    "gt": _infix(">"),
    "ge": _infix(">="),
    "logical_and": _infix("&&", "&"),
    "logical_or": _infix("||", "|"),
    "logical_not": Spelling("(!{0})", "(~{0})"),
    "bitwise_and": _infix("&"),
    "bitwise_or": _infix("|"),
    "bitwise_xor": _infix("^"),
    # Triton's interpreter has no complement of unsigned numbers.
    "bitwise_not": Spelling("(~{0})", "(~{0}.to(tl.int64)).to({type})"),
    # A shift by all bits or more, or a negative one, is undefined in both.
    "bitwise_left_shift": Spelling(
        "({1} < 0 || {1} >= {bits} ? 0 : ({type})((uint64_t){0} << {1}))",
        "tl.where(({1} < 0) | ({1} >= {bits}), 0, {0} << {1})",
    ),
    "bitwise_right_shift": Spelling(
        "({1} < 0 || {1} >= {bits} ? ({0} < 0 ? -1 : 0) : {0} >> {1})",
        "tl.where(({1} < 0) | ({1} >= {bits}), tl.where({0} < 0, -1, 0), {0} >> {1}).to({type})",
    ),
    "where": Spelling("({0} ? {1} : {2})", "tl.where({0}, {1}, {2})"),
    "cast": Spelling("(({type}){0})", "{0}.to({type})"),
    "copy": Spelling("{0}", "{0}"),
}

C_TYPES = {
    "bool": "uint8_t",
    "uint8": "uint8_t",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float16": "_Float16",
    "bfloat16": "uint16_t",  # its bits
    "float32": "float",
    "float64": "double",
}
TRITON_TYPES = {
    "bool": "tl.int1",
    "uint8": "tl.uint8",
    "int8": "tl.int8",
    "int16": "tl.int16",
    "int32": "tl.int32",
    "int64": "tl.int64",
    "float16": "tl.float16",
    "bfloat16": "tl.bfloat16",
    "float32": "tl.float32",
    "float64": "tl.float64",
}
# The names in a launch signature.
TRITON_ABBREVIATIONS = {
    "bool": "i1",
    "uint8": "u8",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "float64": "fp64",
}


# Every float16 is within the reach of the usual functions.
PERIODIC = frozenset(op for op, row in SPELLINGS.items() if row.c_far is not None)
_FAR_TYPES = ("float32", "float64")


def may_be_far(op: str, operand: DType) -> bool:
    """Whether `op` has arguments of this type that its usual C function does not reach."""
    return op in PERIODIC and operand.name in _FAR_TYPES


def spell_c(op: str, out: DType, operand: DType, *args: str, far: bool = False) -> str:
    """The C expression of `op`; `operand` is the type that it computes in.

    Args:
        far: whether arguments may lie where the usual function does not reach.
    """
    row = SPELLINGS[op]
    template = row.c_far if far and row.c_far else row.c
    if row.c64 and operand.name == "float64":
        template = row.c64
    if row.c_int and not operand.is_float:
        template = row.c_int
    suffix = "" if operand.name == "float64" else "f"
    kind = C_TYPES[out.name]
    if op == "cast" and out.kind == "b":
        return f"({args[0]} != 0)"
    if op == "cast" and out is bfloat16:
        return f"gr_to_bfloat16({args[0]})"
    if op == "cast" and operand is bfloat16:
        return f"gr_from_bfloat16({args[0]})"
    return template.format(*args, f=suffix, type=kind, bits=8 * out.itemsize)


# What the GPU computes in float16 as it stands; all else there is computed in float32.
_IN_HALF = frozenset(
    [
        "add",
        "sub",
        "mul",
        "neg",
        "abs",
        "sign",
        "relu",
        "maximum",
        "minimum",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "where",
        "cast",
        "copy",
    ]
)


def spell_triton(op: str, out: DType, operand: DType, *args: str) -> str:
    """The Triton expression of `op`; `operand` is the type that it computes in."""
    if operand.name == "float16" and op not in _IN_HALF:
        wide = [f"tl.cast({x}, tl.float32)" for x in args]
        return f"tl.cast({spell_triton(op, float32, float32, *wide)}, tl.float16)"
    row = SPELLINGS[op]
    template = row.triton
    if row.triton64 and operand.name == "float64":
        template = row.triton64
    if row.triton_int and not operand.is_float:
        template = row.triton_int
    if op == "cast" and out.kind == "b":
        return f"({args[0]} != 0)"
    return template.format(*args, type=TRITON_TYPES[out.name], bits=8 * out.itemsize)


def spell_dot(
    x: str, y: str, dtype: DType, precision: Precision, chip: Chip, acc: str | None
) -> str:
    """Triton's product of two matrices of `dtype`, added to `acc` if there is one: of float32 as
    exactly as `precision` says, of float64 exactly, of 16 bits exactly with sums in float32."""
    names = {"float32": chip.dots[PRECISIONS.index(precision)], "float64": "ieee"}
    how = names.get(dtype.name)
    if how == "bf16":
        x, y, how = f"{x}.to(tl.bfloat16)", f"{y}.to(tl.bfloat16)", None
    named = "" if how is None else f', input_precision="{how}"'
    if acc and dtype.name == "float64":
        named += ", out_dtype=tl.float64"
    elif dtype.itemsize == 2:
        named = ", out_dtype=tl.float32"
    return f"tl.dot({x}, {y}{', ' + acc if acc else ''}{named})"


def bare(text: str) -> str:
    """An expression without the parentheses around the whole of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for place, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0 and place < len(text) - 1:
            return text
    return text[1:-1]
