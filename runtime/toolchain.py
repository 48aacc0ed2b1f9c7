"""The system's C compiler: finding it, what it understands, and building libraries once."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphir.errors import BackendError
from graphir.runtime.cache import DiskCache, digest
from graphir.runtime.processor import cpu_features

if TYPE_CHECKING:
    from collections.abc import Sequence

# Linux finds libc's functions in the process; to have the linker look for them, and for startup
# files that only programs need, takes it longer than all else that it does.
_LINKING: tuple[str, ...] = ("-nostdlib", "-lgcc") if sys.platform == "linux" else ()
# NaN, infinity and the sign of zero keep their meaning: never -ffast-math. A sum is reordered only
# where the text says so, in an `omp simd reduction`.
DEFAULT_FLAGS: tuple[str, ...] = (
    # What counts is blocked and unrolled in the text: -O3 takes longer and splits such loops again.
    "-O2",
    "-ftree-vectorize",
    "-fvect-cost-model=dynamic",
    "-fira-region=one",
    # Passes that make such text no faster: leaving them out saves a fifth of the time to build.
    "-fno-crossjumping",
    "-fno-cprop-registers",
    "-fno-rerun-cse-after-loop",
    "-fno-split-wide-types",
    "-fno-thread-jumps",
    "-fno-tree-ccp",
    "-fno-tree-copy-prop",
    "-fno-tree-dominator-opts",
    "-fno-tree-slp-vectorize",
    "-fno-tree-tail-merge",
    "-fno-tree-vrp",
    "-pipe",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
    "-std=gnu11",
    "-pthread",
    "-lm",
    *_LINKING,
)
BUILD_SECONDS = 120.0
_PROBE = "int graphir_probe(int x) { return x + 1; }\n"
_INSTALL = (
    "install a C compiler (`apt install gcc`, `xcode-select --install`, or `pip install ziglang`)"
)


@dataclass(frozen=True)
class Compiler:
    """A C compiler that ran: the command that starts it, and the first line of its version."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class _Failure:
    """Why a text did not build; `refused` where the compiler ran and said no."""

    message: str
    refused: bool = False


def find_compiler() -> Compiler:
    """The C compiler to use: $CC, else cc, gcc, clang, or pip's ziglang, in this order.

    Raises:
        BackendError: $CC is set and does not run (nothing else is tried then), or there is none.
    """
    chosen = os.environ.get("CC", "").strip()
    if chosen:
        try:
            command = tuple(shlex.split(chosen))
        except ValueError as failure:
            raise BackendError(f"$CC is not a command: {chosen!r} ({failure})") from failure
        version = _version(command)
        if version is None:
            raise BackendError(
                f"$CC is set to {chosen!r}, and `{shlex.join((*command, '--version'))}` fails",
                hint="unset CC, or set it to a C compiler that runs",
            )
        return Compiler(command, version)
    candidates: list[tuple[str, ...]] = [("cc",), ("gcc",), ("clang",)]
    if importlib.util.find_spec("ziglang") is not None:
        candidates.append((sys.executable, "-m", "ziglang", "cc"))
    for command in candidates:
        version = _version(command)
        if version is not None:
            return Compiler(command, version)
    tried = ", ".join(shlex.join(command) for command in candidates)
    raise BackendError(
        f"no C compiler: tried {tried}" + ("" if len(candidates) == 4 else " and pip's ziglang"),
        hint=_INSTALL,
    )


def supported_flags(
    compiler: Compiler, cache: DiskCache, flags: Sequence[str] = DEFAULT_FLAGS
) -> tuple[str, ...]:
    """The flags that the compiler takes without a warning, in the same order.

    Asked of the compiler once; the answer is kept in the cache.

    Raises:
        BackendError: the compiler cannot build even an empty library.
    """
    key = digest("flags", *compiler.command, compiler.version, cpu_features(), *flags)
    known = cache.get(key)
    if known is not None:
        return tuple(json.loads((known / "flags.json").read_text()))
    with cache.scratch() as scratch:
        source = scratch / "probe.c"
        source.write_text(_PROBE)

        def refusal(candidates: Sequence[str]) -> str | None:
            target = scratch / "probe.so"
            failure = _compile(compiler, source, target, (*candidates, "-Werror"), BUILD_SECONDS)
            return None if failure is None else failure.message

        accepted = list(flags)
        message = refusal(accepted)
        if message is not None:
            # Most compilers name all that they do not know at once.
            accepted = [
                flag for flag in flags if not re.search(f"['‘]{re.escape(flag)}['’]", message)
            ]
            message = refusal(accepted)
        if message is not None:
            # One by one and together: some flags count only in company of the earlier ones.
            needed = [flag for flag in ("-shared", "-fPIC") if flag in flags]
            accepted = []
            for flag in flags:
                if flag in needed or refusal([*needed, *accepted, flag]) is None:
                    accepted.append(flag)
            message = refusal(accepted)
            if message is not None:
                raise BackendError(
                    f"`{shlex.join(compiler.command)}` cannot build a library: {message}",
                    hint="set CC to a working C compiler",
                )
    cache.put(key, {"flags.json": json.dumps(accepted).encode()})
    return tuple(accepted)


