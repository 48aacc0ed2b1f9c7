"""Lines that write in place into a copy: at slices, at single places, under a mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.draft import Draft, Entry

Line = Callable[[Draft], str | None]
WAYS = ("=", "+=", "-=", "*=")


def _copy(draft: Draft, x: Entry) -> str:
    return f"{x.name}.clone()" if draft.is_torch else f"np.copy({x.name})"


def _written(draft: Draft) -> Entry:
    """What is copied and written into."""
    return draft.pick("f", lambda e: e.rank >= 1 and (draft.is_torch or draft.traced(e)))


def _along(draft: Draft, x: Entry, axis: int) -> str:
    size = min(v.shape[axis] for v in x.values)
    texts = [":", ":", "1:", ":-1", "::2", "1::2"]
    if size:
        texts += [str(draft.integer(-size, size - 1))] * 2
    return draft.one(texts)


def sliced(draft: Draft) -> str | None:
    """A number, another value's elements there, or one element for all, at a basic index."""
    x = _written(draft)
    axes = [_along(draft, x, i) for i in range(draft.integer(1, x.rank))]
    at = f"np.s_[{', '.join([*axes, '...'] if draft.odds(20) else axes)}]"
    y = draft.pick("n", lambda e: e.rank in (0, x.rank))
    values = ["0.5", "-2"]
    if y.rank == x.rank:
        values += [f"{y.name}[{at}]"] * 3
    else:
        values += [y.name]
    return f"wrote({_copy(draft, x)}, {at}, '{draft.one(WAYS)}', {draft.one(values)})"


def masked(draft: Draft) -> str | None:
    """A number, or another value's elements there, where a bool holds."""
    x = _written(draft)
    mask = draft.pick("b", lambda e: e.rank == x.rank)
    y = draft.pick("f", lambda e: e.rank == x.rank)
    value = draft.one(["0.5", "-2", f"{y.name}[{mask.name}]", f"{x.name}[{mask.name}] * 3"])
    return f"wrote({_copy(draft, x)}, {mask.name}, '{draft.one(WAYS)}', {value})"


LINES: Mapping[str, Line] = {"slice written": sliced, "mask written": masked}
