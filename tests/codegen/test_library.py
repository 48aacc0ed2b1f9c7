"""Large products that torch does: which ones, why, and that nothing else is left to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import graphir
from graphir.codegen.machine import CPU, GFX942, SM_80, SM_90, SM_100, Machine, Precision, gpu
from graphir.codegen.program import Program
from graphir.codegen.schedule import plan
from graphir.codegen.tile import Contract, Matrix, Store
from graphir.codegen.triton_text import print_triton
from graphir.simplify import simplify
from graphir.tracing import trace

NVIDIA = [SM_80, SM_90, SM_100]
LARGE = 2048


def planned(
    fn: Any,
    *args: Any,
    machine: Machine | None = None,
    precision: Precision = "highest",
    dynamic: Any = (),
) -> Program:
    graph = simplify(trace(fn, args, dynamic=dynamic).graph)
    return plan(graph, name="f", machine=machine or gpu(SM_90), precision=precision)


def square(dtype: torch.dtype, size: int = LARGE) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty(size, size, dtype=dtype), torch.empty(size, size, dtype=dtype)


def told(program: Program) -> list[str]:
    return [d.reason for d in program.decisions if d.kind == "product"]


def product(a: Any, b: Any) -> Any:
    return a @ b


@pytest.mark.parametrize("chip", NVIDIA, ids=lambda c: c.name)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_large_product_alone(dtype: torch.dtype, chip: Any) -> None:
    program = planned(product, *square(dtype), machine=gpu(chip))
    (kernel,) = program.kernels
    assert kernel.library is not None
    assert kernel.library.left == Matrix("a", (LARGE, LARGE), (LARGE, 1))
    assert kernel.library.right == Matrix("b", (LARGE, LARGE), (LARGE, 1))
    assert kernel.library.out == Matrix("out0", (LARGE, LARGE), (LARGE, 1))
    assert [x.library for x in print_triton(program).launches] == [kernel.library]
    (why,) = told(program)
    assert "by torch.mm" in why


def test_operands_that_are_transposed() -> None:
    a, b = torch.empty(3000, LARGE).half(), torch.empty(2500, 3000).half()
    (kernel,) = planned(lambda a, b: a.T @ b.T, a, b).kernels
    assert kernel.library is not None
    assert kernel.library.left == Matrix("a", (LARGE, 3000), (1, LARGE))
    assert kernel.library.right == Matrix("b", (3000, 2500), (1, 3000))


def test_another_kernel_counts() -> None:
    """A result that is wanted the other way round takes one more."""
    a, b = square(torch.bfloat16)
    (why,) = told(planned(lambda a, b: (a @ b).T, a, b))
    assert why.endswith("and a kernel for what could be fused")


def test_float32_is_multiplied_on_the_matrix_unit_where_torch_does_not() -> None:
    program = planned(product, *square(torch.float32))
    assert program.kernels[0].library is None
    (why,) = told(program)
    assert "torch.mm, which multiplies float32 outside of the matrix unit" in why
    rounded = planned(product, *square(torch.float32), precision="high")
    assert rounded.kernels[0].library is not None
    assert rounded.kernels[0].library.precision == "high"
    # torch's "medium" rounds to tf32 where the generated kernel rounds to bfloat16.
    assert planned(product, *square(torch.float32), precision="medium").kernels[0].library is None


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (product, square(torch.bfloat16, 256)),
        (lambda a, b: torch.relu(a) @ b, square(torch.bfloat16)),
        (lambda a, b: a.float() @ b.float(), square(torch.bfloat16)),
        (lambda a, b: a.float() @ b, (square(torch.bfloat16)[0], square(torch.float32)[0])),
    ],
    ids=["small", "computed_operand", "float32_result", "mixed"],
)
def test_what_torch_could_not_do_so_well(fn: Any, args: Any) -> None:
    program = planned(fn, *args)
    assert all(k.library is None for k in program.kernels)


def test_other_targets_have_none() -> None:
    """AMD's library may add up in another order in another run."""
    for machine in (CPU, gpu(GFX942)):
        program = planned(product, *square(torch.float64), machine=machine)
        assert program.kernels[0].library is None
        assert told(program) == []


def step(width: int, dtype: torch.dtype = torch.bfloat16) -> Program:
    def loss(params: Any, x: Any, y: Any) -> Any:
        hidden = x
        for w, b in params:
            hidden = torch.relu(hidden @ w.to(x.dtype) + b.to(x.dtype))
        return F.mse_loss(hidden.float(), y)

    params = [(torch.empty(width, width), torch.empty(width)) for _ in range(2)]
    data = torch.empty(64, width, dtype=dtype), torch.empty(64, width)
    return planned(graphir.value_and_grad(loss), params, *data, dynamic=None)


def test_a_wide_step_leaves_the_products_to_torch_that_gain_little_from_fusion() -> None:
    program = step(4096)
    left = [k for k in program.kernels if k.library]
    assert len(left) == 2  # the weights' gradients
    for kernel in left:
        found = list(kernel.statements())
        assert sum(isinstance(s, Contract) for s in found) == 1
        (store,) = (s for s in found if isinstance(s, Store))
        assert kernel.library is not None
        assert store.address.buffer == kernel.library.out.buffer
    # What is fused with a product saves more than torch would.
    fused = [k for k in program.kernels if any(isinstance(s, Contract) for s in k.statements())]
    assert len(fused) > len(left)
    assert step(256).decisions
    assert not any(k.library for k in step(256).kernels)


def test_a_narrow_step_is_generated_with_the_reason() -> None:
    program = step(512)
    assert not any(k.library for k in program.kernels)
    reasons = told(program)
    assert reasons
    assert all("µs generated" in r for r in reasons)
    assert all(r.endswith("taken as 4096)") for r in reasons)
