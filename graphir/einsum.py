"""Sums of products by einsum's notation: any number of operands, `...`, and repeated labels."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

from .composites import sum as total
from .dtypes import promote
from .errors import ShapeError
from .layout import axis_of, permute, reshape
from .matrices import diagonal
from .products import factors
from .sizes import Size
from .symbolic import require_equal
from .value import Value, cast, contract, lift_all


def einsum(spec: str, *operands: Any) -> Value:
    """The sum of products that `spec` says, e.g. "nd,dk->nk".

    Operands are joined from left to right; a label that only one of them has left is summed
    before, so that each step is one contraction.

    Raises:
        ShapeError: where labels and axes do not fit.
    """
    values = factors(*operands)
    terms, out = _parse(spec.replace(" ", ""), values)
    sizes: dict[str, Size] = {}
    for i, (term, x) in enumerate(zip(terms, values, strict=True)):
        if len(term) != x.ndim:
            raise ShapeError(
                f"einsum: {term!r} names {len(term)} axes of {x.node.type}",
                hint="give each axis a letter",
            )
        values[i], terms[i] = _without_repeats(spec, x, term)
        for label, size in zip(terms[i], values[i].sizes, strict=True):
            _check_size(spec, values[i], label, sizes, size)
    # An axis of size 1 stands for every position of one that is longer elsewhere, as in torch.
    for i, (term, x) in enumerate(zip(terms, values, strict=True)):
        kept = [p for p, c in enumerate(term) if x.sizes[p] == sizes[c]]
        if len(kept) < x.ndim:
            values[i] = reshape(x, tuple(x.sizes[p] for p in kept))
            terms[i] = "".join(term[p] for p in kept)
    one = len({x.element for x in values}) == 1
    while len(values) > 1:
        a, b = values[:2]
        later = set(out).union(*terms[2:])
        a, left = _summed(a, terms[0], later | set(terms[1]))
        b, right = _summed(b, terms[1], later | set(terms[0]))
        # A sum of integers is one of int64.
        common = promote(a.element, b.element)
        a, b = (cast(x, common) if one else x for x in (a, b))
        joined = "".join(dict.fromkeys(c for c in left + right if c in later))
        values[:2] = [contract(a, b, f"{left},{right}->{joined}")]
        terms[:2] = [joined]
    x, term = _summed(values[0], terms[0], set(out))
    return permute(x, tuple(term.index(c) for c in out))


def _parse(text: str, values: Sequence[Value]) -> tuple[list[str], str]:
    """The labels of each operand and of the result, `...` spelled out in letters of its own."""
    left, arrow, out = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        raise ShapeError(
            f"einsum: {text!r} does not fit {len(values)} operands",
            hint='name every axis, e.g. "nd,dk->nk"',
        )
    named = set(text) & set(ascii_letters)
    free = [c for c in ascii_letters if c not in named]
    ranks = [x.ndim - len(t) + 3 if "..." in t else 0 for t, x in zip(terms, values, strict=True)]
    dots = free[: max(ranks, default=0)]
    for i, term in enumerate(terms):
        terms[i] = term.replace("...", "".join(dots[len(dots) - ranks[i] :]) if ranks[i] else "")
    if arrow:
        out = out.replace("...", "".join(dots))
    else:
        joined = "".join(terms)
        once = sorted(c for c in set(joined) if joined.count(c) == 1 and c not in dots)
        out = "".join([*dots, *once])
    unknown = set("".join(terms) + out) - set(ascii_letters)
    if unknown or not set(out) <= set("".join(terms)) or len(set(out)) != len(out):
        raise ShapeError(
            f"einsum: {text!r}: the result may name each label of the operands once",
            hint='e.g. "nd,dk->nk"',
        )
    return terms, out


def _check_size(spec: str, x: Value, label: str, sizes: dict[str, Size], size: Size) -> None:
    before = sizes.setdefault(label, size)
    if before == 1 or size == 1:
        sizes[label] = size if before == 1 else before
        return
    require_equal(
        f"einsum {spec!r}: {label} is both {before} and {size}",
        before,
        size,
        x.graph.hints,
        "axes of one letter must be of one size",
    )


def _without_repeats(spec: str, x: Value, term: str) -> tuple[Value, str]:
    """An operand that names a label twice, as its diagonal along those axes."""
    while len(set(term)) < len(term):
        label = next(c for c in term if term.count(c) > 1)
        first = term.index(label)
        second = term.index(label, first + 1)
        require_equal(
            f"einsum {spec!r}: {label} is both {x.sizes[first]} and {x.sizes[second]}",
            x.sizes[first],
            x.sizes[second],
            x.graph.hints,
            "axes of one letter must be of one size",
        )
        x = diagonal(x, 0, first, second)
        term = term[:first] + term[first + 1 : second] + term[second + 1 :] + label
    return x, term


def _summed(x: Value, term: str, needed: set[str]) -> tuple[Value, str]:
    """`x` summed over the labels that nothing else needs: a contraction never sees them."""
    alone = tuple(p for p, c in enumerate(term) if c not in needed)
    x = total(x, alone) if alone else x
    return x, "".join(c for c in term if c in needed)


def tensordot(a: Any, b: Any, dims: Any = 2) -> Value:
    """The product summed over so many last axes of `a` and first ones of `b`, or over pairs.

    Raises:
        ShapeError: where the axes do not fit.
    """
    x, y = lift_all(a, b)
    if isinstance(dims, int):
        if dims > min(x.ndim, y.ndim):
            raise ShapeError(f"tensordot: {dims} axes of {x.node.type} and {y.node.type}")
        pairs: tuple[Sequence[int], ...] = (range(x.ndim - dims, x.ndim), range(dims))
    else:
        pairs = tuple((p,) if isinstance(p, int) else tuple(p) for p in dims)
    mine = [axis_of("tensordot", p, x.ndim) for p in pairs[0]]
    theirs = [axis_of("tensordot", p, y.ndim) for p in pairs[1]]
    if len(mine) != len(theirs):
        raise ShapeError("tensordot: as many axes of the one as of the other are expected")
    left, right = ascii_letters[: x.ndim], list(ascii_letters[x.ndim : x.ndim + y.ndim])
    for p, q in zip(mine, theirs, strict=True):
        right[q] = left[p]
    out = [c for i, c in enumerate(left) if i not in mine]
    out += [c for i, c in enumerate(right) if i not in theirs]
    return einsum(f"{left},{''.join(right)}->{''.join(out)}", x, y)


def inner(input: Any, other: Any) -> Value:
    """The products of the last axes of both, all other axes kept."""
    x, y = lift_all(input, other)
    if not x.ndim or not y.ndim:
        return x * y
    return tensordot(x, y, ((-1,), (-1,)))
