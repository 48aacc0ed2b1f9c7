"""The one door to Triton: importing it, and turning kernel text into kernels.

The interpreter's worker loads this file by itself, so it imports nothing of graphir at the top.
"""

from __future__ import annotations

import hashlib
import importlib
import linecache
import sys
import types
from typing import Any


def triton_module(name: str = "triton") -> Any:
    """Import a module of Triton, such as `triton.compiler`.

    Raises:
        BackendError: Triton is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as failure:
        from graphir.errors import BackendError

        raise BackendError(
            f"this needs Triton, and {failure.name} cannot be imported",
            hint="pip install triton (Linux only), or use backend='c'",
        ) from failure


def load_kernel(source: str, kernel: str) -> Any:
    """The kernel of that name from a module's text; each distinct text is executed once.

    Args:
        source: the text of a Python module with `@triton.jit` functions.
        kernel: the name of one of them.

    Returns:
        What `@triton.jit` made of it (a `JITFunction`, or an `InterpretedFunction` where
        TRITON_INTERPRET=1 was set before Triton was imported).

    Raises:
        BackendError: Triton is not installed.
        AttributeError: the module has no such kernel.
    """
    triton_module()
    name = f"graphir_kernels_{hashlib.sha256(source.encode()).hexdigest()[:16]}"
    module = sys.modules.get(name)
    if module is None:
        file = f"{name}.py"
        # Triton asks `inspect` for a function's lines, which looks here when there is no file.
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        module = types.ModuleType(name)
        module.__file__ = file
        exec(compile(source, file, "exec"), module.__dict__)
        # Of two threads that got here, the first keeps its module and both use it.
        module = sys.modules.setdefault(name, module)
    return getattr(module, kernel)
