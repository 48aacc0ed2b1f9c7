"""sin, cos and tan of every finite number in C: what the inline functions do not reach is found
after the loop that met it, which then runs again."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import torch

import graphir
from graphir.runtime.cache import DiskCache
from graphir.runtime.toolchain import find_compiler, supported_flags


def angles(dtype: torch.dtype, rows: int, columns: int) -> torch.Tensor:
    """Mostly small ones, and some from everywhere."""
    made = torch.Generator().manual_seed(3)
    top = 37 if dtype is torch.float32 else 300
    x = torch.randn(rows, columns, generator=made, dtype=torch.float64)
    far = torch.rand(rows, columns, generator=made) < 0.1
    scale = 10 ** (torch.rand(rows, columns, generator=made, dtype=torch.float64) * top)
    return torch.where(far, x * scale, x).to(dtype)


def overwritten(x):
    y = x * 1.0
    y[1:] = torch.sin(x[1:])
    return y


FUNCTIONS = {
    "elementwise": lambda x: torch.sin(x) * 2,
    "tan": lambda x: torch.tan(x) / (1 + torch.tan(x).abs()),
    "of a computed angle": lambda x: torch.cos(x.abs() * -0.5),
    "of another": lambda x: torch.sin(torch.cos(x) * 1e30),
    "sum": lambda x: torch.sin(x).sum(),
    "of rows": lambda x: torch.cos(x).sum(1),
    "of columns": lambda x: torch.cos(x).sum(0),
    "largest": lambda x: torch.cos(x).amax(1),
    "product": lambda x: torch.sin(x).prod(0),
    "of one number": lambda x: torch.sin(x.amax()),
    "assigned": overwritten,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("shape", [(300, 7), (5, 700), (3, 2000)], ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_loop_with_far_angles_gives_what_torch_gives(name, shape, dtype) -> None:
    x, fn = angles(dtype, *shape), FUNCTIONS[name]
    wanted = fn(x.double())
    found = graphir.compile(fn, backend="c")(x)
    if name == "of another":
        # The factor of 1e30 leaves nothing to compare but that it is a sine.
        assert found.isfinite().all()
        assert found.abs().max() <= 1
        return
    unit = torch.finfo(dtype).eps
    atol = unit * (x.numel() if name == "sum" else max(x.numel() / wanted.numel(), 8))
    torch.testing.assert_close(found, wanted.to(dtype), rtol=8 * unit, atol=atol)


def test_infinite_angles_give_nan_and_leave_the_others() -> None:
    x = torch.tensor([1.0, float("inf"), 1e30, float("nan"), -float("inf")])
    found = graphir.compile(torch.sin, backend="c")(x)
    torch.testing.assert_close(found, torch.sin(x), equal_nan=True)


def test_parameters_that_are_far_angles_train() -> None:
    """The update writes what its angles are read from: these are asked before."""

    def loss(w, x):
        return (torch.sin(w) * x).sum()

    w, x = torch.tensor([1.0, 1e20, -3e35, 2.0]), torch.ones(6, 4)
    optimizer = graphir.optim.SGD(lr=0.5)
    result = graphir.train(
        loss, w, (x,), optimizer=optimizer, batch_size=2, epochs=1, seed=0, backend="c"
    )
    wanted = w.clone()
    for _ in range(3):
        wanted = wanted - 0.5 * 2 * torch.cos(wanted)
    torch.testing.assert_close(result.params, wanted)
    assert "if (!gr_far" in result.kernels[0].source


@pytest.mark.parametrize("name", ["elementwise", "of rows", "of columns", "sum"])
def test_the_usual_loop_keeps_its_vectors(name: str, tmp_path: Path) -> None:
    compiler = find_compiler()
    asked = [*compiler.command, "-dM", "-E", "-x", "c", "/dev/null"]
    if "__clang__" in subprocess.run(asked, capture_output=True, text=True, check=False).stdout:
        pytest.skip("the report is read from gcc")
    (kernel,) = graphir.compile(FUNCTIONS[name], backend="c").kernels(torch.randn(300, 40))
    (tmp_path / "kernel.c").write_text(kernel.source)
    flags = supported_flags(compiler, DiskCache(tmp_path / "cache"))
    command = [*compiler.command, *flags, "-fopt-info-vec", "-c", str(tmp_path / "kernel.c")]
    command += ["-o", str(tmp_path / "kernel.o")]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    done = {int(n) for n in re.findall(r"kernel\.c:(\d+):\d+: optimized: loop vec", built.stderr)}
    lines = kernel.source.splitlines()
    vectors = [k for k, text in enumerate(lines, 1) if "#pragma omp simd" in text]
    usual = [k for k in vectors if re.search("= gr_(sin|cos)f", "".join(lines[k : k + 4]))]
    assert usual
    assert all(done.intersection(range(k + 1, k + 5)) for k in usual)
