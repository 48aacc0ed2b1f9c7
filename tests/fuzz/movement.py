"""Lines that move elements, and lines that select them by integer arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.draft import RANKS, Draft, Entry, Unfit

Line = Callable[[Draft], str | None]


def any_value(draft: Draft, least: int = 0, most: int = RANKS) -> Entry:
    """A value of any kind, floating most often."""
    return draft.ranked(least, most, kinds="f" if draft.odds(85) else "a")


def size_text(x: Entry, axis: int) -> str:
    """The size of an axis as text: its number, or what follows the value where it varies."""
    return str(x.shape[axis]) if x.fixed(axis) else f"{x.name}.shape[{axis}]"


def reshape(draft: Draft) -> str | None:
    """Neighbouring axes joined, one split, or all flattened."""
    x = any_value(draft)
    sizes = [size_text(x, i) for i in range(x.rank)]
    way = draft.integer(0, 3)
    if way == 0 or x.rank == 0:
        return draft.one(["{0}.reshape(-1)", "{L}.ravel({0})", "{0}.flatten()"]).format(
            x.name, L=draft.library
        )
    at = draft.integer(0, x.rank - 1)
    if way == 1 and x.rank > 1:
        at = draft.integer(0, x.rank - 2)
        return f"{x.name}.reshape({', '.join([*sizes[:at], '-1', *sizes[at + 2 :]])})"
    if way == 2:
        if not x.fixed(at):
            return f"{x.name}.reshape({', '.join([*sizes[:at], sizes[at], '1', *sizes[at + 1 :]])})"
        factors = [d for d in range(1, x.shape[at] + 1) if x.shape[at] % d == 0]
        first = draft.one(factors or [1])
        parts = [*sizes[:at], str(first), str(x.shape[at] // first), *sizes[at + 1 :]]
        return f"{x.name}.reshape({', '.join(parts)})"
    if all(x.fixed(i) for i in range(x.rank)):
        total = 1
        for size in x.shape:
            total *= size
        first = draft.one([d for d in range(1, total + 1) if total % d == 0] or [1])
        return f"{draft.library}.reshape({x.name}, ({first}, -1))" if total else None
    return f"{x.name}.reshape(-1, {sizes[-1]})"


def permute(draft: Draft) -> str | None:
    """The axes in another order."""
    x = any_value(draft, 2)
    if draft.odds(40):
        a, b = draft.axis(x), draft.axis(x)
        if draft.is_torch:
            names = ["transpose", "swapaxes"]
            return f"torch.{draft.one(names)}({x.name}, {a}, {b})"
        return f"np.swapaxes({x.name}, {a}, {b})"
    if draft.odds(25):
        a, b = draft.axis(x), draft.axis(x)
        return f"{draft.library}.moveaxis({x.name}, {a}, {b})"
    if x.rank == 2 and draft.odds(40):
        return f"{x.name}.T"
    if draft.odds(20):
        return f"{x.name}.mT"
    order = draft.order(x.rank)
    return f"{x.name}.permute{order}" if draft.is_torch else f"np.transpose({x.name}, {order})"


def unit_axes(draft: Draft) -> str | None:
    """Axes of size 1 come and go."""
    x = any_value(draft)
    if draft.odds(60):
        at = draft.integer(-x.rank - 1, x.rank)
        name = "unsqueeze" if draft.is_torch else "expand_dims"
        return f"{draft.library}.{name}({x.name}, {at})"
    axes = [i for i in range(x.rank) if all(v.shape[i] == 1 for v in x.values)]
    return f"{draft.library}.squeeze({x.name}, {draft.one(axes)})"


def expand(draft: Draft) -> str | None:
    """A value repeated along new axes and axes of size 1."""
    x = any_value(draft, 0, 3)
    lead = [str(draft.integer(1, 3))] if draft.odds(50) or not x.rank else []
    sizes = [
        str(draft.integer(2, 3)) if x.fixed(i) and x.shape[i] == 1 else size_text(x, i)
        for i in range(x.rank)
    ]
    inside = ", ".join([*lead, *sizes])
    if draft.is_torch and draft.odds(50):
        return f"{x.name}.expand({inside})"
    return f"{draft.library}.broadcast_to({x.name}, ({inside},))"


def joined(draft: Draft) -> str | None:
    """cat and stack of two or three values, one of them perhaps twice."""
    x = any_value(draft)
    same = [e for e in draft.entries if e.rank == x.rank and e.dtype == x.dtype]
    if draft.odds(50) or not x.rank:
        same = [e for e in same if e.shape == x.shape]
        parts = [x, *(draft.one(same) for _ in range(draft.integer(1, 2)))]
        names = ", ".join(p.name for p in parts)
        at = draft.integer(0, x.rank)
        keyword = "dim" if draft.is_torch else "axis"
        return f"{draft.library}.stack([{names}], {keyword}={at})"
    axis = draft.integer(0, x.rank - 1)

    def fits(e: Entry) -> bool:
        return all(i == axis or e.shape[i] == x.shape[i] for i in range(x.rank))

    same = [e for e in same if fits(e)]
    parts = [x, *(draft.one(same) for _ in range(draft.integer(1, 2)))]
    names = ", ".join(p.name for p in parts)
    if draft.odds(15):
        return f"{draft.library}.{draft.one(['hstack', 'vstack', 'column_stack'])}([{names}])"
    return f"{draft.library}.concatenate([{names}], {axis})"


def pieces(draft: Draft) -> str | None:
    """One piece of a value that is cut along an axis."""
    x = any_value(draft, 1)
    axis = draft.axis(x, fixed=True)
    size = x.shape[axis]
    if size < 2:
        raise Unfit
    if not draft.is_torch:
        cut = draft.integer(1, size - 1)
        return f"np.array_split({x.name}, [{cut}], {axis})[{draft.one([0, -1])}]"
    texts = ["torch.split({0}, {2}, {1})[{3}]", "torch.chunk({0}, 2, {1})[{3}]",
             "torch.unbind({0}, {1})[{3}]", "torch.tensor_split({0}, ({2},), {1})[{3}]",
             "{0}.narrow({1}, {4}, {2})", "{0}.select({1}, {3})"]  # fmt: skip
    length = draft.integer(1, size - 1)
    return draft.one(texts).format(
        x.name, axis, length, draft.one([0, -1]), draft.integer(0, size - length)
    )


def sliced(draft: Draft) -> str | None:
    """x[...] with ints, slices, None and an ellipsis."""
    x = any_value(draft, 1)
    items = []
    for i in range(draft.integer(1, x.rank)):
        items.append(_item(draft, x, i))
        if draft.odds(10):
            items.append("None")
    if draft.odds(10):
        items = ["...", *reversed([_item(draft, x, x.rank - 1 - i) for i in range(1)])]
    return f"{x.name}[{', '.join(items)}]"


def _item(draft: Draft, x: Entry, axis: int) -> str:
    size, fixed = x.shape[axis], x.fixed(axis)
    if not fixed:
        least = min(v.shape[axis] for v in x.values)
        texts = [":", ":", "0", "1:", ":-1"] if least > 1 else [":", "0"]
        return draft.one(texts)
    texts = [":", "-1", "0", "::2"]
    if size > 1:
        texts += ["1:", ":-1", "1", f"{size - 1}:0" if draft.is_torch else "::-1"]
    if not draft.is_torch:
        texts.append("::-2")
    if draft.odds(4):
        texts = ["0:0"]
    return draft.one(texts)


def flipped(draft: Draft) -> str | None:
    """flip and roll."""
    x = any_value(draft, 1)
    if draft.odds(50):
        axes = draft.axes(x)
        return f"{draft.library}.flip({x.name}, {axes})"
    if draft.odds(30):
        return f"{draft.library}.roll({x.name}, {draft.integer(-3, 3)})"
    return f"{draft.library}.roll({x.name}, {draft.integer(-3, 3)}, {draft.axis(x)})"


def repeated(draft: Draft) -> str | None:
    """tile, repeat and repeat_interleave."""
    x = any_value(draft)
    times = tuple(draft.integer(1, 2) for _ in range(max(1, x.rank)))
    if draft.odds(50) or not x.rank:
        return f"{draft.library}.tile({x.name}, {times})"
    if draft.is_torch:
        if draft.odds(50):
            return f"{x.name}.repeat({', '.join(map(str, times))})"
        return f"torch.repeat_interleave({x.name}, {draft.integer(1, 3)}, dim={draft.axis(x)})"
    return f"np.repeat({x.name}, {draft.integer(1, 3)}, {draft.axis(x)})"


def padded(draft: Draft) -> str | None:
    """Constants around a value; torch also takes elements away."""
    x = any_value(draft, 1, 3)
    value = draft.one(["0", "1.5", "-2"]) if x.kind == "f" else "1"
    if not draft.is_torch:
        pairs = tuple((draft.integer(0, 2), draft.integer(0, 2)) for _ in range(x.rank))
        return f"np.pad({x.name}, {pairs}, constant_values={value})"
    least = -1 if min(min(v.shape) for v in x.values) > 2 else 0
    widths = tuple(draft.integer(least, 2) for _ in range(2 * draft.integer(1, x.rank)))
    return f"F.pad({x.name}, {widths}, value={value})"


def triangle(draft: Draft) -> str | None:
    """tril, triu, diagonals and the trace of matrices."""
    x = any_value(draft, 2, 3)
    k = draft.integer(-1, 1)
    texts = ["{L}.tril({0}, {1})", "{L}.triu({0}, {1})"]
    if all(x.fixed(i) for i in range(x.rank)):
        texts += ["{L}.diagonal({0}, {1})", "{0}.diagonal()"]
        if x.rank == 2:
            texts += ["{L}.trace({0})"]
    return draft.one(texts).format(x.name, k, L=draft.library)


def filled(draft: Draft) -> str | None:
    """Constants and counts made inside the function, joined with a value."""
    x = draft.pick()
    texts = ["{L}.zeros_like({0})", "{L}.ones_like({0}) - {0}", "{L}.full_like({0}, 2.5) * {0}"]
    if x.rank and x.fixed(x.rank - 1):
        size = x.shape[-1]
        texts += [
            f"{{0}} * {draft.library}.arange({size})",
            f"{{0}} + {draft.library}.ones({size})",
        ]
        texts += [f"{{0}} @ {draft.library}.eye({size}, dtype={{0}}.dtype)"]
    return draft.one(texts).format(x.name, L=draft.library)


# -- selection ----------------------------------------------------------------------------------


def _index(draft: Draft, size: int, shape: tuple[int, ...] | None = None) -> Entry:
    """Integers below `size`: one at hand, or a new array."""
    if not size:
        raise Unfit
    if shape is None:

        def fits(e: Entry) -> bool:
            low, high = e.spans()
            return low >= -size and high < size and e.rank < 3 and 0 not in e.shape

        if draft.odds(50) and any(e.kind == "i" and fits(e) for e in draft.entries):
            return draft.pick("i", fits)
        shape = tuple(draft.integer(1, 4) for _ in range(draft.integer(1, 2)))
    low = -size if draft.odds(20) else 0
    return draft.captured(shape, "int64", low, size)


def taken(draft: Draft) -> str | None:
    """x[ids], alone, beside slices, or two of them."""
    x = any_value(draft, 1, 3)
    axis = draft.one([i for i in range(x.rank) if x.fixed(i) and x.shape[i] > 0])
    index = _index(draft, x.shape[axis])
    if not draft.is_torch and draft.traced(index) and not draft.traced(x):
        raise Unfit  # NumPy itself indexes an array of its own, and takes no traced value
    ids = index.name
    if axis == 0:
        if x.rank > 1 and x.fixed(1) and draft.odds(40):
            shape = draft.entries[-1].shape if ids == draft.entries[-1].name else None
            other = _index(draft, x.shape[1], shape).name
            return f"{x.name}[{ids}, {other}]"
        return f"{x.name}[{ids}]"
    before = ":, " * axis
    if axis == 2 and draft.odds(30):
        before = "0, :, "
    return f"{x.name}[{before}{ids}]"


def selected_rows(draft: Draft) -> str | None:
    """index_select, NumPy's take, embeddings and their kin."""
    x = any_value(draft, 1, 3)
    axis = draft.one([i for i in range(x.rank) if x.fixed(i) and x.shape[i] > 0])
    size = x.shape[axis]
    ids = draft.captured((draft.integer(1, 5),), "int64", 0, size).name
    if not draft.is_torch:
        return f"np.take({x.name}, {ids}, axis={axis})"
    if x.rank == 2 and axis == 0 and draft.odds(40):
        return f"F.embedding({ids}, {x.name})"
    return f"torch.index_select({x.name}, {axis}, {ids})"