def build_shared_library(
    text: str,
    cache: DiskCache,
    *,
    flags: Sequence[str] = DEFAULT_FLAGS,
) -> Path:
    """Build C text into a shared library, or find it in the cache.

    Args:
        text: one complete C file.
        cache: where the library (`kernel.so`) and its text (`kernel.c`) are kept.
        flags: what to ask of the compiler; those it does not know are left out.

    Returns:
        The path of the library, for `ctypes.CDLL`.

    Raises:
        BackendError: there is no compiler, the text does not build, or building takes longer than
            two minutes. The text is then kept, and the hint says where.
    """
    return build_shared_libraries([text], cache, flags=flags)[0]


def build_shared_libraries(
    texts: Sequence[str], cache: DiskCache, *, flags: Sequence[str] = DEFAULT_FLAGS
) -> list[Path]:
    """The same for several texts, which are built side by side.

    Raises:
        BackendError: as for one.
    """
    chosen = find_compiler()
    keys = [
        digest("library", text, *chosen.command, chosen.version, cpu_features(), *flags)
        for text in texts
    ]
    entries = [cache.get(key) for key in keys]
    missing = [i for i, entry in enumerate(entries) if entry is None]
    if missing:
        first, *others = missing
        # The first in this thread: where it is interrupted, so is its compiler.
        with ThreadPoolExecutor(max(len(others), 1)) as aside:
            made = {
                i: aside.submit(_built, texts[i], keys[i], chosen, cache, flags) for i in others
            }
            entries[first] = _built(texts[first], keys[first], chosen, cache, flags)
        for i, entry in made.items():
            entries[i] = entry.result()
    return [entry / "kernel.so" for entry in entries if entry is not None]


def _built(text: str, key: str, chosen: Compiler, cache: DiskCache, flags: Sequence[str]) -> Path:
    """Build one text: its entry in the cache."""
    with cache.scratch() as scratch:
        source, library = scratch / "kernel.c", scratch / "kernel.so"
        source.write_text(text)
        # Nearly always all flags are known: to ask first would nearly double the time.
        failure = _compile(chosen, source, library, flags, BUILD_SECONDS)
        if failure is not None and failure.refused:
            used = supported_flags(chosen, cache, flags)
            if used != tuple(flags):
                failure = _compile(chosen, source, library, used, BUILD_SECONDS)
        if failure is not None:
            kept = cache.put(digest("failed", key), {"kernel.c": text.encode()})
            raise BackendError(
                f"`{shlex.join(chosen.command)}` did not build a kernel: {failure.message}",
                hint=f"read the kernel's text in {kept / 'kernel.c'}",
            )
        return cache.put(key, {"kernel.so": library, "kernel.c": source})


def _compile(
    compiler: Compiler, source: Path, target: Path, flags: Sequence[str], seconds: float
) -> _Failure | None:
    """Compile one file. None when it worked, else the end of what the compiler said."""
    # A linker reads from left to right: libraries come after what needs them.
    libraries = [flag for flag in flags if flag.startswith("-l")]
    others = [flag for flag in flags if not flag.startswith("-l")]
    command = [*compiler.command, *others, str(source), "-o", str(target), *libraries]
    try:
        status, output = _run(command, seconds)
    except subprocess.TimeoutExpired:
        return _Failure(f"it took longer than {seconds:g} s")
    except OSError as error:
        return _Failure(str(error))
    if status == 0:
        return None
    end = output.strip().splitlines()[-30:]
    return _Failure("\n".join([f"exit status {status}", *end]), refused=True)


def _run(command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Run a command to its end. When it takes too long, or on Ctrl-C, its children end too."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException:
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            raise
    return process.returncode, output


def _version(command: tuple[str, ...]) -> str | None:
    """The first line of a compiler's version, or None when it does not run."""
    program = shutil.which(command[0]) if command else None
    if program is None:
        return None
    return _asked_version(command, program, Path(program).stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _asked_version(command: tuple[str, ...], program: str, changed: int) -> str | None:
    """Ask once per process and program file (its path and time are part of the question)."""
    try:
        status, output = _run([*command, "--version"], 30.0)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = output.strip().splitlines()
    return lines[0] if status == 0 and lines else None
