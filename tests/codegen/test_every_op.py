"""Every op of the table on every backend: value, gradient and second gradient, against torch.

The end of a run counts the cases of op × backend × rule that held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from comparison import assert_alike
from op_cases import Case, all_cases, at_the_edge, constant_cases, draw
from op_meanings import NO_DERIVATIVE, meaning

import graphir
from graphir import dtypes
from graphir.opdef import OPS, Kind
from tests.support.derivatives import gradients

BACKENDS = ["reference", "c", "interpret"]
RULES = ["value", "gradient", "second gradient"]
# Many in one function: it compiles once.
TOGETHER = 24
ORDINARY = [*all_cases(), *constant_cases()]
SOURCES = {name for name, op in OPS.items() if op.kind is Kind.SOURCE}
# Each derivative is a handful of ops, every one within a few units in the last place.
LOOSE = 64
Fn = Callable[..., Any]


def single(case: Case) -> Case:
    """The same of float32, where the case leaves its type open."""
    return case if case.types else replace(case, types=(dtypes.float32,) * len(case.shapes))


def arguments(case: Case) -> list[torch.Tensor]:
    """Operands, which do not lie in memory in the order of their axes, nor close together.

    An argument has elements, so what is empty is cut from one in the function, by `operands`.
    """
    made = []
    for i, x in enumerate(draw(case, np.random.default_rng(11))):
        given = x if x.size else np.ones([max(size, 1) for size in x.shape])
        tensor = torch.tensor(given, dtype=getattr(torch, case.type_of(i).name))
        if tensor.ndim == 1:
            tensor = torch.stack([tensor, tensor], 1)[:, 1]
        elif tensor.ndim:
            turned = tuple(reversed(range(tensor.ndim)))
            tensor = tensor.permute(turned).contiguous().permute(turned)
        made.append(tensor)
    return made


def operands(case: Case, args: Sequence[Any]) -> list[Any]:
    """The arguments, cut to the shapes of the case where they are empty."""
    return [
        x[tuple(slice(0, size) for size in shape)] if 0 in shape else x
        for x, shape in zip(args, case.shapes, strict=True)
    ]


def rules(case: Case) -> list[str]:
    return RULES[:1] if case.op in NO_DERIVATIVE else RULES


def places(case: Case) -> tuple[int, ...]:
    """The operands to differentiate by."""
    return tuple(i for i in range(len(case.shapes)) if case.type_of(i).is_float)


def primitive(case: Case) -> graphir.Graph:
    """The op by itself."""
    graph = graphir.Graph()
    inputs = [
        graph.input(f"x{i}", shape, getattr(torch, case.type_of(i).name))
        for i, shape in enumerate(case.shapes)
    ]
    graph.output(graph.op(case.op, *inputs, **case.attrs))
    return graph


def scored(values: Sequence[Any], shift: float) -> Any:
    """A scalar whose derivative by an element depends on that element."""
    return sum(((y + shift) * y).sum() for y in values)


def graphirs(case: Case) -> Fn:
    op, wrt = primitive(case), places(case)

    def fn(*args: Any) -> Any:
        return op(*operands(case, args))

    def second(*args: Any) -> Any:
        return scored(graphir.grad(lambda *args: scored([fn(*args)], 0.7), wrt)(*args), 0.3)

    def everything(*args: Any) -> list[Any]:
        results = [fn(*args)]
        if len(rules(case)) > 1:
            results.append(graphir.grad(lambda *args: scored([fn(*args)], 0.7), wrt)(*args))
            results.append(graphir.grad(second, wrt)(*args))
        return results

    return everything


def torchs(case: Case, args: Sequence[torch.Tensor]) -> list[Any]:
    xs = [x.clone().requires_grad_(i in places(case)) for i, x in enumerate(args)]
    wrt = [xs[i] for i in places(case)]
    value = meaning(case.op, operands(case, xs), case.attrs)
    results: list[Any] = [value.detach()]
    if len(rules(case)) > 1:
        first = gradients(scored([value], 0.7), wrt)
        results += [[g.detach() for g in first], list(gradients(scored(first, 0.3), wrt))]
    return results


def together(cases: Sequence[Case], backend: str) -> Fn:
    """One compiled function of the arguments of all."""
    functions = [(graphirs(case), len(case.shapes)) for case in cases]

    def everything(*args: Any) -> list[Any]:
        rest = list(args)
        return [fn(*[rest.pop(0) for _ in range(count)]) for fn, count in functions]

    return graphir.compile(everything, backend=backend, dynamic=())


def batches(name: str, cases: Sequence[Case]) -> list[Any]:
    return [
        pytest.param(cases[i : i + TOGETHER], id=f"{name}-{i // TOGETHER}")
        for i in range(0, len(cases), TOGETHER)
    ]


BATCHES = [
    *batches("float64", ORDINARY),
    *batches("float32", [single(c) for c in ORDINARY if not c.types]),
    *batches("edge", at_the_edge()),
]


@pytest.mark.parametrize("cases", BATCHES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_value_gradient_and_second_gradient(
    backend: str, cases: list[Case], record_property: Fn
) -> None:
    args = [arguments(case) for case in cases]
    found = together(cases, backend)(*(x for xs in args for x in xs))
    for case, xs, ours in zip(cases, args, found, strict=True):
        for rule, got, wanted in zip(rules(case), ours, torchs(case, xs), strict=True):
            try:
                assert_alike(got, wanted, LOOSE)
            except AssertionError as error:
                error.add_note(f"{rule} of {case} of {case.shapes} on {backend}")
                raise
            record_property("op case", f"{case.op}|{backend}|{rule}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_sources(backend: str, record_property: Fn) -> None:
    """An argument, a number, the size of an axis and the places along it."""

    def fn(x: Any) -> Any:
        return x + 1.5, torch.zeros_like(x) + x.shape[0], torch.triu(torch.outer(x, x))

    compiled = graphir.compile(fn, backend=backend, dynamic={"x": 0})
    for count in (1, 5):
        x = torch.linspace(0.0, 1.0, count, dtype=torch.float64)
        assert_alike(compiled(x), fn(x), 0)
    ops = {node.op for node in graphir.trace(fn, x, dynamic={"x": 0}).live()}
    assert ops >= SOURCES
    for op in SOURCES:
        record_property("op case", f"{op}|{backend}|value")


def test_every_op_is_covered() -> None:
    """By value, gradient and second gradient, but for those whose result cannot be moved."""
    assert {case.op for case in ORDINARY} | SOURCES == set(OPS)
    for case in ORDINARY:
        whole = not primitive(case).outputs[0].dtype.is_float
        assert (case.op in NO_DERIVATIVE) == whole
    assert set(NO_DERIVATIVE) >= SOURCES
