"""The inline functions of the C text: their accuracy, their special values, and that they
vectorise."""

from __future__ import annotations

import ctypes
import math
import platform
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from graphir.codegen.c_math import ACCURACY, SNIPPETS, math_prelude, used_functions
from graphir.runtime.cache import DiskCache
from graphir.runtime.toolchain import (
    DEFAULT_FLAGS,
    build_shared_library,
    find_compiler,
    supported_flags,
)

pytestmark = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler"
)

X86 = platform.machine().lower() in ("x86_64", "amd64")
# Without FMA, and without the rounding instruction that came with SSE4.1.
MACHINES = ["-march=native", "-march=x86-64"] if X86 else ["-march=native"]
PERIODIC = ("sin", "cos", "tan")
NAMES = [name for name in ACCURACY if name != "pow"]
FAR = [f"far_{name}" for name in PERIODIC]
_erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


REFERENCES = {
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "erf": _erf,
    "atan": np.arctan,
    "asin": np.arcsin,
    "acos": np.arccos,
}


def loops() -> tuple[str, dict[int, str]]:
    """A C file with a loop over each function, and which function the loop of a line calls."""
    lines = ["#include <math.h>", "#include <stdint.h>"]
    names = [f"{n}{f}" for n in NAMES for f in ("f", "")]
    far = [f"{n}{f}" for n in FAR for f in ("f", "")]
    lines += math_prelude([f"gr_{n}" for n in (*names, *far, "powf")]).splitlines()
    places = {}
    for name in [*names, "powf"]:
        kind = "float" if name.endswith("f") and name != "erf" else "double"
        second, argument = (", const float *e", ", e[i]") if name == "powf" else ("", "")
        lines.append(f"void loop_{name}(const {kind} *x, {kind} *restrict y, long n{second}) {{")
        lines.append("#pragma omp simd")
        lines.append(f"for (long i = 0; i < n; i++) y[i] = gr_{name}(x[i]{argument}); }}")
        places[len(lines)] = name
    for name in far:
        kind = "float" if name.endswith("f") else "double"
        lines.append(f"void loop_{name}(const {kind} *x, {kind} *restrict y, long n) {{")
        lines.append(f"for (long i = 0; i < n; i++) y[i] = gr_{name}(x[i]); }}")
    return "\n".join(lines) + "\n", places


@pytest.fixture(scope="module", params=MACHINES)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    cache = DiskCache(tmp_path_factory.mktemp("math") / "cache")
    flags = (*DEFAULT_FLAGS, request.param)
    return ctypes.CDLL(str(build_shared_library(loops()[0], cache, flags=flags)))


def call(library: ctypes.CDLL, name: str, x: np.ndarray, *more: np.ndarray) -> np.ndarray:
    y = np.empty_like(x)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, y, *more)]
    suffix = "f" if x.dtype == np.float32 else ""
    getattr(library, f"loop_{name}{suffix}")(*pointers[:2], ctypes.c_long(x.size), *pointers[2:])
    return y


def special(dtype) -> np.ndarray:
    info = np.finfo(dtype)
    sizes = [0.0, info.smallest_subnormal, info.tiny / 3, info.tiny, info.eps / 5, info.max, np.inf]
    sizes += [1, 0.5, np.log(float(info.max)) * (1 - 1e-6), np.log(float(info.max)) + 1, 1e5]
    sizes += [-np.log(float(info.smallest_subnormal)) + d for d in (-1, -0.5, 0.5, 1)]
    sizes += [np.pi * k / 4 for k in range(1, 9)] + [5000 * np.pi]
    with np.errstate(over="ignore"):
        return np.array([s * sign for s in sizes for sign in (1, -1)] + [np.nan], dtype)


def sample(name: str, dtype, count: int) -> np.ndarray:
    """Bit patterns from everywhere, values around 0, and the special ones."""
    rng = np.random.default_rng(7)
    bits = np.uint32 if dtype == np.float32 else np.uint64
    anywhere = rng.integers(0, np.iinfo(bits).max, count, bits, endpoint=True).view(dtype)
    parts = [rng.uniform(-s, s, count) for s in (0.1, 1, 3, 20, 100, 800)]
    x = np.concatenate([special(dtype), anywhere, *(p.astype(dtype) for p in parts)])
    if name in PERIODIC:  # their reduction is exact only so far
        x = x[~((np.abs(x) > 8e8) & np.isfinite(x))]
    return x


