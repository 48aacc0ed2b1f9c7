"""Every op of the table: its derivatives against central differences, and its types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from op_cases import CONSTANT, SHAPE, Case, all_cases, draw

from graphir import dtypes
from graphir.batching import batched, stand_in
from graphir.differentiate import gradients, pullback
from graphir.errors import DTypeError
from graphir.evaluate import evaluate
from graphir.forward import pushforward
from graphir.graph import Graph, Node
from graphir.opdef import OPS, Kind
from graphir.value import Value, reduce
from graphir.verify import verify


def test_every_op_is_covered() -> None:
    assert {case.op for case in all_cases()} | CONSTANT == set(OPS)


def build(case: Case, order: int) -> tuple[Graph, list[int]]:
    """`sum(weights * op(...))` and its gradients; for order 2, of a weighted sum of those."""
    rng = np.random.default_rng(3)
    g = Graph()
    xs = [
        Value(g, g.add_input(shape, case.type_of(i), f"x{i}"))
        for i, shape in enumerate(case.shapes)
    ]

    def weighted(values: Sequence[Value]) -> Value:
        total = None
        for v in values:
            node = g.add_input(v.sizes, v.element, f"weight{len(g.inputs)}")
            g.captured[node] = rng.uniform(0.5, 1.5, v.sizes).astype(v.element.numpy)
            part = reduce("sum", v * Value(g, node), None)
            part = part.apply("cast", dtype=dtypes.float64)
            total = part if total is None else total + part
        assert total is not None
        return total

    wrt = [i for i, vjp in enumerate(OPS[case.op].vjps) if vjp is not None]
    output = weighted([xs[0].apply(case.op, *xs[1:], **case.attrs)])
    grads = gradients(output, [xs[i] for i in wrt])
    if order == 2:
        output = weighted(grads)
        grads = gradients(output, [xs[i] for i in wrt])
    g.outputs = [output.node, *(x.node for x in grads)]
    verify(g, "gradients")
    return g, wrt


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_against_central_differences(case: Case, order: int) -> None:
    g, wrt = build(case, order)
    point = draw(case, np.random.default_rng(7))
    _, *found = evaluate(g, point, wide=True)
    step = 1e-5
    for i, grad in zip(wrt, found, strict=True):
        assert grad.shape == point[i].shape
        expected = np.zeros(point[i].shape)
        for at in np.ndindex(point[i].shape):
            ends = []
            for sign in (1, -1):
                moved = [x.copy() for x in point]
                moved[i][at] += sign * step
                ends.append(evaluate(g, moved, wide=True)[0])
            expected[at] = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(grad, expected, rtol=2e-6, atol=2e-8)


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_gradients_have_the_type_of_their_argument(case: Case) -> None:
    g, wrt = build(case, 1)
    for node, i in zip(g.outputs[1:], wrt, strict=True):
        assert node.type == g.inputs[i].type


def typed_cases() -> list[Any]:
    """Each op with each dtype that its type rule takes."""
    out = []
    for name, op in OPS.items():
        if op.kind is Kind.SOURCE:
            continue
        known = [case for case in all_cases() if case.op == name]
        case = known[0] if known else Case(name, (SHAPE,) * len(op.vjps))
        for dtype in dtypes.ALL:
            one = case if case.types else replace(case, types=(dtype,) * len(case.shapes))
            try:
                apply_to_inputs(one)
            except DTypeError:
                continue
            out.append(pytest.param(one, id=f"{one}-{dtype}"))
    return out


def apply_to_inputs(case: Case) -> Node:
    g = Graph()
    operands = [g.add_input(s, case.type_of(i), f"x{i}") for i, s in enumerate(case.shapes)]
    return g.add(case.op, *operands, **case.attrs)


@pytest.mark.parametrize("case", typed_cases())
def test_the_reference_gives_the_declared_type(case: Case) -> None:
    out = apply_to_inputs(case)
    arrays = [
        np.abs(x).astype(case.type_of(i).numpy)
        for i, x in enumerate(draw(case, np.random.default_rng(7)))
    ]
    result = OPS[case.op].evaluate({}, out, *arrays)
    assert np.asarray(result).dtype == out.dtype.numpy
    assert np.shape(result) == out.shape


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_forward_mode_is_the_transpose_of_reverse_mode(case: Case) -> None:
    """<w, J t> is <transposed J w, t>, where the left uses the JVP rule and the right the VJP's."""
    g = Graph()
    xs = [Value(g, g.add_input(s, case.type_of(i), f"x{i}")) for i, s in enumerate(case.shapes)]
    wrt = [x for x, vjp in zip(xs, OPS[case.op].vjps, strict=True) if vjp is not None]
    out = xs[0].apply(case.op, *xs[1:], **case.attrs)
    directions = [Value(g, g.add_input(x.sizes, x.element, f"t{i}")) for i, x in enumerate(wrt)]
    weight = Value(g, g.add_input(out.sizes, out.element, "w"))
    (moved,) = pushforward([out], wrt, directions)
    pulled = pullback([out], [weight], wrt)
    pairs = [(moved, weight), *zip(pulled, directions, strict=True)]
    g.outputs = [reduce("sum", a * b, None).node for a, b in pairs]
    verify(g, "pushforward")
    rng = np.random.default_rng(5)
    arrays = draw(case, rng) + [rng.normal(size=x.sizes) for x in (*directions, weight)]
    left, *right = evaluate(g, arrays, wide=True)
    np.testing.assert_allclose(left, sum(right), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("lead", [(3,), (2, 2)], ids=str)
@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_a_batch_is_a_loop_over_its_examples(case: Case, lead: tuple[int, ...]) -> None:
    """For every choice of which operands differ between the examples."""
    rng = np.random.default_rng(9)
    for many in product((False, True), repeat=len(case.shapes)):
        g, arrays, pairs, xs = Graph(), [], [], []
        for i, (shape, differs) in enumerate(zip(case.shapes, many, strict=True)):
            examples = [draw(case, rng)[i] for _ in np.ndindex(*lead)]
            if differs and i in case.values:
                examples = [np.roll(x, j) for j, x in enumerate(examples)]
            array = np.stack(examples).reshape(*lead, *shape) if differs else examples[0]
            x = Value(g, g.add_input(array.shape, case.type_of(i), f"x{i}"))
            arrays.append(array.astype(case.type_of(i).numpy))
            xs.append(stand_in(x, shape) if differs else x)
            if differs:
                pairs.append((xs[-1], x))
        one = xs[0].apply(case.op, *xs[1:], **case.attrs)
        g.outputs = [y.node for y in batched([one], pairs, lead)]
        verify(g, "batched")
        (found,) = evaluate(g, arrays)
        single = apply_to_inputs(case)
        for at in np.ndindex(*lead):
            operands = [a[at] if m else a for a, m in zip(arrays, many, strict=True)]
            expected = OPS[case.op].evaluate({}, single, *operands)
            np.testing.assert_allclose(found[at], expected, rtol=1e-12)
