"""Sizes of axes: ints, and polynomials over sizes that are known only when a kernel runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TypeAlias

Monomial: TypeAlias = tuple[str, ...]


class Dim:
    """A polynomial with integer coefficients over named sizes, e.g. `n`, `n*k`, `n - 1`.

    `Dim.symbol("n")` makes a new size; `+ - *` with ints and Dims give Dims, or an int where the
    result is constant. Equal polynomials are equal and hash alike. A Dim is at least 1 when a
    kernel runs and never broadcasts as 1.
    """

    __slots__ = ("terms",)

    def __init__(self, terms: Iterable[tuple[Monomial, int]]) -> None:
        self.terms: tuple[tuple[Monomial, int], ...] = tuple(sorted(terms))

    @staticmethod
    def symbol(name: str) -> Dim:
        """The size named `name`."""
        return Dim([((name,), 1)])

    @property
    def names(self) -> frozenset[str]:
        """The symbols that occur."""
        return frozenset(name for monomial, _ in self.terms for name in monomial)

    @property
    def is_symbol(self) -> bool:
        """Whether this is one symbol and nothing else."""
        return len(self.terms) == 1 and self.terms[0][1] == 1 and len(self.terms[0][0]) == 1

    def evaluate(self, sizes: Mapping[str, int]) -> int:
        """The number, given each symbol's."""
        return sum(c * prod(sizes[name] for name in monomial) for monomial, c in self.terms)

    def __add__(self, other: Size) -> Size:
        return _combine(_terms(self) + _terms(other))

    __radd__ = __add__

    def __neg__(self) -> Size:
        return self * -1

    def __sub__(self, other: Size) -> Size:
        return self + other * -1

    def __rsub__(self, other: Size) -> Size:
        return self * -1 + other

    def __mul__(self, other: Size) -> Size:
        return _combine(
            (tuple(sorted(m + k)), c * d) for m, c in _terms(self) for k, d in _terms(other)
        )

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dim) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __repr__(self) -> str:
        text = ""
        for monomial, c in sorted(self.terms, key=lambda t: (-len(t[0]), t[0])):
            body = "*".join(monomial)
            factor = str(abs(c)) if not body or abs(c) != 1 else ""
            term = "*".join(x for x in (factor, body) if x)
            sign = ("-" if c < 0 else "") if not text else (" - " if c < 0 else " + ")
            text += sign + term
        return text


Size: TypeAlias = int | Dim
Shape: TypeAlias = tuple[Size, ...]


def _terms(size: Size) -> list[tuple[Monomial, int]]:
    return list(size.terms) if isinstance(size, Dim) else [((), size)]


def _combine(terms: Iterable[tuple[Monomial, int]]) -> Size:
    total: dict[Monomial, int] = {}
    for monomial, c in terms:
        total[monomial] = total.get(monomial, 0) + c
    kept = [(m, c) for m, c in total.items() if c]
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    return Dim(kept)


def numel(shape: Iterable[Size]) -> Size:
    """The number of elements: the product of the sizes, 1 for a scalar."""
    total: Size = 1
    for size in shape:
        total = total * size
    return total


def divide(size: Size, by: Size) -> Size | None:
    """`size / by` where it is exact and `by` is one monomial, else None."""
    if by == 0:
        return None
    by_terms = _terms(by)
    if len(by_terms) != 1:
        return 1 if size == by else None
    divisor, factor = by_terms[0]
    quotient: list[tuple[Monomial, int]] = []
    for monomial, c in _terms(size):
        rest = list(monomial)
        for name in divisor:
            if name not in rest:
                return None
            rest.remove(name)
        if c % factor:
            return None
        quotient.append((tuple(rest), c // factor))
    return _combine(quotient)


def evaluate(size: Size, sizes: Mapping[str, int]) -> int:
    """The number that `size` is, given each symbol's."""
    return size.evaluate(sizes) if isinstance(size, Dim) else size


def evaluate_shape(shape: Iterable[Size], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """`evaluate` for each axis."""
    return tuple(evaluate(size, sizes) for size in shape)


def format_shape(shape: Iterable[Size]) -> str:
    """`(n, 3)`, `(5,)`, `()`."""
    parts = [str(s) for s in shape]
    return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
