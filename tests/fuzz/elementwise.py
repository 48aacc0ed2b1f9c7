"""Lines of elementwise functions: of one, two and three operands, with the domains and the kinks
of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.draft import Draft, Entry

INF = float("inf")
Line = Callable[[Draft], str | None]
Domain = tuple[float, float]
ANY: Domain = (-INF, INF)
SMALL: Domain = (-6.0, 6.0)
POSITIVE: Domain = (0.1, INF)
INSIDE: Domain = (-0.9, 0.9)

# name: (in torch, in NumPy, domain, kinks); an empty text is a function the library lacks.
ONE: Mapping[str, tuple[str, str, Domain, tuple[float, ...]]] = {
    "neg": ("-{0}", "np.negative({0})", ANY, ()),
    "positive": ("torch.positive({0})", "+{0}", ANY, ()),
    "abs": ("torch.abs({0})", "np.abs({0})", ANY, (0,)),
    "sign": ("torch.sign({0})", "np.sign({0})", ANY, (0,)),
    "square": ("torch.square({0})", "np.square({0})", ANY, ()),
    "exp": ("torch.exp({0})", "np.exp({0})", SMALL, ()),
    "expm1": ("{0}.expm1()", "np.expm1({0})", SMALL, ()),
    "exp2": ("torch.exp2({0})", "np.exp2({0})", SMALL, ()),
    "log": ("torch.log({0})", "np.log({0})", POSITIVE, ()),
    "log1p": ("torch.log1p({0})", "np.log1p({0})", (-0.8, INF), ()),
    "log2": ("{0}.log2()", "np.log2({0})", POSITIVE, ()),
    "log10": ("torch.log10({0})", "np.log10({0})", POSITIVE, ()),
    "sqrt": ("torch.sqrt({0})", "np.sqrt({0})", POSITIVE, ()),
    "rsqrt": ("torch.rsqrt({0})", "", POSITIVE, ()),
    "reciprocal": ("torch.reciprocal({0})", "np.reciprocal({0})", POSITIVE, ()),
    "sin": ("torch.sin({0})", "np.sin({0})", (-20, 20), ()),
    "cos": ("torch.cos({0})", "np.cos({0})", (-20, 20), ()),
    "tan": ("torch.tan({0})", "np.tan({0})", (-1.3, 1.3), ()),
    "asin": ("torch.asin({0})", "np.arcsin({0})", INSIDE, ()),
    "acos": ("torch.acos({0})", "np.arccos({0})", INSIDE, ()),
    "atan": ("torch.atan({0})", "np.arctan({0})", ANY, ()),
    "sinh": ("torch.sinh({0})", "np.sinh({0})", SMALL, ()),
    "cosh": ("torch.cosh({0})", "np.cosh({0})", SMALL, ()),
    "tanh": ("torch.tanh({0})", "np.tanh({0})", ANY, ()),
    "erf": ("torch.erf({0})", "", ANY, ()),
    "sigmoid": ("torch.sigmoid({0})", "", ANY, ()),
    "logsigmoid": ("F.logsigmoid({0})", "", ANY, ()),
    "softplus": ("F.softplus({0})", "", (-18, 18), ()),
    "softplus beta": ("F.softplus({0}, beta=2.0)", "", (-9, 9), ()),
    "silu": ("F.silu({0})", "", ANY, ()),
    "mish": ("F.mish({0})", "", (-18, 18), ()),
    "gelu": ("F.gelu({0})", "", ANY, ()),
    "tanh gelu": ("F.gelu({0}, approximate='tanh')", "", SMALL, ()),
    "relu": ("torch.relu({0})", "np.maximum({0}, 0)", ANY, (0,)),
    "leaky_relu": ("F.leaky_relu({0}, 0.2)", "", ANY, (0,)),
    "elu": ("F.elu({0}, 0.7)", "", ANY, (0,)),
    "celu": ("F.celu({0}, 1.3)", "", ANY, (0,)),
    "selu": ("F.selu({0})", "", ANY, (0,)),
    "hardtanh": ("F.hardtanh({0}, -0.5, 1.5)", "", ANY, (-0.5, 1.5)),
    "relu6": ("F.relu6({0})", "", ANY, (0, 6)),
    "hardsigmoid": ("F.hardsigmoid({0})", "", ANY, (-3, 3)),
    "hardswish": ("F.hardswish({0})", "", ANY, (-3, 3)),
    "softsign": ("F.softsign({0})", "", ANY, (0,)),
    "tanhshrink": ("F.tanhshrink({0})", "", ANY, ()),
    "threshold": ("F.threshold({0}, 0.3, 7.0)", "", ANY, (0.3,)),
    "clamp": ("{0}.clamp(-1.0, 0.5)", "np.clip({0}, -1.0, 0.5)", ANY, (-1, 0.5)),
    "clamp min": ("torch.clamp({0}, min=0.1)", "np.clip({0}, 0.1, None)", ANY, (0.1,)),
    "clamp max": ("torch.clamp_max({0}, 0.4)", "np.minimum({0}, 0.4)", ANY, (0.4,)),
    "deg2rad": ("torch.deg2rad({0})", "np.deg2rad({0})", ANY, ()),
    "rad2deg": ("torch.rad2deg({0})", "np.rad2deg({0})", (-9, 9), ()),
    "logit": ("torch.logit({0})", "", (0.02, 0.98), ()),
    "logit eps": ("{0}.logit(0.1)", "", ANY, (0.1, 0.9)),
    "nan_to_num": ("torch.nan_to_num({0})", "np.nan_to_num({0})", ANY, ()),
    "detach": ("{0}.detach()", "", ANY, ()),
    "clone": ("{0}.clone()", "np.copy({0})", ANY, ()),
    "float_power": ("torch.float_power({0}, 2)", "np.float_power({0}, 2)", ANY, ()),
    "plus a number": ("{0} + 2", "{0} + 2", ANY, ()),
    "a number minus": ("1.5 - {0}", "1.5 - {0}", ANY, ()),
    "times a number": ("{0} * 0.5", "0.5 * {0}", ANY, ()),
    "times an odd number": ("0.3 * {0}", "{0} * 0.3", ANY, ()),
    "over a number": ("{0} / 3", "{0} / 3", ANY, ()),
    "a number over": ("1 / {0}", "2.0 / {0}", POSITIVE, ()),
    "square by power": ("{0} ** 2", "{0} ** 2", ANY, ()),
    "cube": ("torch.pow({0}, 3)", "np.power({0}, 3)", (-9, 9), ()),
    "inverse square": ("{0} ** -2", "{0} ** -2.0", (0.3, INF), ()),
    "root by power": ("{0} ** 0.5", "{0} ** 0.5", POSITIVE, ()),
    "odd power": ("{0} ** 1.7", "np.power({0}, 1.7)", POSITIVE, ()),
    "power of a number": ("2.0 ** {0}", "2.0 ** {0}", SMALL, ()),
}
# Those with a derivative of 0 and a step at every whole number (of x, x / 0.7, 10 x, ...).
STEPS: Mapping[str, tuple[str, str, str]] = {
    "floor": ("torch.floor({0})", "np.floor({0})", "{0}"),
    "ceil": ("torch.ceil({0})", "np.ceil({0})", "{0}"),
    "trunc": ("torch.trunc({0})", "np.trunc({0})", "{0}"),
    "round": ("torch.round({0})", "np.round({0})", "({0} + 0.5)"),
    "round decimals": ("torch.round({0}, decimals=1)", "np.round({0}, 1)", "(10 * {0} + 0.5)"),
    "frac": ("torch.frac({0})", "", "{0}"),
    "remainder by a number": ("{0} % 0.7", "{0} % 0.7", "({0} / 0.7)"),
    "floor divide by a number": ("{0} // 0.6", "{0} // 0.6", "({0} / 0.6)"),
    "divide to zero": ("torch.div({0}, 0.3, rounding_mode='trunc')", "", "({0} / 0.3)"),
    "long": ("{0}.long()", "{0}.astype('int64')", "{0}"),
    "int": ("{0}.int()", "{0}.astype('int32')", "{0}"),
}
# name: (in torch, in NumPy, domains, guards)
TWO: Mapping[str, tuple[str, str, tuple[Domain, Domain], tuple[str, ...]]] = {
    "add": ("torch.add({0}, {1})", "{0} + {1}", (ANY, ANY), ()),
    "sub": ("{0} - {1}", "np.subtract({0}, {1})", (ANY, ANY), ()),
    "mul": ("{0} * {1}", "np.multiply({0}, {1})", (ANY, ANY), ()),
    "div": ("{0} / {1}", "{0} / {1}", (ANY, POSITIVE), ()),
    "add alpha": ("torch.add({0}, {1}, alpha=2)", "", (ANY, ANY), ()),
    "rsub": ("torch.rsub({0}, {1}, alpha=3)", "", (ANY, ANY), ()),
    "maximum": ("torch.maximum({0}, {1})", "np.maximum({0}, {1})", (ANY, ANY), ("{0} - {1}",)),
    "minimum": ("torch.min({0}, {1})", "np.minimum({0}, {1})", (ANY, ANY), ("{0} - {1}",)),
    "fmax": ("torch.fmax({0}, {1})", "np.fmax({0}, {1})", (ANY, ANY), ("{0} - {1}",)),
    "fmin": ("{0}.fmin({1})", "np.fmin({0}, {1})", (ANY, ANY), ("{0} - {1}",)),
    "atan2": ("torch.atan2({0}, {1})", "np.arctan2({0}, {1})", (ANY, (0.2, INF)), ()),
    "hypot": ("torch.hypot({0}, {1})", "np.hypot({0}, {1})", (ANY, (0.2, INF)), ()),
    "logaddexp": ("torch.logaddexp({0}, {1})", "np.logaddexp({0}, {1})", (SMALL, SMALL), ()),
    "pow": ("{0} ** {1}", "np.power({0}, {1})", ((0.2, 4.0), (-2.5, 2.5)), ()),
    "xlogy": ("torch.xlogy({0}, {1})", "", (ANY, POSITIVE), ()),
    "clamp by tensors": ("torch.clamp({0}, min={1})", "np.clip({0}, {1}, None)", (ANY, ANY),
                         ("{0} - {1}",)),
    "prelu": ("torch.where({0} > 0, {0}, {1} * {0})", "np.where({0} > 0, {0}, {1} * {0})",
              (ANY, ANY), ("{0}",)),
    "heaviside": ("torch.heaviside({0}, {1})", "np.heaviside({0}, {1})", (ANY, ANY), ("{0}",)),
}  # fmt: skip
WHOLE = ["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} // ({1} * {1} + 1)", "{0} % ({1} * {1} + 2)",
         "{L}.maximum({0}, {1})", "{0} * {1} - 3", "-{0}", "abs({0})", "{0} // -3", "{0} % -3",
         "{0} ** 2", "{L}.where({0} > {1}, {0}, {1})", "{L}.fmod({0}, 3)",
         "{L}.sign({0})", "{0} & {1}", "{0} | 5", "{0} ^ {1}", "~{0}", "{0} << 2", "{0} >> 1",
         "{0} >> ({1} & 3)", "{0} ** ({1} & 3)", "{0} ** 5"]  # fmt: skip
LOGIC = ["{0} & {1}", "{0} | {1}", "{0} ^ {1}", "~{0}", "{L}.logical_and({0}, {1})",
         "{L}.logical_or({0}, {1})", "{L}.logical_xor({0}, {1})", "{L}.logical_not({0})",
         "{0} == {1}", "{L}.where({0}, {1}, {0})"]  # fmt: skip
COMPARE = ["{0} > {1}", "{0} < {1}", "{0} >= {1}", "{0} <= {1}", "{0} != {1}", "{0} == {1}",
           "{L}.greater_equal({0}, {1})", "{L}.less({0}, {1})",
           "{L}.not_equal({0}, {1})"]  # fmt: skip


def operand(draft: Draft, entry: Entry, domain: Domain) -> str:
    """`entry`, or an expression over it that lies in the domain."""
    return entry.name if domain == ANY else draft.within(entry, *domain)


def one(name: str) -> Line:
    """A function of one operand."""

    def line(draft: Draft) -> str | None:
        ours, theirs, domain, kinks = ONE[name]
        text = ours if draft.is_torch else theirs
        x = operand(draft, draft.pick(), domain)
        draft.away(*(f"{x} - {k}" for k in kinks))
        return text.format(x) if text else None

    return line


def steps(name: str) -> Line:
    """A function with a step at each whole number."""

    def line(draft: Draft) -> str | None:
        ours, theirs, inner = STEPS[name]
        text = ours if draft.is_torch else theirs
        x = draft.pick().name
        y = inner.format(x)
        draft.away(f"{y} - {draft.library}.floor({y})", f"{y} - {draft.library}.ceil({y})")
        return text.format(x) if text else None

    return line


def two(name: str) -> Line:
    """A function of two operands that broadcast."""

    def line(draft: Draft) -> str | None:
        ours, theirs, domains, guards = TWO[name]
        text = ours if draft.is_torch else theirs
        first = draft.pick()
        pair = [first, draft.partner(first)]
        if draft.odds(50):
            pair.reverse()
        x, y = (operand(draft, e, d) for e, d in zip(pair, domains, strict=True))
        draft.away(*(g.format(x, y) for g in guards))
        return text.format(x, y) if text else None

    return line


def three(text: str, numpy: str = "") -> Line:
    """A function of three operands that broadcast."""

    def line(draft: Draft) -> str | None:
        chosen = text if draft.is_torch else numpy
        x = draft.pick()
        y = draft.partner(x)
        z = draft.partner(x, y)
        if "/" in chosen or "addcdiv" in chosen:
            return chosen.format(x.name, y.name, draft.within(z, *POSITIVE))
        return chosen.format(x.name, y.name, z.name) if chosen else None

    return line


def lerp(draft: Draft) -> str | None:
    """Its two formulas meet at a weight of 1/2."""
    x = draft.pick()
    y = draft.partner(x)
    if draft.odds(50):
        return f"torch.lerp({x.name}, {y.name}, {draft.one([0.3, 0.8])})"
    z = draft.partner(x, y)
    draft.away(f"abs({z.name}) - 0.5")
    return f"torch.lerp({x.name}, {y.name}, {z.name})"


def divided(draft: Draft) -> str | None:
    """Remainders and whole quotients of two values."""
    x = draft.pick()
    y = draft.within(draft.partner(x), 0.3, 4.0)
    ratio = f"({x.name} / {y})"
    library = draft.library
    draft.away(f"{ratio} - {library}.floor({ratio})", f"{ratio} - {library}.ceil({ratio})")
    text = draft.one(["{L}.fmod({0}, {1})", "{0} % {1}", "{0} // {1}", "{L}.remainder({0}, {1})"])
    return text.format(x.name, y, L=library)


def compared(draft: Draft) -> str | None:
    """A bool from two values, or a value and a number."""
    x = draft.pick("n")
    other = draft.partner(x, kinds="n")
    y = other.name if draft.odds(60) else str(draft.one([0, 0.5, -1]))
    if x.kind == "f" or other.kind == "f" or "." in y:
        draft.away(f"{x.name} - {y}")
    return draft.one(COMPARE).format(x.name, y, L=draft.library)


def logical(draft: Draft) -> str | None:
    """A bool from two others."""
    x = draft.pick("b")
    return draft.one(LOGIC).format(x.name, draft.partner(x, kinds="b").name, L=draft.library)


def tested(draft: Draft) -> str | None:
    """Which elements are finite, infinite, not a number."""
    return f"{draft.library}.{draft.one(['isnan', 'isinf', 'isfinite'])}({draft.pick('n').name})"


def whole(draft: Draft) -> str | None:
    """Arithmetic of integers."""
    x = draft.pick("i")
    return draft.one(WHOLE).format(x.name, draft.partner(x, kinds="i").name, L=draft.library)


def selected(draft: Draft) -> str | None:
    """Where a bool holds one value, elsewhere another."""
    mask = draft.pick("b")
    x = draft.partner(mask, kinds="n" if draft.odds(20) else "f")
    y = draft.partner(mask, x)
    texts = ["{L}.where({0}, {1}, {2})", "{L}.where({0}, 0.5, {2})", "{L}.where({0}, {1}, -2.0)"]
    if draft.is_torch:
        texts += ["{1}.masked_fill({0}, -1.5)", "{1}.where({0}, {2})"]
    return draft.one(texts).format(mask.name, x.name, y.name, L=draft.library)


def cast(draft: Draft) -> str | None:
    """Another element type."""
    if draft.odds(40):
        x = draft.pick("f")
        texts = ["{0}.float()", "{0}.double()", "{0}.to(torch.float64)"]
        if draft.halves:
            texts += [f"{{0}}.to(torch.{draft.one(draft.halves)})"] * 2
    else:
        x = draft.pick("a")
        texts = ["{0}.double()", "{0}.float()", "{0}.to(torch.float32)", "{0}.bool()"]
        if x.kind != "f":
            texts += ["{0}.long()", "{0}.int()"]
    text = draft.one(texts)
    if not draft.is_torch:
        numpys = {"float()": "float32", "double()": "float64", "to(torch.float64)": "float64",
                  "to(torch.float32)": "float32", "bool()": "bool", "long()": "int64",
                  "int()": "int32", "to(torch.float16)": "float16"}  # fmt: skip
        text = "{0}.astype('" + numpys[text.removeprefix("{0}.")] + "')"
    if "bool" in text and x.kind == "f":
        draft.away(x.name)
    return text.format(x.name)


def mixed(draft: Draft) -> str | None:
    """A floating value with an integer or a bool: promotion."""
    x = draft.pick()
    y = draft.partner(x, kinds="i" if draft.odds(60) else "a")
    return draft.one(["{0} * {1}", "{0} + {1}", "{1} * {0}"]).format(x.name, y.name)


LINES: Mapping[str, Line] = {
    **{name: one(name) for name in ONE},
    **{name: steps(name) for name in STEPS},
    **{name: two(name) for name in TWO},
    "lerp": lerp,
    "addcmul": three("torch.addcmul({0}, {1}, {2}, value=0.5)", "{0} + {1} * {2}"),
    "addcdiv": three("torch.addcdiv({0}, {1}, {2}, value=2)", "{0} + {1} / {2}"),
    "divided": divided,
}
CHOICES: Mapping[str, Line] = {
    "compared": compared,
    "logical": logical,
    "tested": tested,
    "whole": whole,
    "selected": selected,
    "cast": cast,
    "mixed": mixed,
}
TORCH_ONLY = {"lerp"} | {n for n, row in ONE.items() if not row[1]}
TORCH_ONLY |= {n for n, row in STEPS.items() if not row[1]} | {
    n for n, r in TWO.items() if not r[1]
}
