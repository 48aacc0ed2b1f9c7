"""The C compiler: found or explained, asked once, and trusted with NaN."""

from __future__ import annotations

import ctypes
import math
import shutil
import sys
from pathlib import Path

import pytest

from graphir.errors import BackendError
from graphir.runtime import toolchain
from graphir.runtime.cache import DiskCache
from graphir.runtime.processor import cpu_features
from graphir.runtime.toolchain import (
    DEFAULT_FLAGS,
    build_shared_library,
    find_compiler,
    supported_flags,
)

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="no C compiler"
)
TEXT = """
#include <math.h>
double twice(double x) { return 2 * x; }
int is_nan(double x) { return isnan(x) ? 1 : 0; }
double total(const double *x, long n) { double s = 0; for (long i = 0; i < n; i++) s += exp(x[i]);
  return s; }
"""


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that writes down how it was called, one line a call."""
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    log, script = tmp_path / "calls", tmp_path / "logging-cc"
    script.write_text(f'#!/bin/sh\necho "$*" >> {log}\nexec {real} "$@"\n')
    script.chmod(0o755)
    log.write_text("")
    monkeypatch.setenv("CC", str(script))
    return log


@needs_compiler
def test_a_function_is_built_and_called(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    library = ctypes.CDLL(str(build_shared_library(TEXT, cache)))
    library.twice.argtypes, library.twice.restype = [ctypes.c_double], ctypes.c_double
    library.total.restype = ctypes.c_double
    library.is_nan.argtypes = [ctypes.c_double]
    assert library.twice(3.25) == 6.5
    assert library.twice(1e-310) == 2e-310
    assert library.is_nan(math.nan) == 1
    assert library.is_nan(math.inf) == 0
    numbers = (ctypes.c_double * 100)(*[0.01 * i for i in range(100)])
    expected = math.fsum(math.exp(0.01 * i) for i in range(100))
    assert library.total(numbers, ctypes.c_long(100)) == pytest.approx(expected, rel=1e-14)


def test_the_default_flags_keep_nan() -> None:
    assert not {"-ffast-math", "-ffinite-math-only", "-Ofast"} & set(DEFAULT_FLAGS)


@needs_compiler
def test_the_second_build_comes_from_the_cache(cache: DiskCache, calls: Path) -> None:
    first = build_shared_library(TEXT, cache)
    before = calls.read_text().splitlines()
    assert any("kernel.c" in line and "-lm" in line for line in before)
    assert build_shared_library(TEXT, cache) == first
    assert calls.read_text().splitlines() == before
    other = build_shared_library(TEXT + "\n", cache)
    assert other != first
    # A new text is one more call: which flags are known is not asked again.
    assert len(calls.read_text().splitlines()) == len(before) + 1


@needs_compiler
def test_unknown_flags_are_left_out(cache: DiskCache, calls: Path) -> None:
    compiler = find_compiler()
    flags = ("-O2", "-fno-such-flag-exists", "-shared", "-fPIC", "-mno-such-thing=3", "-lm")
    assert supported_flags(compiler, cache, flags) == ("-O2", "-shared", "-fPIC", "-lm")
    asked = calls.read_text()
    assert supported_flags(compiler, cache, flags) == ("-O2", "-shared", "-fPIC", "-lm")
    assert calls.read_text() == asked
    assert build_shared_library(TEXT, cache, flags=flags).is_file()


@needs_compiler
def test_flags_that_need_each_other_survive(cache: DiskCache) -> None:
    flags = ("-fno-such-flag-exists", *DEFAULT_FLAGS)
    used = supported_flags(find_compiler(), cache, flags)
    assert used == supported_flags(find_compiler(), cache, DEFAULT_FLAGS)
    assert {"-O2", "-shared", "-lm"} <= set(used)


@needs_compiler
def test_what_does_not_build_is_kept_and_explained(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BackendError, match="undeclared_thing") as caught:
        build_shared_library("int f(void) { return undeclared_thing; }", cache)
    assert caught.value.hint is not None
    kept = Path(caught.value.hint.split()[-1])
    assert "undeclared_thing" in kept.read_text()
    assert kept.is_relative_to(cache.root)


@needs_compiler
def test_a_compiler_that_hangs_is_ended(
    cache: DiskCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "slow-cc"
    script.write_text('#!/bin/sh\n[ "$1" = --version ] && { echo slow 1; exit; }\nsleep 60 | cat\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    monkeypatch.setattr(toolchain, "BUILD_SECONDS", 0.2)
    with pytest.raises(BackendError, match="longer than"):
        build_shared_library(TEXT, cache)


def test_a_bogus_cc_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -O1")
    with pytest.raises(BackendError, match="no-such-compiler -O1") as caught:
        find_compiler()
    assert "unset CC" in str(caught.value)
    monkeypatch.setenv("CC", "'unbalanced")
    with pytest.raises(BackendError, match="not a command"):
        find_compiler()


def test_cc_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "broken-cc"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    with pytest.raises(BackendError, match="broken-cc"):
        find_compiler()


@needs_compiler
def test_cc_may_hold_arguments(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    monkeypatch.setenv("CC", f"{real} -DSCALE=5")
    compiler = find_compiler()
    assert compiler.command[1:] == ("-DSCALE=5",)
    assert compiler.version
    library = ctypes.CDLL(str(build_shared_library("int f(void) { return SCALE; }", cache)))
    assert library.f() == 5


def test_no_compiler_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(BackendError, match=r"tried cc, gcc, clang and pip's ziglang") as caught:
        find_compiler()
    assert "install" in str(caught.value.hint)


def test_cpu_features_are_stable(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    one = "model name\t: Some CPU\nflags\t\t: sse avx2\ncpu MHz\t\t: {}\n"
    file.write_text(one.format(1000) + "\nmodel name\t: Other\n")
    first = cpu_features(file)
    assert "avx2 sse" in first
    assert "1000" not in first
    assert "Other" not in first
    file.write_text(one.format(2000))
    assert cpu_features(file) == first
    file.write_text(one.format(2000).replace("avx2", "avx512f"))
    assert cpu_features(file) != first
    assert cpu_features(tmp_path / "missing").startswith(cpu_features().split(";")[0])
    if sys.platform == "linux":
        assert cpu_features() == cpu_features()
