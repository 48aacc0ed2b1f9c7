"""Lines of contractions: every rank of matmul, einsum, and their kin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.draft import MOST, Draft, Entry, Unfit

Line = Callable[[Draft], str | None]


def _same_type(draft: Draft, x: Entry, least: int, most: int) -> list[Entry]:
    return [e for e in draft.entries if e.dtype == x.dtype and least <= e.rank <= most]


def matmul(draft: Draft) -> str | None:
    """A product of any two ranks, operands perhaps transposed."""
    x = draft.ranked(1, kinds="f" if draft.odds(92) else "i")
    pairs = []
    for y in _same_type(draft, x, 1, 4):
        left = [(x.name, x.shape)]
        right = [(y.name, y.shape)]
        if x.rank > 1:
            left.append((f"{x.name}.mT", (*x.shape[:-2], x.shape[-1], x.shape[-2])))
        if y.rank > 1:
            right.append((f"{y.name}.mT", (*y.shape[:-2], y.shape[-1], y.shape[-2])))
        for a, p in left:
            for b, q in right:
                if p[-1] == q[-2 if len(q) > 1 else 0] and p[-1] > 0:
                    pairs.append((a, b))
    a, b = draft.one(pairs)
    texts = ["{0} @ {1}", "{L}.matmul({0}, {1})"]
    return draft.one(texts).format(a, b, L=draft.library)


def special(draft: Draft) -> str | None:
    """The products that name their ranks."""
    x = draft.ranked(1, 3)
    if x.rank == 1:
        y = draft.one(_same_type(draft, x, 1, 1))
        texts = ["{L}.outer({0}, {1})", "{L}.dot({0}, {1})", "{L}.inner({0}, {1})",
                 "{L}.vdot({0}, {1})"]  # fmt: skip
    elif x.rank == 2:
        y = draft.one(_same_type(draft, x, 1, 2))
        texts = ["{L}.inner({0}, {1})", "{L}.tensordot({0}, {1}, 1)"]
        if draft.is_torch:
            texts += ["torch.mm({0}, {1})", "torch.mv({0}, {1})", "F.linear({0}, {1})",
                      "torch.mm({0}, {1}.T)", "torch.linalg.vecdot({0}, {1})"]  # fmt: skip
    else:
        y = draft.one(_same_type(draft, x, 2, 3))
        texts = ["{L}.tensordot({0}, {1}, 1)", "{L}.tensordot({0}, {1}, 2)"]
        if draft.is_torch:
            texts += ["torch.bmm({0}, {1})", "torch.bmm({0}, {1}.mT)"]
    return draft.one(texts).format(x.name, y.name, L=draft.library)


def added(draft: Draft) -> str | None:
    """A product added to a value: addmm and its kin, and linear with a bias."""
    x = draft.ranked(2, 2)
    found = [e for e in _same_type(draft, x, 2, 2) if e.shape[0] == x.shape[1]]
    y = draft.one(found)
    fits = [
        e for e in _same_type(draft, x, 0, 2)
        if e.shape in ((), (1,), (y.shape[1],), (x.shape[0], y.shape[1]), (x.shape[0], 1))
    ]  # fmt: skip
    z = draft.one(fits)
    texts = ["torch.addmm({2}, {0}, {1})", "torch.addmm({2}, {0}, {1}, beta=0.5, alpha=2)",
             "F.linear({0}, {1}.T, {2})", "{0} @ {1} + {2}"]  # fmt: skip
    return draft.one(texts).format(x.name, y.name, z.name)


def einsum(draft: Draft) -> str | None:
    """Labels at random over one to three values."""
    first = draft.ranked(1, 3)
    others = _same_type(draft, first, 1, 3)
    chosen = [first, *(draft.one(others) for _ in range(draft.one([0, 1, 1, 1, 2])))]
    known: list[tuple[str, tuple[int, ...]]] = []
    terms = []
    for entry in chosen:
        term = ""
        for axis in range(entry.rank):
            sizes = tuple(v.shape[axis] for v in entry.values)
            shared = [c for c, s in known if s == sizes and (c not in term or draft.odds(10))]
            if shared and draft.odds(80):
                term += draft.one(shared)
            else:
                label = "abcdefghi"[len(known)]
                known.append((label, sizes))
                term += label
        terms.append(term)
    labels = [c for c, _ in known]
    total = 1
    for _, sizes in known:
        total *= max(sizes)
    if total > 20 * MOST:
        raise Unfit
    order = draft.order(len(labels))
    out = "".join(labels[i] for i in order if draft.odds(55))
    names = ", ".join(e.name for e in chosen)
    return f"{draft.library}.einsum('{','.join(terms)}->{out}', {names})"


def gram(draft: Draft) -> str | None:
    """A value with itself."""
    x = draft.ranked(1, 3)
    texts = ["{0} @ {0}.mT", "{0}.mT @ {0}"] if x.rank > 1 else ["{0} @ {0}", "{L}.outer({0}, {0})"]
    return draft.one(texts).format(x.name, L=draft.library)


LINES: Mapping[str, Line] = {
    "matmul": matmul,
    "special product": special,
    "added product": added,
    "einsum": einsum,
    "gram": gram,
}
TORCH_ONLY = {"added product"}
