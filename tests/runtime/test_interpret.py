"""Triton's interpreter in its worker process: results, errors, and what it is completed by."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import graphir
from graphir.errors import BackendError
from graphir.runtime.interpret import Interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("triton")

SOURCE = """
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit
def add(xp, yp, op, n: tl.int64, B: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * B + tl.arange(0, B)
    x = tl.load(xp + i, mask=i < n, other=0.0)
    y = tl.load(yp + i, mask=i < n, other=0.0)
    tl.store(op + i, x + y, mask=i < n)


@triton.jit
def matmul(ap, bp, cp, n: tl.int64, lo: tl.int64, hi: tl.int64, B: tl.constexpr):
    i = tl.arange(0, B)
    acc = tl.zeros((B, B), dtype=cp.dtype.element_ty)
    for k in range(lo, hi, B):
        j = tl.cast(k, tl.int64) + tl.arange(0, B)
        a = tl.load(ap + i[:, None] * n + j[None, :], mask=(j < hi)[None, :], other=0.0)
        b = tl.load(bp + j[:, None] * B + i[None, :], mask=(j < hi)[:, None], other=0.0)
        acc += tl.dot(a, b, input_precision="ieee")
    tl.store(cp + i[:, None] * B + i[None, :], acc)


@triton.jit
def where_am_i(op, width: tl.int64, height: tl.int64):
    x, y, z = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    tl.store(op + (z * height + y) * width + x, x + 10 * y + 100 * z)


@triton.jit
def special(xp, op, n: tl.int64, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(xp + i, mask=i < n, other=0.5)
    tl.store(op + i, libdevice.FUNCTION(x), mask=i < n)


@triton.jit
def power(xp, op, n: tl.int64, B: tl.constexpr):
    i = tl.arange(0, B)
    x = tl.load(xp + i, mask=i < n, other=0.5)
    y = tl.where(libdevice.isnan(x), -1.0, libdevice.pow(x, 2.5 + tl.zeros_like(x)))
    tl.store(op + i, y, mask=i < n)


@triton.jit
def bf16_dot(ap, bp, cp, B: tl.constexpr):
    i = tl.arange(0, B)
    at = i[:, None] * B + i[None, :]
    a, b = tl.load(ap + at), tl.load(bp + at)
    tl.store(cp + at, tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16)))


@triton.jit
def precise_dot(ap, bp, cp, B: tl.constexpr):
    i = tl.arange(0, B)
    at = i[:, None] * B + i[None, :]
    tl.store(cp + at, tl.dot(tl.load(ap + at), tl.load(bp + at), input_precision="bf16x6"))


@triton.jit
def scalars(op, ip, typed: tl.float64, plain, big: tl.int64):
    tl.store(op, typed)
    tl.store(op + 1, plain)
    tl.store(ip, big * big)


@triton.jit
def broken(xp):
    x = tl.load(xp + tl.arange(0, 4))
    y = x + tl.arange(0, 8)
    tl.store(xp, y)


@triton.jit
def stray(xp, n: tl.int64):
    tl.store(xp + n, 1.0)


@triton.jit
def wild(xp):
    tl.store(xp + 2**44, 1.0)


@triton.jit
def noisy(xp):
    print('{"error": "not the reply"}')
    tl.device_print("noise", tl.load(xp))
    tl.store(xp, 2.0)


@triton.jit
def endless(xp):
    while tl.load(xp) == 0.0:
        tl.store(xp + 1, 1.0)
