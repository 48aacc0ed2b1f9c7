"""Each op's spelling for the GPU compiles for both makers' chips, in every type that it takes."""

from __future__ import annotations

import pytest

from graphir import dtypes
from graphir.codegen.machine import GPU
from graphir.codegen.schedule import plan
from graphir.codegen.spelling import SPELLINGS
from graphir.codegen.triton_text import print_triton
from graphir.dtypes import DType
from graphir.errors import DTypeError
from graphir.graph import Graph
from graphir.opdef import OPS, Kind
from graphir.runtime.resources import Target, compile_report

pytest.importorskip("triton")

TARGETS: dict[str, Target] = {"sm_90": ("cuda", 90, 32), "gfx942": ("hip", "gfx942", 64)}
SHAPE = (64, 8)
TAGGED = {"copy": {"tag": 1}, "cast": {"dtype": dtypes.float64}}


def all_ops(dtype: DType) -> Graph:
    """Every elementwise op and reduction of operands of this type."""
    g = Graph()
    xs = [g.add_input(SHAPE, dtype, f"x{i}") for i in range(3)]
    condition = g.add("lt", *xs[:2]) if dtype is not dtypes.bool_ else xs[0]
    outputs = [g.add("where", condition, *xs[1:])]
    for name, op in OPS.items():
        try:
            if op.kind is Kind.ELEMENTWISE and name not in ("where", "custom_vjp"):
                operands = xs[: max(len(op.vjps), 1)]
                outputs.append(g.add(name, *operands, **TAGGED.get(name, {})))
            elif op.kind is Kind.REDUCTION:
                outputs.append(g.add(name, xs[0], axes=(1,)))
        except DTypeError:
            continue
    g.outputs = list(dict.fromkeys(outputs))
    return g


def test_every_elementwise_op_is_spelled() -> None:
    named = {name for name, op in OPS.items() if op.kind is Kind.ELEMENTWISE}
    assert not named - SPELLINGS.keys() - {"stop_gradient", "custom_vjp"}


@pytest.mark.targets
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=str)
def test_every_op_compiles(dtype: DType, target: str) -> None:
    module = print_triton(plan(all_ops(dtype), name="all", machine=GPU))
    for launch in module.launches:
        report = compile_report(
            module.source,
            launch.kernel,
            launch.signature,
            target=TARGETS[target],
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
        )
        assert not report.has_trap
