"""Drawing a program line by line: each line is run as it is drawn, so that it is valid, finite and
off the kinks of its functions."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from tests.fuzz.program import (
    FLOATS,
    HALVES,
    Argument,
    Program,
    Step,
    as_numpy,
    evaluated,
    is_clear,
    is_moderate,
    kind_of,
    margin_of,
    namespace,
    pruned,
)

T = TypeVar("T")
# Elements and axes of a value, at most.
MOST, RANKS = 3000, 4
# Bits of a type's kind in NumPy.
KINDS = {"f": "f", "i": "iu", "b": "b", "n": "fiu", "a": "fiub"}


class Unfit(Exception):
    """What was begun does not fit the values at hand: another line is drawn."""


class Chooser(Protocol):
    """Where choices come from: a seed, or hypothesis."""

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""


class Seeded:
    """Choices by a seed: the same program on every machine."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return self._rng.randint(low, high)


@dataclass(frozen=True, eq=False)
class Entry:
    """A value at hand: its name, and what it is at each of the program's sizes."""

    name: str
    values: tuple[Any, ...]

    @property
    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The values as NumPy arrays."""
        return [as_numpy(v) for v in self.values]

    @property
    def shape(self) -> tuple[int, ...]:
        """At the first sizes."""
        return tuple(self.values[0].shape)

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> str:
        """As NumPy calls it."""
        return str(self.arrays[0].dtype)

    @property
    def kind(self) -> str:
        """NumPy's letter of the kind."""
        return kind_of(self.arrays[0])

    def fixed(self, axis: int) -> bool:
        """Whether an axis has the same size at every call."""
        return len({v.shape[axis] for v in self.values}) == 1

    def is_like(self, other: Entry) -> bool:
        """Whether another value has the same dtype, and at every call the same shape."""
        pairs = zip(self.values, other.values, strict=True)
        return self.dtype == other.dtype and all(a.shape == b.shape for a, b in pairs)

    def has_leading(self, other: Entry) -> bool:
        """Whether another value has at every call this one's leading axis, and no other."""
        pairs = zip(self.values, other.values, strict=True)
        return all(a.shape[:1] == b.shape for a, b in pairs)

    def spans(self) -> tuple[float, float]:
        """The least and the greatest element."""
        flat = np.concatenate([a.astype(np.float64).ravel() for a in self.arrays])
        return (float(flat.min()), float(flat.max())) if flat.size else (0.0, 0.0)