def reference(name: str, x: np.ndarray) -> np.ndarray:
    """In float64 for float32, in longdouble for float64."""
    function = REFERENCES.get(name) or getattr(np, name)
    wide = np.float64 if x.dtype == np.float32 or name == "erf" else np.longdouble
    with np.errstate(all="ignore"):
        return function(x.astype(wide))


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The error in units of the last place of the exact value."""
    info = np.finfo(got.dtype)
    _, exponent = np.frexp(exact)
    unit = np.ldexp(exact.dtype.type(1), np.maximum(exponent, info.minexp + 1) - info.nmant - 1)
    return np.abs(got.astype(exact.dtype) - exact) / unit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_the_error_stays_within_the_stated_bound(library, name: str, dtype) -> None:
    single = dtype == np.float32
    x = sample(name, dtype, 200_000 if single else 30_000)
    exact, got = reference(name, x), call(library, name, x)
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
    # Infinite where the exact value rounds so, except within the error of the boundary.
    limit = float(np.finfo(dtype).max)
    inside = np.abs(exact) < limit * (1 - 1e-6)
    assert np.isfinite(got[inside]).all()
    beyond = np.abs(exact) > limit * (1 + 1e-6)
    np.testing.assert_array_equal(got[beyond], rounded[beyond])
    zeros = exact == 0
    np.testing.assert_array_equal(got[zeros], rounded[zeros])
    signed = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(got[signed]), np.signbit(rounded[signed]))
    bound = ACCURACY[name][0 if single else 1]
    assert bound is not None
    # math.erf and, on some machines, longdouble are not finer than what is tested.
    if not single and (name == "erf" or np.finfo(np.longdouble).nmant < 60):
        bound += 1
    assert ulps(got[inside], exact[inside]).max() <= bound


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", PERIODIC)
def test_far_angles_stay_within_the_bound(library, name: str, dtype) -> None:
    rng = np.random.default_rng(11)
    top = np.log10(float(np.finfo(dtype).max))
    x = (10 ** rng.uniform(0, top, 20_000) * rng.choice([-1, 1], 20_000)).astype(dtype)
    x = np.concatenate([x, np.array([8e8, 2.0**50, np.finfo(dtype).max], dtype)])
    # longdouble's own functions do not reach so far: libm's in double are within a unit.
    wide = x.astype(np.float64)
    exact = np.array([getattr(math, name)(v) for v in wide])
    got = call(library, f"far_{name}", x)
    bound = ACCURACY[name][0 if dtype == np.float32 else 1]
    assert bound is not None
    assert ulps(got, exact).max() <= bound + (dtype == np.float64)
    near = x[np.abs(x) <= 8e8]
    np.testing.assert_array_equal(call(library, f"far_{name}", near), call(library, name, near))
    assert np.isnan(call(library, f"far_{name}", np.array([np.inf, -np.inf, np.nan], dtype))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_angles_stay_in_range(library, dtype) -> None:
    x = np.random.default_rng(3).uniform(0, 8e8, 100_000).astype(dtype)
    s, c = call(library, "sin", x), call(library, "cos", x)
    np.testing.assert_allclose(s * s + c * c, 1, rtol=4 * float(np.finfo(dtype).eps))


def test_pow_in_float32(library) -> None:
    rng = np.random.default_rng(5)
    near = [0.0, 1, 2, 3, 0.5, 1 / 3, 7, 1e-30, 1e30, 2.0**24 - 1, 2.0**25, 3e38, 1e-45, np.inf]
    edges = np.array([v * s for v in near for s in (1, -1)] + [np.nan], np.float32)
    x = [a.ravel() for a in np.meshgrid(edges, edges)]
    more = [rng.uniform(0, 20, 100_000), rng.uniform(-30, 30, 100_000)]
    base, power = (np.concatenate([a, b]).astype(np.float32) for a, b in zip(x, more, strict=True))
    got = call(library, "pow", base, power)
    with np.errstate(all="ignore"):
        exact = np.power(base.astype(np.float64), power.astype(np.float64))
        rounded = exact.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
    whole = ~np.isnan(rounded)
    np.testing.assert_array_equal(np.signbit(got[whole]), np.signbit(rounded[whole]))
    edge = whole & (np.isinf(rounded) | (rounded == 0))
    np.testing.assert_array_equal(got[edge], rounded[edge])
    usual = whole & ~edge
    assert ulps(got[usual], exact[usual]).max() <= ACCURACY["pow"][0]


def _is_gcc() -> bool:
    asked = [*find_compiler().command, "-dM", "-E", "-x", "c", "/dev/null"]
    macros = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return "__GNUC__" in macros and "__clang__" not in macros


@pytest.mark.parametrize("machine", [*MACHINES, *(["-march=haswell"] if X86 else [])])
def test_every_loop_vectorises(tmp_path: Path, machine: str) -> None:
    if not _is_gcc():
        pytest.skip("the report is read from gcc")
    text, places = loops()
    source = tmp_path / "loops.c"
    source.write_text(text)
    compiler = find_compiler()
    flags = supported_flags(compiler, DiskCache(tmp_path / "cache"))
    command = [*compiler.command, *flags, machine, "-fopt-info-vec", "-c", str(source)]
    command += ["-o", str(tmp_path / "loops.o")]
    built = subprocess.run(command, capture_output=True, text=True, check=True)
    done = {int(n) for n in re.findall(r"loops\.c:(\d+):\d+: optimized: loop vec", built.stderr)}
    assert {name for line, name in places.items() if line not in done} == set()


def test_the_prelude_holds_what_is_used_and_no_more(tmp_path: Path) -> None:
    text = math_prelude({"gr_expf", "gr_tanh"})
    assert re.findall(r"GR_INLINE \w+ (\w+)\(", text) == [
        *("gr_exp_partf", "gr_bitsf", "gr_from_bitsf", "gr_scaled_expf", "gr_expf"),
        *("gr_exp_part", "gr_from_bits", "gr_bits", "gr_tanh"),
    ]
    assert math_prelude([]) == ""
    for name in SNIPPETS:
        whole = math_prelude([name])
        defined = re.findall(r"GR_INLINE \w+ (\w+)\(", whole)
        assert defined[-1] == name
        assert used_functions(whole) == set(defined)
    headers = "#include <math.h>\n#include <stdint.h>\n"
    build_shared_library(headers + text, DiskCache(tmp_path / "cache"))


def test_used_functions_reads_whole_names() -> None:
    assert used_functions("y = gr_expf(x) + my_gr_exp(x) + gr_unknown(gr_log2(x));") == {
        "gr_expf",
        "gr_log2",
    }