def gathered(draft: Draft) -> str | None:
    """gather and take_along_dim."""
    x = any_value(draft, 1, 3)
    axis = draft.one([i for i in range(x.rank) if x.fixed(i) and x.shape[i] > 0])
    if not all(x.fixed(i) for i in range(x.rank)):
        raise Unfit
    shape = tuple(draft.integer(1, 3) if i == axis else s for i, s in enumerate(x.shape))
    if 0 in shape:
        raise Unfit
    low = 0 if draft.odds(70) or draft.is_torch else -x.shape[axis]
    ids = draft.captured(shape, "int64", low, x.shape[axis]).name
    if not draft.is_torch:
        return f"np.take_along_axis({x.name}, {ids}, {axis})"
    name = draft.one(["torch.gather({0}, {1}, {2})", "torch.take_along_dim({0}, {2}, {1})"])
    return name.format(x.name, axis, ids)


def one_hot(draft: Draft) -> str | None:
    """Integers as rows of 0 and 1."""
    x = draft.pick("i", lambda e: e.spans()[0] >= 0 and e.spans()[1] < 6 and e.rank < 3)
    return f"F.one_hot({x.name}.long(), {draft.integer(int(x.spans()[1]) + 1, 7)})"


LINES: Mapping[str, Line] = {
    "reshape": reshape,
    "permute": permute,
    "unit axes": unit_axes,
    "expand": expand,
    "joined": joined,
    "pieces": pieces,
    "sliced": sliced,
    "flipped": flipped,
    "repeated": repeated,
    "padded": padded,
    "triangle": triangle,
    "filled": filled,
    "taken": taken,
    "selected rows": selected_rows,
    "gathered": gathered,
    "one hot": one_hot,
}
TORCH_ONLY = {"one hot"}
