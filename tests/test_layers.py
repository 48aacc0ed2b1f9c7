"""The three packages import only what DESIGN allows: parsed from their text."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("graphir", "codegen", "runtime")
# The public names, and the command line under the package's name.
FACES = (ROOT / "graphir" / "__init__.py", ROOT / "graphir" / "__main__.py")


def files(package: str) -> list[Path]:
    """The modules of one package; the links in graphir/ are not followed."""
    linked = {ROOT / "graphir" / "codegen", ROOT / "graphir" / "runtime"}
    found = sorted((ROOT / package).rglob("*.py"))
    return [f for f in found if package != "graphir" or linked.isdisjoint(f.parents)]


def dotted(file: Path) -> str:
    """The name under which a module is imported."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "graphir" else ("graphir", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every imported name, made absolute, with its line: `graphir.errors.ShapeError`."""
    package = dotted(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            for alias in node.names:
                yield ".".join([*base, alias.name]), node.lineno


def offenders(package: str, *banned: str) -> list[str]:
    """The imports of a package that start with one of the banned names."""
    return [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files(package)
        if file not in FACES
        for name, line in imports(file)
        if any(name == b or name.startswith(b + ".") for b in banned)
    ]


def test_meaning_knows_neither_kernels_nor_devices() -> None:
    assert not offenders(
        "graphir", "graphir.codegen", "graphir.runtime", "triton", "ctypes", "subprocess"
    )


def test_torch_is_only_in_its_front_end() -> None:
    found = [o for o in offenders("graphir", "torch") if not o.startswith("graphir/frontend/")]
    assert not found


def test_codegen_prints_text_and_runs_nothing() -> None:
    assert not offenders(
        "codegen", "graphir.runtime", "triton", "torch", "ctypes", "subprocess", "os"
    )


def test_one_file_imports_triton() -> None:
    # By a name at run time, so that nothing is imported before it is needed.
    assert not offenders("runtime", "triton")
    named = [f.name for f in files("runtime") if "importlib.import_module" in f.read_text("utf-8")]
    assert named == ["triton_module.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_from_submodules(package: str) -> None:
    modules = {dotted(f) for p in PACKAGES for f in files(p)}
    found = []
    for file in files(package):
        if file in FACES:
            continue
        for name, line in imports(file):
            if name == "graphir" or (
                name.startswith("graphir.") and name.count(".") == 1 and name not in modules
            ):
                found.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    assert not found


def test_nothing_is_pickled() -> None:
    for package in PACKAGES:
        assert not offenders(package, "pickle", "cloudpickle", "marshal", "shelve")


@pytest.mark.parametrize("package", ["graphir", "graphir.codegen", "graphir.runtime"])
def test_each_package_imports_first(package: str) -> None:
    code = f"import {package}, sys; sys.exit('triton' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_graphir_does_not_import_torch() -> None:
    code = "import graphir, sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
