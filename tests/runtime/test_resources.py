"""Compiling without a device, and what the reports say."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from graphir.errors import BackendError
from graphir.runtime.resources import compile_report

if TYPE_CHECKING:
    from pathlib import Path

    from graphir.runtime.resources import ResourceReport, Target

pytest.importorskip("triton")

SM80: Target = ("cuda", 80, 32)
SM90: Target = ("cuda", 90, 32)
SM100: Target = ("cuda", 100, 32)
GFX942: Target = ("hip", "gfx942", 64)

SOURCE = """
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit(do_not_specialize=["n"])
def add(xp, yp, op, n: tl.int64, B: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    x = tl.load(xp + i, mask=i < n, other=0.0)
    y = tl.load(yp + i, mask=i < n, other=0.0)
    tl.store(op + i, libdevice.tanh(x) + y, mask=i < n)


@triton.jit(do_not_specialize=["n"])
def copy(xp, op, n: tl.int64, B: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    tl.store(op + i, tl.load(xp + i))


@triton.jit(do_not_specialize=["n"])
def matmul(ap, bp, cp, n: tl.int64, B: tl.constexpr, P: tl.constexpr):
    i = tl.arange(0, B)
    acc = tl.zeros((B, B), dtype=tl.float32)
    for k in range(0, n, B):
        j = k + tl.arange(0, B)
        a = tl.load(ap + i[:, None] * n + j[None, :], mask=(j < n)[None, :], other=0.0)
        b = tl.load(bp + j[:, None] * B + i[None, :], mask=(j < n)[:, None], other=0.0)
        acc += tl.dot(a, b, input_precision=P)
    tl.store(cp + i[:, None] * B + i[None, :], acc)


@triton.jit
def centre(xp, op, B: tl.constexpr):
    x = tl.load(xp + tl.arange(0, B))
    tl.store(op + tl.arange(0, B), x - tl.sum(x) / B)


@triton.jit
def checked(xp, n: tl.int64):
    tl.device_assert(n > 0, "n must be positive")
    tl.store(xp, 1.0)


@triton.jit
def broken(xp):
    tl.store(xp, tl.arange(0, 4) + tl.arange(0, 8))
"""
TRAP = 'tl.inline_asm_elementwise("trap; mov.u32 $0, 0;", "=r", [], tl.int32, False, 1)'
ADD = {"xp": "*fp32", "yp": "*fp32", "op": "*fp32", "n": "i64"}
COPY = {"xp": "*fp32", "op": "*fp32", "n": "i64"}
MATMUL = {"ap": "*fp32", "bp": "*fp32", "cp": "*fp32", "n": "i64"}


def report(
    kernel: str, signature: dict[str, str], target: Target, **more: object
) -> ResourceReport:
    return compile_report(
        SOURCE, kernel, signature, target=target, num_warps=4, num_stages=3, constexprs=more
    )


@pytest.mark.parametrize("target", [SM80, SM90, SM100, GFX942], ids=str)
@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_an_elementwise_kernel(target: Target, dtype: str) -> None:
    signature = {**ADD, "xp": f"*{dtype}", "yp": f"*{dtype}", "op": f"*{dtype}"}
    found = report("add", signature, target, B=256)
    assert found.target == target
    assert 0 < found.registers <= 255
    assert found.spill_bytes == 0
    assert found.shared_bytes == 0
    assert not found.has_trap
    assert not found.instructions & {"mma", "wgmma", "mfma", "atomic"}
    final = "cubin" if target[0] == "cuda" else "hsaco"
    assert found.text_sizes[final] > 0


def test_wide_loads_of_aligned_pointers() -> None:
    assert {"ld.global.v4", "st.global.v4"} <= report("copy", COPY, SM90, B=1024).instructions
    assert {"load.x4", "store.x4"} <= report("copy", COPY, GFX942, B=1024).instructions


@pytest.mark.parametrize(
    ("target", "precision", "expected"),
    [
        (SM80, "tf32", "mma"),
        (SM90, "tf32", "wgmma"),
        (SM90, "tf32x3", "mma"),
        (SM100, "tf32", "tcgen05"),
        (GFX942, "ieee", "mfma"),
    ],
)
def test_a_loop_with_dot(target: Target, precision: str, expected: str) -> None:
    found = report("matmul", MATMUL, target, B=64, P=precision)
    names = found.instructions
    assert expected in names or (expected == "mma" and "wgmma" in names), names
    assert found.registers > 0
    assert found.shared_bytes >= 64 * 64 * 4
    assert (found.tensor_columns > 0) == (target == SM100)
    if target == SM80:
        assert "cp.async" in names


def test_registers_that_do_not_fit_are_counted() -> None:
    for target in (SM80, GFX942):
        found = compile_report(
            SOURCE,
            "centre",
            {"xp": "*fp32", "op": "*fp32"},
            target=target,
            num_warps=1,
            num_stages=1,
            constexprs={"B": 2**15},
        )
        assert found.spill_bytes > 0
        assert found.stack_bytes > 0


def test_a_failing_kernel_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BackendError, match="broken does not compile for cuda 90"):
        report("broken", {"xp": "*fp32"}, SM90)
    with pytest.raises(BackendError, match="no type for n"):
        report("copy", {"xp": "*fp32", "op": "*fp32"}, SM90, B=64)
    assert capfd.readouterr().out == ""


def test_traps_are_seen() -> None:
    signature = {"xp": "*fp32", "n": "i64"}
    assert not report("checked", signature, SM90).has_trap
    trapping = SOURCE.replace('tl.device_assert(n > 0, "n must be positive")', TRAP)
    found = compile_report(trapping, "checked", signature, target=SM90, num_warps=4, num_stages=3)
    assert found.has_trap


def test_tritons_own_cache_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "theirs"))
    report("copy", COPY, SM90, B=128)
    assert not (tmp_path / "theirs").exists()
    import triton

    assert triton.knobs.cache.dir == str(tmp_path / "theirs")


def test_importing_does_not_import_triton() -> None:
    program = (
        "import sys\n"
        "from graphir.runtime import interpret, resources, triton_launch\n"
        "sys.exit('triton' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
