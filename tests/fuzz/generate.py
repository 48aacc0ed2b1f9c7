"""Programs at random: by a seed, or drawn by hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import strategies as st

from tests.fuzz import elementwise, losses, movement, products, reductions, writes
from tests.fuzz.draft import Chooser, Draft, Seeded
from tests.fuzz.program import HALVES, Argument, Program

Line = Callable[[Draft], str | None]
# How often a theme is drawn, and its lines.
THEMES: Mapping[str, tuple[int, Mapping[str, Line]]] = {
    "elementwise": (10, elementwise.LINES),
    "choices": (4, elementwise.CHOICES),
    "reductions": (5, reductions.LINES),
    "movement": (7, movement.LINES),
    "products": (4, products.LINES),
    "losses": (2, losses.LINES),
    "writes": (1, writes.LINES),
}
TORCH_ONLY = (
    elementwise.TORCH_ONLY | reductions.TORCH_ONLY | movement.TORCH_ONLY
    | products.TORCH_ONLY | losses.TORCH_ONLY
)  # fmt: skip
ONLY = {"torch": reductions.NUMPY_ONLY, "numpy": TORCH_ONLY}
STEPS = (2, 10)
_ATTEMPTS = 6


def catalogue(flavour: str) -> list[Mapping[str, Line]]:
    """The lines of each theme in one library's functions, as often as it is drawn."""
    out: list[Mapping[str, Line]] = []
    for weight, lines in THEMES.values():
        mine = {name: line for name, line in lines.items() if name not in ONLY[flavour]}
        out += [mine] * weight
    return out


CATALOGUES = {flavour: catalogue(flavour) for flavour in ("torch", "numpy")}
_SIZES = (1, 2, 2, 3, 3, 4)
_VARYING = ((5, 7), (6, 3), (9, 1), (7, 19), (5, 70), (33, 8), (1, 5))


class _Sizes:
    """The sizes of a program's arguments: few, so that shapes meet."""

    def __init__(self, draft: Draft, second: Mapping[int, int]) -> None:
        self.draft, self.varying = draft, list(second)
        self.fixed = [draft.one(_SIZES) for _ in range(3)]
        if draft.odds(12):
            self.fixed.append(draft.one((8, 17, 33)))

    def shape(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """A shape, and its axes that vary."""
        rank = self.draft.one((0, 1, 1, 2, 2, 2, 3, 3, 4))
        sizes = [self.draft.one(self.fixed) for _ in range(rank)]
        if not self.varying or not rank or self.draft.odds(35):
            return tuple(sizes), ()
        at = 0 if self.draft.odds(75) else self.draft.integer(0, rank - 1)
        sizes[at] = self.draft.one(self.varying)
        return tuple(sizes), (at,)


def _dtypes(draft: Draft) -> tuple[str, ...]:
    """The types of a program's floating arguments: one, or two that are promoted."""
    if draft.odds(12):
        # NumPy has no bfloat16 of its own.
        half = draft.one(HALVES) if draft.is_torch else "float16"
        return draft.one(((half,), (half, "float32")))
    return draft.one((("float64",), ("float64",), ("float64",), ("float32",), ("float32",),
                      ("float64", "float32")))  # fmt: skip


def _arguments(draft: Draft, second: Mapping[int, int]) -> None:
    sizes, floats = _Sizes(draft, second), _dtypes(draft)
    for i in range(draft.integer(1, 4)):
        shape, dynamic = sizes.shape()
        low = draft.one((-2.0, -2.0, -2.0, 0.3))
        seed = draft.integer(0, 9999)
        dtype = draft.one(floats)
        draft.argument(Argument(f"x{i}", shape, dtype, seed, low, 2.0, dynamic))
    count = len(draft.arguments)
    if draft.odds(30):
        shape, dynamic = sizes.shape()
        dtype = draft.one(("int64", "int64", "int32", "int32", "int16", "int8", "uint8",
                           "bool", "bool", "bool"))  # fmt: skip
        high = 2 if dtype == "bool" else draft.one((2, 3, 5))
        seed = draft.integer(0, 9999)
        draft.argument(Argument(f"x{count}", shape, dtype, seed, 0.0, float(high), dynamic))
    if draft.odds(25):
        draft.captured([draft.one(sizes.fixed) for _ in range(draft.integer(0, 2))],
                       draft.one(floats))  # fmt: skip


def generate(chooser: Chooser) -> Program:
    """A program of a few lines that runs, stays finite and keeps off the kinks."""
    flavour = "torch" if chooser.integer(0, 99) < 75 else "numpy"
    second: dict[int, int] = {}
    if chooser.integer(0, 99) < 45:
        for _ in range(chooser.integer(1, 2)):
            size, other = _VARYING[chooser.integer(0, len(_VARYING) - 1)]
            second[size] = other
    draft = Draft(chooser, flavour, second)
    _arguments(draft, second)
    for _ in range(draft.integer(*STEPS)):
        for _ in range(_ATTEMPTS):
            lines = draft.one(CATALOGUES[flavour])
            name = draft.one(list(lines))
            if draft.attempt(name, lines[name]):
                break
    return _finish(draft)


def _finish(draft: Draft) -> Program:
    made = [s.name for s in draft.steps] or [draft.arguments[0].name]
    used = {name for s in draft.steps for name in s.operands}
    outputs = [name for name in made if name not in used][-4:]
    if draft.odds(30):
        extra = draft.one(made)
        outputs += [extra] if extra not in outputs else []
    floats = [e.name for e in draft.entries if e.kind == "f" and e.name[0] == "x"]
    kinds = {e.name: e.kind for e in draft.entries}
    order = draft.one((0, 1, 2, 2, 2, 2)) if any(kinds[n] == "f" for n in outputs) else 0
    wrt = [name for name in floats if draft.odds(75)] or floats[:1]
    return draft.finish(outputs, order, wrt, draft.one((1, 1, 2, 3)))


def seeded(seed: int) -> Program:
    """The program of a seed."""
    return generate(Seeded(seed))


class _Drawn:
    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """The same programs, chosen and shrunk by hypothesis."""
    return generate(_Drawn(draw))
