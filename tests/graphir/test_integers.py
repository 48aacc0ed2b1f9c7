"""What operators mean on whole numbers: powers, bits, shifts and remainders, as in torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import graphir

SAMPLES = {
    torch.uint8: [0, 1, 2, 7, 128, 250],
    torch.int8: [-128, -3, 0, 1, 7, 120],
    torch.int16: [-30000, -1, 0, 3, 5, 300],
    torch.int32: [-(2**31), -7, 0, 2, 9, 2**30 + 1],
    torch.int64: [-(2**62) - 1, -3, 0, 2, 3, 2**53 + 1],
}
FUNCTIONS: dict[str, Callable[..., torch.Tensor]] = {
    "and": lambda x, s: x & 6,
    "or": lambda x, s: s | x,
    "xor": torch.bitwise_xor,
    "not": lambda x, s: ~x,
    "left shift": lambda x, s: x << s,
    "right shift": lambda x, s: x >> s,
    "shifted number": lambda x, s: 3 << s.abs(),
    "hash": lambda x, s: (x * 77 >> 3) & 15,
    "square": lambda x, s: x**2,
    "large power": lambda x, s: x**39,
    "power of 0": lambda x, s: x**0,
    "itself": lambda x, s: x**1,
    "itself in float": lambda x, s: x**1.0,
    "a bool's power": lambda x, s: (x > 0) ** 1,
    "powers": lambda x, s: x**s,
    "powers of a number": lambda x, s: torch.pow(3, s),
    "powers of -1": lambda x, s: (x * 0 - 1) ** s,
    "remainder": lambda x, s: x % -3,
    "remainder by many": lambda x, s: x % (s | 1),
    "quotient": lambda x, s: x // -3,
    "quotient by many": lambda x, s: x // (s | 1),
    "quotient by what wraps around": lambda x, s: x // torch.tensor(128),
    "remainder of what wraps around": lambda x, s: x % torch.tensor(200),
    "all": lambda x, s: torch.all(x),
    "any": lambda x, s: x.any(0, keepdim=True),
    "diff": lambda x, s: torch.diff(x, n=2),
    "in place": lambda x, s: _written(x),
}


def _written(x: torch.Tensor) -> torch.Tensor:
    y = x.clone()
    y &= 7
    y <<= 1
    y |= 1
    y >>= 2
    return y


@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
@pytest.mark.parametrize("dtype", SAMPLES, ids=str)
def test_every_type_wraps_around_as_in_torch(dtype: torch.dtype, backend: str) -> None:
    x = torch.tensor(SAMPLES[dtype], dtype=dtype)
    # Also shifts and powers that are negative or beyond the type.
    s = torch.tensor([3, 0, 70, 1, -2, 33]).clamp(min=0 if dtype is torch.uint8 else -2).to(dtype)

    def everything(x: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(fn(x, s) for fn in FUNCTIONS.values())

    found = graphir.compile(everything, backend=backend)(x, s)
    for name, got, wanted in zip(FUNCTIONS, found, everything(x, s), strict=True):
        assert got.dtype == wanted.dtype, name
        assert torch.equal(got, wanted), (name, got, wanted)


@pytest.mark.parametrize("backend", ["reference", "c", "interpret"])
def test_numpy_spells_them_too(backend: str) -> None:
    x, s = np.array([5, -7, 12, 0]), np.array([1, 2, 0, 3])

    def everything(x: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, ...]:
        return (
            np.bitwise_and(x, s), x | s, x ^ s, np.invert(x), np.left_shift(x, s), x >> s,
            np.power(x, s), np.diff(x, prepend=0), np.diff(x[None], axis=0, append=x[None]),
        )  # fmt: skip

    found = graphir.compile(everything, backend=backend)(x, s)
    for got, wanted in zip(found, everything(x, s), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_the_difference_is_differentiable() -> None:
    x = torch.linspace(0, 2, 12, dtype=torch.float64).reshape(3, 4) ** 2
    gradient = graphir.grad(lambda x: (torch.diff(x, n=2, dim=0) ** 2 + 3).sum())(x)
    leaf = x.clone().requires_grad_()
    (torch.diff(leaf, n=2, dim=0) ** 2 + 3).sum().backward()
    torch.testing.assert_close(gradient, leaf.grad)


@pytest.mark.parametrize(
    ("function", "message", "hint"),
    [
        (lambda x: x**-2, r"whole numbers \(i8\(3,\)\) to the power of -2", r"x.float\(\) \*\* -2"),
        (lambda x: x.float() & 1, "& takes integers and bools, got f32", "compare first"),
        (lambda x: ~x.double(), "~ takes integers and bools, got f64", "compare first"),
        (lambda x: 1.5 >> x, ">> takes integers, got", r"x.long\(\)"),
        (lambda x: x.clamp(max=300), "the number 300 is beyond what int8 holds", "a wider type"),
        (lambda x: divmod(x, 2), "divmod on a traced value", "x // y and x % y"),
        (lambda x: torch.diff(x[0]), "diff: at least one axis", r"x\[None\]"),
    ],
)
def test_what_they_do_not_take_is_said(
    function: Callable[..., torch.Tensor], message: str, hint: str
) -> None:
    with pytest.raises(graphir.GraphirError, match=message) as caught:
        graphir.compile(function)(torch.tensor([1, 2, 3], dtype=torch.int8))
    assert "test_integers.py" in str(caught.value)
    caught.match(hint)


@pytest.mark.parametrize("backend", ["c", "interpret"])
@pytest.mark.parametrize("programs", [1, 2])
def test_what_is_joined_keeps_its_narrow_type(programs: int, backend: str) -> None:
    """Triton joins narrow elements in 32 bits, of which the complement is not that of a bool."""
    truth = torch.arange(17) % 3 == 0
    small = torch.arange(-60, 57, 7, dtype=torch.int8)
    half = torch.linspace(-2, 2, 17).half()

    def everything(
        truth: torch.Tensor, small: torch.Tensor, half: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        return (
            ~(truth.any() & truth), ~truth.all(), torch.logical_not(truth.any()),
            small.amax() + small, small.amin() * small, small + small.sum(dtype=torch.int8),
            half.amax() * half * 1000, (half.amin() + half) / 3,
        )  # fmt: skip

    found = graphir.compile(everything, backend=backend, threads=programs)(truth, small, half)
    for i, (got, wanted) in enumerate(zip(found, everything(truth, small, half), strict=True)):
        assert got.dtype == wanted.dtype, i
        torch.testing.assert_close(got, wanted, msg=str(i))


@pytest.mark.parametrize("backend", ["c", "interpret"])
@pytest.mark.parametrize("programs", [1, 3])
def test_partial_results_keep_their_narrow_type(programs: int, backend: str) -> None:
    x = torch.randint(0, 2, (2, 3000), generator=torch.Generator().manual_seed(0), dtype=torch.int8)
    x[0] = 1

    def joined(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return ~torch.all(x, dim=1), ~torch.any(x, dim=1), ~x.amin(1), x.amax(1) * 100 * 2

    compiled = graphir.compile(joined, backend=backend, dynamic={"x": (1,)}, threads=programs)
    for got, wanted in zip(compiled(x), joined(x), strict=True):
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)
