"""Lines that reduce: sums and their kin over any axes, extrema, spread, norms, running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.draft import Draft, Entry, Unfit

Line = Callable[[Draft], str | None]
# Of a product; of running products a third. 132 took the interpreter over ten minutes.
MOST_FACTORS = 24


def over(draft: Draft, x: Entry, single: bool = False) -> str:
    """The arguments that name axes: none, one or several, kept or not; "" without."""
    if not x.rank or (not single and draft.odds(25)):
        return ""
    axes = draft.axes(x)
    at: object = axes if len(axes) > 1 and not single else axes[0]
    if draft.odds(30) and isinstance(at, int):
        at = at - x.rank
    kept = draft.odds(40)
    if draft.is_torch:
        return f", dim={at}" + (", keepdim=True" if kept else "")
    return f", axis={at}" + (", keepdims=True" if kept else "")


def counts(x: Entry, where: str) -> list[int]:
    """How many elements are reduced together, in each call."""
    if not where:
        return [int(v.numel() if hasattr(v, "numel") else v.size) for v in x.values]
    inside = where.split("=", 1)[1].split(", keep")[0].strip("()")
    axes = [int(a) for a in inside.split(",") if a.strip()]
    found = []
    for value in x.values:
        total = 1
        for axis in axes:
            total *= int(value.shape[axis])
        found.append(total)
    return found


def plain(torch_name: str, numpy_name: str = "", kinds: str = "f") -> Line:
    """A reduction that is smooth everywhere."""

    def line(draft: Draft) -> str | None:
        x = draft.pick(kinds)
        name = torch_name if draft.is_torch else numpy_name
        return f"{draft.library}.{name}({x.name}{over(draft, x)})" if name else None

    return line


def prod(draft: Draft) -> str | None:
    """A product of few enough elements: its second derivative takes the cube of their number."""
    x = draft.pick("f" if draft.odds(90) else "i")
    where = over(draft, x, single=draft.is_torch)
    if draft.is_torch and where and x.kind == "i":
        raise Unfit
    if max(counts(x, where)) > MOST_FACTORS:
        raise Unfit
    return f"{draft.library}.prod({x.name}{where})"


def extremum(draft: Draft) -> str | None:
    """amax and amin, off ties: among what is reduced together the best is well ahead."""
    x = draft.pick()
    name = draft.one(["amax", "amin"])
    where = over(draft, x)
    draft.away(*lead(draft, x, name, where))
    return f"{draft.library}.{name}({x.name}{where})"


def lead(draft: Draft, x: Entry, name: str, where: str) -> list[str]:
    """A guard: how far every other element lies behind the extremum, which counts as 1."""
    kept = where.replace(", keepdim=True", "").replace(", keepdims=True", "")
    keep = ", keepdim=True" if draft.is_torch else ", keepdims=True"
    if not kept and draft.is_torch:
        kept = f", dim={tuple(range(x.rank))}" if x.rank else ", dim=()"
    best = f"{draft.library}.{name}({x.name}{kept}{keep})"
    same = f"({x.name} == {best})"
    to_int = ".sum(" + (kept[2:] + keep if kept else keep[2:]) + ")"
    return [
        f"{draft.library}.where({same}, 1.0, {x.name} - {best})",
        f"1.0 * ({same}{to_int} == 1)",
    ]


def located(draft: Draft) -> str | None:
    """argmax and argmin, and the values and indices of torch's max and min."""
    x = draft.ranked(1)
    name = draft.one(["amax", "amin"])
    axis = draft.axis(x)
    where = f", dim={axis}" if draft.is_torch else f", axis={axis}"
    if draft.odds(20):
        where = ""
    draft.away(*lead(draft, x, name, where))
    if not draft.is_torch or not where or draft.odds(50):
        return f"{draft.library}.arg{name[1:]}({x.name}{where})"
    keep = ", keepdim=True" if draft.odds(40) else ""
    part = draft.one([".values", ".values", ".indices", "[0]", "[1]"])
    return f"torch.{name[1:]}({x.name}{where}{keep}){part}"


def whole_extremum(draft: Draft) -> str | None:
    """Extrema of integers and bools, with ties."""
    x = draft.pick("i")
    if x.rank and draft.odds(40):
        axis = draft.axis(x)
        where = f", dim={axis}" if draft.is_torch else f", axis={axis}"
        return f"{draft.library}.{draft.one(['argmax', 'argmin'])}({x.name}{where})"
    return f"{draft.library}.{draft.one(['amax', 'amin'])}({x.name}{over(draft, x)})"


