"""Which processor this is: for cache keys, and for the vectors that C text is written for."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

from graphir.codegen.machine import AVX2, AVX512, NEON, SSE, Machine

_CPU_FIELDS = (  # as x86, arm, RISC-V and POWER name them
    *("vendor_id", "model name", "cpu family", "model", "stepping", "flags"),
    *("Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part"),
    *("isa", "cpu"),
)


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """A stable description of this machine's processor, for cache keys.

    What `-march=native` builds here must not be loaded elsewhere, so the model and its flags are
    in; what changes by the second (the clock) is not.

    Args:
        cpuinfo: where Linux describes its processors; the first one is read.
    """
    fields = {}
    try:
        first = cpuinfo.read_text(errors="replace").split("\n\n")[0]
    except OSError:
        first = ""
    for line in first.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in _CPU_FIELDS:
            fields[name.strip()] = " ".join(sorted(value.split()))
    fields = fields or {"processor": platform.processor()}
    parts = [f"{name}={value}" for name, value in sorted(fields.items())]
    return "; ".join((platform.system(), platform.machine(), *parts))


@cache
def processor() -> Machine:
    """The machine to write C for: by this processor's own word, so that it never changes here."""
    return machine_by(cpu_features(), platform.machine())


def machine_by(features: str, architecture: str) -> Machine:
    """The machine of a processor.

    Args:
        features: what `cpu_features` says.
        architecture: as `platform.machine` names it.
    """
    words = set(re.findall(r"[\w.]+", features))
    if architecture.lower() in ("arm64", "aarch64"):
        return NEON
    if "avx512f" in words:
        return AVX512
    return AVX2 if "avx2" in words else SSE
