"""C text for every kind of processor: right here with this one's flags, and it compiles there."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import graphir
from graphir.codegen.c_runtime import THREADS
from graphir.codegen.c_text import print_c
from graphir.codegen.machine import AVX2, AVX512, NEON, SSE, Machine
from graphir.codegen.schedule import plan
from graphir.graph import Graph
from graphir.runtime.backend_c import CBackend
from graphir.runtime.executable import Executable
from graphir.runtime.processor import machine_by
from graphir.simplify import simplify

Case = tuple[Callable[..., Any], tuple[torch.Tensor, ...]]
MACHINES = {"avx512": AVX512, "avx2": AVX2, "sse": SSE, "neon": NEON}


def linear(w: Any, x: Any, y: Any) -> Any:
    return ((x @ w - y) ** 2).mean()


def softmax(w: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(x @ w, y)


def network(w: Any, x: Any, y: Any) -> Any:
    return ((torch.tanh(torch.relu(x @ w) @ w.T) @ w - y[:, None]) ** 2).mean()


def cases(dtype: torch.dtype) -> dict[str, Case]:
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g, dtype=dtype)

    labels = torch.randint(0, 10, (45,), generator=g)
    return {
        "linear 13": (linear, (normal(13), normal(45, 13), normal(45))),
        "linear 3": (linear, (normal(3), normal(45, 3), normal(45))),
        "softmax 37x10": (softmax, (normal(37, 10), normal(45, 37), labels)),
        "network 20x33": (network, (normal(20, 33) / 5, normal(45, 20), normal(45))),
    }


def graph_of(case: Case) -> Graph:
    fn, args = case
    return simplify(graphir.trace(graphir.value_and_grad(fn), *args))


@pytest.mark.parametrize("name", list(cases(torch.float32)))
@pytest.mark.parametrize("machine", list(MACHINES))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_with_vectors_of_every_width(machine: str, name: str, dtype: torch.dtype) -> None:
    fn, args = case = cases(dtype)[name]
    program = plan(graph_of(case), name="step", machine=MACHINES[machine])
    executable = Executable(program, CBackend(program, threads=1))
    sizes = dict.fromkeys(program.sizes, 45)
    value, grad = executable.run([a.numpy() for a in args], sizes)
    exact = [a.double() if a.is_floating_point() else a for a in args]
    wanted_grad, wanted = torch.func.grad_and_value(fn)(*exact)
    close = 1e-11 if dtype is torch.float64 else 1e-4
    torch.testing.assert_close(torch.from_numpy(value).double(), wanted, rtol=close, atol=close)
    torch.testing.assert_close(torch.from_numpy(grad).double(), wanted_grad, rtol=close, atol=close)


COMPILERS = {
    "gcc x86-64": ("gcc", ["-march=x86-64"], SSE),
    "gcc x86-64-v3": ("gcc", ["-march=x86-64-v3"], AVX2),
    "gcc x86-64-v4": ("gcc", ["-march=x86-64-v4"], AVX512),
    "clang x86-64": ("clang", ["--target=x86_64-linux-gnu", "-march=x86-64"], SSE),
    "clang x86-64-v4": ("clang", ["--target=x86_64-linux-gnu", "-march=x86-64-v4"], AVX512),
    "gcc aarch64": ("aarch64-linux-gnu-gcc", ["-march=armv8-a"], NEON),
}


@pytest.mark.parametrize("compiler", list(COMPILERS))
def test_it_compiles_without_a_warning(compiler: str, tmp_path: Path) -> None:
    command, flags, machine = COMPILERS[compiler]
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    texts = {"threads": THREADS}
    for name, case in cases(torch.float32).items():
        texts[name] = print_c(plan(graph_of(case), name="step", machine=machine))
    for name, text in texts.items():
        source = tmp_path / f"{name.replace(' ', '_')}.c"
        source.write_text(text)
        done = subprocess.run(
            [command, *flags, "-std=gnu11", "-O1", "-fopenmp-simd", "-Werror", "-Wno-psabi",
             "-Wno-pass-failed", "-c", str(source), "-o", str(tmp_path / "out.o")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("features", "architecture", "machine"),
    [
        ("Linux; x86_64; flags=avx avx2 avx512f fma", "x86_64", AVX512),
        ("Linux; x86_64; flags=avx avx2 fma", "x86_64", AVX2),
        ("Linux; x86_64; flags=sse2", "x86_64", SSE),
        ("Linux; aarch64; Features=asimd fp", "aarch64", NEON),
        ("Darwin; arm64; processor=arm", "arm64", NEON),
    ],
)
def test_the_machine_of_a_processor(features: str, architecture: str, machine: Machine) -> None:
    assert machine_by(features, architecture) is machine