"""


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    with Interpreter(timeout=120) as one:
        yield one


def pid_of(interpreter: Interpreter) -> int:
    worker = interpreter._worker
    assert worker is not None
    return worker.process.pid


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 130])
def test_masked_add(interpreter: Interpreter, n: int, dtype: str) -> None:
    x = np.arange(n).astype(dtype)
    y = (3 * np.arange(n) + 1).astype(dtype)
    out = np.full(n, -1, dtype)
    source = SOURCE if dtype.startswith("float") else SOURCE.replace("other=0.0", "other=0")
    interpreter.launch(source, "add", [x, y, out, n, 64], (-(-n // 64),))
    np.testing.assert_array_equal(out, x + y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("lo", "hi"), [(0, 40), (16, 40), (0, 0), (3, 37)])
def test_loop_with_dot(interpreter: Interpreter, lo: int, hi: int, dtype: str) -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((16, 48)).astype(dtype)
    b = random.standard_normal((48, 16)).astype(dtype)
    out = np.full((16, 16), np.nan, dtype)
    interpreter.launch(SOURCE, "matmul", [a, b, out, 48, lo, hi, 16], (1,))
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(out, a[:, lo:hi] @ b[lo:hi], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("grid", [(5,), (3, 2), (2, 3, 4)])
def test_grids(interpreter: Interpreter, grid: tuple[int, ...]) -> None:
    width, height, depth = (*grid, 1, 1)[:3]
    out = np.full((depth, height, width), -1, np.int64)
    interpreter.launch(SOURCE, "where_am_i", [out, width, height], grid)
    z, y, x = np.indices(out.shape)
    np.testing.assert_array_equal(out, x + 10 * y + 100 * z)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("tanh", np.tanh),
        ("log1p", np.log1p),
        ("expm1", np.expm1),
        ("sinh", np.sinh),
        ("atan", np.arctan),
        ("rint", np.rint),
        ("erf", np.vectorize(math.erf)),
    ],
)
def test_libdevice(interpreter: Interpreter, name: str, function: np.ufunc, dtype: str) -> None:
    x = np.linspace(-0.9, 3.5, 30).astype(dtype)
    out = np.zeros_like(x)
    interpreter.launch(SOURCE.replace("FUNCTION", name), "special", [x, out, 30, 32], (1,))
    np.testing.assert_allclose(out, function(x), rtol=1e-6 if dtype == "float32" else 1e-15)


def test_libdevice_with_two_operands_and_a_truth_value(interpreter: Interpreter) -> None:
    x = np.array([0.0, 1.0, 2.0, np.nan, np.inf])
    out = np.zeros_like(x)
    interpreter.launch(SOURCE, "power", [x, out, 5, 8], (1,))
    np.testing.assert_allclose(out, [0, 1, 2**2.5, -1, np.inf])


def test_products_of_bfloat16(interpreter: Interpreter) -> None:
    a = np.arange(256, dtype=np.float32).reshape(16, 16) % 7
    b = np.eye(16, dtype=np.float32) * 3
    out = np.zeros_like(a)
    interpreter.launch(SOURCE, "bf16_dot", [a, b, out, 16], (1,))
    np.testing.assert_array_equal(out, a @ b)
    interpreter.launch(SOURCE, "precise_dot", [a + 0.1, b, out, 16], (1,))
    np.testing.assert_allclose(out, (a + 0.1) @ b, rtol=1e-6)


def test_scalars_keep_their_types(interpreter: Interpreter) -> None:
    out, whole = np.zeros(2), np.zeros(1, np.int64)
    interpreter.launch(SOURCE, "scalars", [out, whole, 0.1, float("-inf"), 3_000_000_000], (1,))
    assert out.tolist() == [0.1, float("-inf")]
    assert whole[0] == 9_000_000_000_000_000_000
    # Without its type, 70000 would be an int32 and its square would wrap around.
    interpreter.launch(SOURCE, "scalars", [out, whole, np.float64(0.2), 1, np.int64(70_000)], (1,))
    assert out.tolist() == [0.2, 1.0]
    assert whole[0] == 4_900_000_000


def test_the_same_array_twice_is_one(interpreter: Interpreter) -> None:
    x = np.arange(8.0)
    interpreter.launch(SOURCE, "add", [x, x, x, 8, 8], (1,))
    np.testing.assert_array_equal(x, 2 * np.arange(8.0))


def test_an_error_shows_the_kernels_line_and_the_worker_lives(interpreter: Interpreter) -> None:
    x = np.zeros(8)
    interpreter.launch(SOURCE, "stray", [x, 3], (1,))
    before = pid_of(interpreter)
    with pytest.raises(BackendError, match="broken") as caught:
        interpreter.launch(SOURCE, "broken", [x], (1,))
    assert "y = x + tl.arange(0, 8)" in str(caught.value)
    assert "incompatible" in str(caught.value)
    with pytest.raises(BackendError, match="no_such_kernel"):
        interpreter.launch(SOURCE, "no_such_kernel", [x], (1,))
    with pytest.raises(BackendError, match="SyntaxError"):
        interpreter.launch("def (", "f", [x], (1,))
    with pytest.raises(BackendError, match="failed"):
        interpreter.launch(SOURCE, "stray", [x], (1,))
    interpreter.launch(SOURCE, "stray", [x, 5], (1,))
    assert x.tolist() == [0, 0, 0, 1, 0, 1, 0, 0]
    assert pid_of(interpreter) == before


def test_a_stray_store_is_caught(interpreter: Interpreter) -> None:
    for position in (-1, 4, 40):
        with pytest.raises(BackendError, match="outside"):
            interpreter.launch(SOURCE, "stray", [np.zeros(4), position], (1,))


def test_a_read_only_array_stays_as_it_was(interpreter: Interpreter) -> None:
    x = np.zeros(4)
    x.flags.writeable = False
    with pytest.raises(BackendError, match="read-only"):
        interpreter.launch(SOURCE, "stray", [x, 1], (1,))
    assert x.tolist() == [0, 0, 0, 0]


def test_arguments_that_cannot_be_passed(interpreter: Interpreter) -> None:
    x = np.zeros((4, 6))
    with pytest.raises(BackendError, match="C-contiguous") as caught:
        interpreter.launch(SOURCE, "stray", [x.T, 0], (1,))
    assert "ascontiguousarray" in str(caught.value.hint)
    with pytest.raises(BackendError, match="complex128"):
        interpreter.launch(SOURCE, "stray", [x + 1j, 0], (1,))
    with pytest.raises(BackendError, match="not str"):
        interpreter.launch(SOURCE, "stray", [x, "0"], (1,))  # type: ignore[list-item]


def test_arrays_that_overlap(interpreter: Interpreter) -> None:
    x, out = np.arange(6.0), np.zeros(4)
    interpreter.launch(SOURCE, "add", [x, x[2:], out, 4, 4], (1,))
    assert out.tolist() == [2, 4, 6, 8]
    with pytest.raises(BackendError, match="overlaps"):
        interpreter.launch(SOURCE, "add", [x, out, x[1:], 4, 4], (1,))

    def fn(x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return (x * row).sum(0)

    rows = torch.arange(6.0).reshape(2, 3)
    found = graphir.compile(fn, backend="interpret")(rows, rows[1])
    assert found.tolist() == [9, 20, 35]


def test_what_a_kernel_prints_goes_to_stderr(
    interpreter: Interpreter, capfd: pytest.CaptureFixture[str]
) -> None:
    interpreter.close()  # a new worker inherits the captured stderr
    x = np.ones(1)
    interpreter.launch(SOURCE, "noisy", [x], (1,))
    assert x[0] == 2.0
    interpreter.close()
    said = capfd.readouterr()
    assert said.out == ""
    assert "noise:  [1.]" in said.err


def test_a_worker_that_dies_is_replaced(interpreter: Interpreter) -> None:
    x = np.zeros(4)
    with pytest.raises(BackendError, match="died") as caught:
        interpreter.launch(SOURCE, "wild", [x], (1,))
    assert "Segmentation fault" in str(caught.value)
    interpreter.launch(SOURCE, "stray", [x, 2], (1,))
    os.kill(pid_of(interpreter), signal.SIGKILL)
    interpreter._worker.process.wait()  # type: ignore[union-attr]
    interpreter.launch(SOURCE, "stray", [x, 3], (1,))
    assert x.tolist() == [0, 0, 1, 1]


def test_a_kernel_that_hangs_is_ended() -> None:
    with Interpreter(timeout=3) as impatient:
        x = np.zeros(2)
        impatient.launch(SOURCE, "stray", [x, 1], (1,))
        before = pid_of(impatient)
        with pytest.raises(BackendError, match="longer than 3 s"):
            impatient.launch(SOURCE, "endless", [x], (1,))
        with pytest.raises(ProcessLookupError):
            os.kill(before, 0)
        impatient.launch(SOURCE, "stray", [x, 0], (1,))
        assert x.tolist() == [1, 1]


def test_threads_share_one_worker(interpreter: Interpreter) -> None:
    outs = [np.zeros(100) for _ in range(8)]

    def work(index: int) -> None:
        x = np.full(100, float(index))
        interpreter.launch(SOURCE, "add", [x, x, outs[index], 100, 64], (2,))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, out in enumerate(outs):
        np.testing.assert_array_equal(out, np.full(100, 2.0 * index))


def test_closing_ends_the_worker_and_removes_its_files() -> None:
    one = Interpreter()
    x = np.zeros(2)
    one.launch(SOURCE, "stray", [x, 1], (1,))
    assert one._worker is not None
    directory, pid = one._worker.data.parent, pid_of(one)
    assert directory.stat().st_mode & 0o777 == 0o700
    one.close()
    one.close()
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    one.launch(SOURCE, "stray", [x, 0], (1,))
    one.close()
    assert x.tolist() == [1, 1]


def test_the_users_process_is_not_patched(interpreter: Interpreter) -> None:
    interpreter.launch(SOURCE, "stray", [np.zeros(2), 1], (1,))
    assert "TRITON_INTERPRET" not in os.environ or os.environ["TRITON_INTERPRET"] != "1"
    import triton

    function = triton.jit(test_closing_ends_the_worker_and_removes_its_files)
    assert type(function).__name__ == "JITFunction"


def test_a_program_that_forgets_to_close_ends() -> None:
    program = (
        "import numpy as np\n"
        "from graphir.runtime.interpret import Interpreter\n"
        f"one = Interpreter()\none.launch({SOURCE!r}, 'stray', [np.zeros(2), 1], (1,))\n"
        "print(one._worker.data.parent)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert not os.path.exists(done.stdout.strip())


@pytest.mark.parametrize(
    "busy", [f"one.launch({SOURCE!r}, 'endless', [np.zeros(2)], (1,))", "input()"],
    ids=["endless", "idle"],
)  # fmt: skip
def test_a_worker_and_its_files_end_with_a_program_that_is_killed(busy: str) -> None:
    program = (
        "import numpy as np\n"
        "from graphir.runtime.interpret import Interpreter\n"
        f"one = Interpreter()\none.launch({SOURCE!r}, 'stray', [np.zeros(2), 1], (1,))\n"
        "print(one._worker.process.pid, one._worker.data.parent, flush=True)\n"
        f"{busy}\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        pid, directory = running.stdout.readline().split()
        running.kill()
    for _ in range(200):
        if not is_running(int(pid)):
            break
        time.sleep(0.1)
    else:
        os.kill(int(pid), signal.SIGKILL)
        pytest.fail("the worker outlived its program by 20 seconds")
    assert not os.path.exists(directory)


def is_running(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
