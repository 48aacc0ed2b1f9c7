"""What `make gpu` needs of the Python that is active, and how to come by what is missing.

Only the standard library is imported here, so that this runs wherever there is a Python.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEAST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Needs:
    """What was looked for.

    Attributes:
        versions: of what is there, by the package's name.
        missing: packages without which nothing runs.
        without: what is left out because something else is missing, a sentence each.
        problem: why there is nothing to run on; None where there is a GPU.
    """

    versions: dict[str, str]
    missing: tuple[str, ...]
    without: tuple[str, ...]
    problem: str | None = None
    tools: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """For people."""
        have = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        lines = [f"Python {sys.version.split()[0]} ({sys.executable}): {have or 'no packages'}"]
        if self.missing:
            names = " ".join(n for n in self.missing if n not in ("torch", "triton"))
            tag = f"{sys.version_info.major}.{sys.version_info.minor}"
            lines += [
                f"missing: {', '.join(self.missing)}. Nothing is installed from here.",
                "torch and triton are the machine's own. The others, where there is a network:",
                "  python3 -m pip install --target extra --no-deps --only-binary=:all: \\",
                f"    --python-version {tag} {names}",
                "then bring the folder `extra` here, and run: PYTHONPATH=extra make gpu",
            ]
        lines += [f"without {sentence}" for sentence in self.without]
        if self.problem:
            lines.append(self.problem)
        return "\n".join(lines)


def needed() -> list[str]:
    """The packages that graphir depends on, from its pyproject.toml."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [re.split(r"[^A-Za-z0-9_-]", line)[0] for line in project["dependencies"]]


def look(device: str) -> Needs:
    """What is there and what is not, for a run on this device."""
    if sys.version_info < LEAST_PYTHON:
        return Needs({}, (), (), "graphir needs Python 3.11 or later: make gpu PYTHON=python3.12")
    optional = {
        "pytest": "pytest: the GPU tests are not run",
        "jax": "jax: no JAX beside graphir in the benchmark",
    }
    versions, missing, without = {}, [], []
    for name in [*needed(), *optional]:
        if importlib.util.find_spec(name) is not None:
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                versions[name] = "of an unknown version"
        elif name in optional:
            without.append(optional[name])
        else:
            missing.append(name)
    if "rich" in missing:
        # What rich itself needs; --no-deps keeps torch from coming along.
        missing += [n for n in ("markdown-it-py", "mdurl", "pygments") if not _there(n)]
    problem = None
    if "torch" in versions and device.startswith("cuda"):
        problem = _no_gpu()
    tools = {}
    sanitizer = shutil.which("compute-sanitizer") or _cuda_tool("compute-sanitizer")
    if sanitizer:
        tools["compute-sanitizer"] = sanitizer
    elif device.startswith("cuda"):
        without.append("compute-sanitizer: memory accesses are not checked")
    return Needs(versions, tuple(missing), tuple(without), problem, tools)


def _there(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _cuda_tool(name: str) -> str | None:
    found = Path("/usr/local/cuda/bin") / name
    return str(found) if found.exists() else None


def _no_gpu() -> str | None:
    import torch

    if torch.cuda.is_available():
        return None
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    return (
        f"no GPU: torch {torch.__version__} ({built}) finds none. Run `make gpu` on a machine with "
        "one, with a torch that is built for it; `make test` proves what can be proven without."
    )