def spread(draft: Draft) -> str | None:
    """var and std with a correction of 0 or 1."""
    x = draft.pick()
    where = over(draft, x)
    correction = draft.one([0, 1]) if min(counts(x, where)) > 1 else 0
    name = draft.one(["var", "std"])
    keyword = "correction" if draft.is_torch else "ddof"
    text = f"{draft.library}.{name}({x.name}{where}, {keyword}={correction})"
    variance = text.replace(".std(", ".var(")
    if name == "std":
        draft.away(f"10 * {variance}")
    if draft.is_torch and where and draft.odds(15):
        return text.replace(f".{name}(", f".{name}_mean(") + draft.one(["[0]", "[1]"])
    return text


def norm(draft: Draft) -> str | None:
    """Norms of every order, off 0 and off ties."""
    x = draft.pick()
    p = draft.one(["2", "1", "1.5", "3", "float('inf')", "-1"])
    where = over(draft, x)
    if not draft.is_torch:
        where = over(draft, x, single=True)
        if not where and x.rank != 1:
            raise Unfit
    if p != "2":
        draft.away(f"{x.name} * 3")
    else:
        draft.away(f"({x.name} * {x.name}).sum()")
    if "inf" in p:
        size = Entry(f"abs({x.name})", tuple(abs(v) for v in x.values))
        draft.away(*lead(draft, size, "amax", where))
    if draft.is_torch:
        return f"torch.linalg.vector_norm({x.name}, {p}{where})"
    return f"np.linalg.norm({x.name}, {p}{where})"


def matrix_norm(draft: Draft) -> str | None:
    """The Frobenius norm, and the sum of the norms of rows."""
    x = draft.ranked(2, 2)
    draft.away(f"({x.name} * {x.name}).sum(1)")
    if draft.is_torch:
        texts = ["torch.linalg.norm({0})", "torch.linalg.matrix_norm({0})", "torch.norm({0})",
                 "{0}.norm(dim=1).sum()", "F.normalize({0}, dim=1)"]  # fmt: skip
        return draft.one(texts).format(x.name)
    return draft.one(["np.linalg.norm({0})", "np.linalg.norm({0}, 'fro')"]).format(x.name)


def along(draft: Draft) -> str | None:
    """softmax and its kin along one axis."""
    x = draft.ranked(1)
    axis = draft.axis(x)
    y = draft.within(x, -30, 30)
    names = ["torch.softmax", "torch.log_softmax", "F.softmin", "F.log_softmax"]
    return f"{draft.one(names)}({y}, dim={axis})"


def logsumexp(draft: Draft) -> str | None:
    """logsumexp over one axis or several."""
    x = draft.ranked(1)
    axes = draft.axes(x)
    at = axes if len(axes) > 1 else axes[0]
    return f"torch.logsumexp({x.name}, dim={at}{draft.one(['', ', keepdim=True'])})"


def running(draft: Draft) -> str | None:
    """cumsum and cumprod along an axis of a size that stays."""
    x = draft.ranked(1, kinds="f" if draft.odds(85) else "i")
    axis = draft.axis(x, fixed=True)
    name = draft.one(["cumsum", "cumsum", "cumprod"])
    if name == "cumprod" and x.shape[axis] > MOST_FACTORS // 3:
        raise Unfit
    return f"{draft.library}.{name}({x.name}, {axis})"


def truth(draft: Draft) -> str | None:
    """any, all and counts."""
    x = draft.pick("b" if draft.odds(70) else "i")
    name = draft.one(["any", "all", "count_nonzero"])
    where = over(draft, x)
    if name == "count_nonzero":
        where = where.replace(", keepdim=True", "")
    return f"{draft.library}.{name}({x.name}{where})"


def average(draft: Draft) -> str | None:
    """NumPy's average, ptp, mean of integers."""
    x = draft.pick()
    return f"np.average({x.name}{over(draft, x).replace(', keepdims=True', '')})"


LINES: Mapping[str, Line] = {
    "sum": plain("sum", "sum"),
    "mean": plain("mean", "mean"),
    "nansum": plain("nansum", "nansum"),
    "nanmean": plain("nanmean", "nanmean"),
    "sum of whole": plain("sum", "sum", kinds="i"),
    "sum of bools": plain("sum", "sum", kinds="b"),
    "prod": prod,
    "extremum": extremum,
    "located": located,
    "whole extremum": whole_extremum,
    "spread": spread,
    "norm": norm,
    "matrix norm": matrix_norm,
    "along": along,
    "logsumexp": logsumexp,
    "running": running,
    "truth": truth,
    "average": average,
}
TORCH_ONLY = {"along", "logsumexp"}
NUMPY_ONLY = {"average"}
