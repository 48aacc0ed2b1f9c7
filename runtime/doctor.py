"""Which backends work on this machine, and what to install for the others."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass

from graphir.errors import GraphirError


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report: `works` is None for what is only told."""

    what: str
    works: bool | None
    says: str
    hint: str = ""


def examine() -> list[Finding]:
    """Look at everything that graphir can use here."""
    return [_versions(), *map(_asked, (_cache, _compiler, _c, _triton, _interpret, _gpu, _draw))]


def _asked(look: Callable[[], Finding]) -> Finding:
    """A look that fails is a finding too."""
    try:
        return look()
    except GraphirError as error:
        return Finding(look.__name__.strip("_"), False, error.message, error.hint or "")
    except Exception as error:  # noqa: BLE001  the doctor reports whatever is broken
        return Finding(look.__name__.strip("_"), False, f"{type(error).__name__}: {error}")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _versions() -> Finding:
    names = ("torch", "triton", "numpy", "networkx", "pygraphviz")
    said = [f"Python {platform.python_version()}", *(f"{n} {_version(n)}" for n in names)]
    return Finding("versions", None, ", ".join(said))


def _cache() -> Finding:
    from .cache import DiskCache

    return Finding("cache", True, str(DiskCache.default().root))


def _compiler() -> Finding:
    from .toolchain import find_compiler

    found = find_compiler()
    return Finding("compiler", True, f"{' '.join(found.command)} ({found.version})")


def _c() -> Finding:
    """The whole way: trace, schedule, print, build, call."""
    import numpy as np

    from .entry import compile_entry

    x = np.arange(3, dtype=np.float32)
    entry = compile_entry(lambda x: (x * x).sum(), (x,), name="doctor", backend="c")
    result = float(np.asarray(entry.call([x], {})))
    return Finding("backend c", result == 5.0, f"0² + 1² + 2² = {result:g}")


def _triton() -> Finding:
    if _version("triton") == "not installed":
        return Finding("triton", False, "Triton is not installed",
                       "pip install triton (Linux only)")  # fmt: skip
    return Finding("triton", True, f"{_version('triton')}: prints and compiles kernels")


def _interpret() -> Finding:
    works = _version("triton") != "not installed"
    return Finding("backend interpret", works, "runs the Triton text on the CPU, slowly" if works
                   else "needs Triton", "" if works else "pip install triton")  # fmt: skip


def _gpu() -> Finding:
    if "torch" not in sys.modules and _version("torch") == "not installed":
        return Finding("backend triton", False, "torch is not installed", "pip install torch")
    from graphir.frontend.torch_arrays import gpus

    found = gpus()
    if found:
        return Finding("backend triton", True, ", ".join(found))
    hint = "with one, install a torch built for it: https://pytorch.org/get-started"
    return Finding("backend triton", False, "torch sees no GPU", hint)


def _draw() -> Finding:
    if _version("pygraphviz") == "not installed":
        return Finding("drawings", False, "pygraphviz is not installed",
                       "pip install 'graphir[draw]'")  # fmt: skip
    from graphir.draw import layout

    return Finding("drawings", "<svg" in layout("digraph { a -> b }"), "pygraphviz lays out SVG")