class Draft:
    """A program in the making.

    Attributes:
        flavour: "torch" or "numpy".
        entries: the values at hand.
    """

    def __init__(self, chooser: Chooser, flavour: str, second: Mapping[int, int]) -> None:
        self.flavour, self.second = flavour, dict(second)
        self.entries: list[Entry] = []
        self.arguments: list[Argument] = []
        self.steps: list[Step] = []
        self._chooser = chooser
        self._guards: list[str] = []
        self._spaces = [namespace() for _ in range(2 if second else 1)]

    # -- choices ---------------------------------------------------------------------------------

    def integer(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return self._chooser.integer(low, high)

    def one(self, choices: Sequence[T]) -> T:
        """One of these."""
        if not choices:
            raise Unfit
        return choices[self.integer(0, len(choices) - 1)]

    def odds(self, percent: int) -> bool:
        """True so many times in a hundred."""
        return self.integer(0, 99) >= 100 - percent

    def pick(self, kinds: str = "f", fits: Callable[[Entry], bool] = lambda entry: True) -> Entry:
        """A value at hand, late ones more often: "f" floating, "i" whole, "b" bool."""
        found = [e for e in self.entries if e.kind in KINDS[kinds] and fits(e)]
        # What is made of captured arrays alone is a constant to differentiation.
        moving = [e for e in found if e.name[0] != "c"]
        found = moving if moving and self.odds(90) else found
        return self.one(found[-3:] if self.odds(60) else found)

    def traced(self, entry: Entry) -> bool:
        """Whether it depends on an argument: NumPy's own arrays cannot hold traced values."""
        texts = {step.name: step.text for step in self.steps}
        names, seen = [entry.name], set[str]()
        while names:
            name = names.pop()
            if name[0] == "x":
                return True
            seen.add(name)
            names += set(re.findall(r"\b[xcv]\d+\b", texts.get(name, ""))) - seen
        return False

    def ranked(self, least: int, most: int = RANKS, kinds: str = "f") -> Entry:
        """A value of so many axes."""
        return self.pick(kinds, lambda e: least <= e.rank <= most)

    def partner(self, *others: Entry, kinds: str = "f") -> Entry:
        """A value that broadcasts with these, of their dtype where it is floating."""
        shape = np.broadcast_shapes(*(o.shape for o in others))

        def fits(entry: Entry) -> bool:
            try:
                joined = np.broadcast_shapes(shape, entry.shape)
            except ValueError:
                return False
            return int(np.prod(joined)) <= MOST

        return self.pick(kinds, fits)

    def axis(self, entry: Entry, fixed: bool = False) -> int:
        """An axis, counted from either end."""
        at = self.one([i for i in range(entry.rank) if not fixed or entry.fixed(i)])
        return at - entry.rank if self.odds(30) else at

    def axes(self, entry: Entry) -> tuple[int, ...]:
        """Some axes, at least one, in any order."""
        rest = list(range(entry.rank))
        chosen = [rest.pop(self.integer(0, len(rest) - 1)) for _ in
                  range(self.integer(1, len(rest)) if rest else 0)]  # fmt: skip
        if not chosen:
            raise Unfit
        return tuple(chosen)

    def order(self, rank: int) -> tuple[int, ...]:
        """The axes in some order."""
        rest = list(range(rank))
        return tuple(rest.pop(self.integer(0, len(rest) - 1)) for _ in range(rank))

    # -- text ------------------------------------------------------------------------------------

    @property
    def is_torch(self) -> bool:
        """Whether it is written in torch functions."""
        return self.flavour == "torch"

    @property
    def halves(self) -> list[str]:
        """The half types among the arguments."""
        return sorted({a.dtype for a in self.arguments} & set(HALVES))

    @property
    def library(self) -> str:
        """`torch` or `np`."""
        return "torch" if self.is_torch else "np"

    def within(self, entry: Entry, low: float, high: float) -> str:
        """An expression over `entry` that lies in (low, high)."""
        least, most = entry.spans()
        name = entry.name
        if low < least and most < high:
            return name
        if entry.kind not in "f":
            raise Unfit
        if high == float("inf"):
            return f"({name} * {name} + {round(low + 0.2, 3)})"
        middle, half = round((low + high) / 2, 3), round(0.47 * (high - low), 3)
        return f"({middle} + {half} * {self.library}.tanh({name}))"

    def away(self, *guards: str) -> None:
        """The step is smooth where these expressions are not 0."""
        self._guards += guards

    def number(self, text: str) -> Any:
        """What an expression is at the first sizes."""
        found = evaluated(text, self._spaces[0])
        if found is None:
            raise Unfit
        return found

    # -- lines -----------------------------------------------------------------------------------

    def argument(self, argument: Argument) -> Entry:
        """Add an array to start from."""
        self.arguments.append(argument)
        program = Program(self.flavour, (argument,), (), ())
        made = []
        for space, sizes in zip(self._spaces, ({}, self.second), strict=False):
            value = program.values(sizes if argument.name[0] == "x" else {})[argument.name]
            space[argument.name] = value
            made.append(value)
        entry = Entry(argument.name, tuple(made))
        self.entries.append(entry)
        return entry

    def captured(
        self, shape: Iterable[int], dtype: str, low: float = -2.0, high: float = 2.0
    ) -> Entry:
        """An array that the function closes over."""
        count = sum(a.name[0] == "c" for a in self.arguments)
        seed = self.integer(0, 999)
        return self.argument(Argument(f"c{count}", tuple(shape), dtype, seed, low, high))

    def attempt(self, what: str, line: Callable[[Draft], str | None]) -> bool:
        """Draw a line of this kind; False where it does not fit."""
        self._guards = []
        before = len(self.arguments)
        try:
            text = line(self)
        except Unfit:
            text = None
        if text is None or not self.add(what, text):
            self._forget(before)
            return False
        return True

    def _forget(self, count: int) -> None:
        dropped = {a.name for a in self.arguments[count:]}
        del self.arguments[count:]
        self.entries = [e for e in self.entries if e.name not in dropped]

    def add(self, what: str, text: str) -> bool:
        """Run a line and keep it if it is valid, finite and smooth."""
        values, margin = [], margin_of(a.dtype for a in self.arguments)
        for space in self._spaces:
            for guard in self._guards:
                found = evaluated(guard, space)
                if found is None or not is_clear(as_numpy(found), margin):
                    return False
            value = evaluated(text, space)
            array = None if value is None or not hasattr(value, "shape") else as_numpy(value)
            if array is None or array.size > MOST or array.ndim > RANKS:
                return False
            if kind_of(array) not in "fiub" or not is_moderate(array):
                return False
            if kind_of(array) == "f" and str(array.dtype) not in FLOATS:
                return False
            # NumPy's scalars are not arrays, which the next lines expect.
            values.append(np.asarray(value) if isinstance(value, np.generic) else value)
        if len({(v.ndim, str(v.dtype)) for v in values}) != 1:
            return False
        name = f"v{len(self.steps)}"
        for space, value in zip(self._spaces, values, strict=True):
            space[name] = value
        self.steps.append(Step(name, text, what, tuple(self._guards)))
        self.entries.append(Entry(name, tuple(values)))
        return True

    def finish(self, outputs: Sequence[str], order: int, wrt: Sequence[str], threads: int) -> Any:
        """The program of these results, without what they do not need."""
        passed = [a.name for a in self.arguments if a.name[0] == "x"]
        made = Program(
            self.flavour, tuple(self.arguments), tuple(self.steps), tuple(outputs),
            order, tuple(i for i, name in enumerate(passed) if name in wrt),
            tuple(self.second.items()), threads,
        )  # fmt: skip
        return pruned(made)
