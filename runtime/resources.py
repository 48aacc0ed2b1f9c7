"""Compile Triton text for a GPU that need not be there, and read what the kernel takes."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphir.errors import BackendError
from graphir.runtime.triton_module import load_kernel, triton_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Target = tuple[str, int | str, int]

# What to look for in the target's text (PTX or amdgcn).
INSTRUCTIONS: dict[str, str] = {
    "mma": r"\bmma\.sync",
    "wgmma": r"\bwgmma\.mma_async",
    "tcgen05": r"\btcgen05\.mma",
    "mfma": r"\bv_mfma_",
    "ld.global.v4": r"\bld\.global[\w.:]*\.v4\.",
    "st.global.v4": r"\bst\.global[\w.:]*\.v4\.",
    "cp.async": r"\bcp\.async\.c[ag]\.",
    "cp.async.bulk": r"\bcp\.async\.bulk\.",
    "load.x4": r"\b(?:global|buffer)_load_dwordx4\b",
    "store.x4": r"\b(?:global|buffer)_store_dwordx4\b",
    "atomic": r"\b(?:atom|red)\.global|\b(?:global|buffer)_atomic_",
}
# Triton's settings and stdout belong to the process, so one compilation at a time changes them.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class ResourceReport:
    """What one compiled kernel takes.

    Attributes:
        target: what it was compiled for.
        registers: per thread (VGPRs, accumulation registers included, on AMD).
        stack_bytes: local memory per thread, for whatever reason (an exact `sin` takes some).
        spill_bytes: of registers that did not fit, stored to local memory, per thread.
        shared_bytes: shared memory (LDS) per program.
        tensor_columns: columns of tensor memory per program (sm_100).
        instructions: which of `INSTRUCTIONS` occur.
        has_trap: whether the text can stop the program.
        text_sizes: characters or bytes of every stage ("ttir", "ptx", "cubin", ...).
    """

    target: Target
    registers: int
    stack_bytes: int
    spill_bytes: int
    shared_bytes: int
    tensor_columns: int
    instructions: frozenset[str]
    has_trap: bool
    text_sizes: Mapping[str, int]


def compile_report(
    source: str,
    kernel: str,
    signature: Mapping[str, str],
    *,
    target: Target,
    num_warps: int,
    num_stages: int,
    constexprs: Mapping[str, Any] | None = None,
) -> ResourceReport:
    """Compile a kernel from nothing (Triton's cache is not used) and report.

    Args:
        source: the text of a Python module with `@triton.jit` functions.
        kernel: the name of the one to compile.
        signature: Triton's type of every parameter that is not in `constexprs`: "*fp32", "i64",
            "fp32", .... Pointers are taken to be 16-byte aligned, as they are at a launch, unless
            the kernel's decorator says not to specialize on them.
        target: backend, architecture and threads per warp: ("cuda", 90, 32), ("cuda", 100, 32),
            ("hip", "gfx942", 64).
        num_warps: warps per program.
        num_stages: how many stages loops are pipelined into.
        constexprs: values of the `tl.constexpr` parameters.

    Raises:
        BackendError: Triton is missing, runs as an interpreter, or cannot compile the kernel.
    """
    with _ONE_AT_A_TIME, _fresh_cache() as log:
        function = load_kernel(source, kernel)
        if not hasattr(function, "params"):
            raise BackendError(
                "Triton interprets in this process, so it cannot compile",
                hint="unset TRITON_INTERPRET before Triton is imported",
            )
        compiled = _compile(function, signature, target, num_warps, num_stages, constexprs or {})
        if "ptx" in compiled.asm:
            text = compiled.asm["ptx"]
            used = _cuda_usage(compiled.asm["cubin"])
            spilled = re.search(r"(\d+) bytes spill stores", log.getvalue())
            registers, stack, static = used["REG"], used["STACK"], used["SHARED"]
            # Triton without a log of ptxas: local memory is then all there is to go by.
            spill = int(spilled.group(1)) if spilled else stack
        else:
            text = compiled.asm["amdgcn"]
            registers = _field(text, "vgpr_count")
            stack = _field(text, "private_segment_fixed_size")
            static = _field(text, "group_segment_fixed_size")
            # Scalar registers spill into lanes of vector registers, not to memory.
            spill = 4 * _field(text, "vgpr_spill_count")
    return ResourceReport(
        target=target,
        registers=registers,
        stack_bytes=stack,
        spill_bytes=spill,
        shared_bytes=max(int(compiled.metadata.shared), static),
        tensor_columns=int(getattr(compiled.metadata, "tmem_size", 0) or 0),
        instructions=frozenset(
            n for n, pattern in INSTRUCTIONS.items() if re.search(pattern, text)
        ),
        has_trap=re.search(r"\btrap;|\bs_trap\b", text) is not None,
        text_sizes={stage: len(content) for stage, content in compiled.asm.items()},
    )


def _compile(
    function: Any,
    signature: Mapping[str, str],
    target: Target,
    num_warps: int,
    num_stages: int,
    constexprs: Mapping[str, Any],
) -> Any:
    """Triton's CompiledKernel."""
    missing = [p.name for p in function.params if p.name not in {**signature, **constexprs}]
    if missing:
        raise BackendError(f"{function.__name__}: no type for {', '.join(missing)}")
    types = {
        p.name: "constexpr" if p.name in constexprs else signature[p.name] for p in function.params
    }
    aligned = {
        (p.num,): [["tt.divisibility", 16]]
        for p in function.params
        if types[p.name].startswith("*")
        and not (p.do_not_specialize or p.do_not_specialize_on_alignment)
    }
    compiler = triton_module("triton.compiler")
    description = triton_module("triton.backends.compiler").GPUTarget(*target)
    options = {"num_warps": num_warps, "num_stages": num_stages, "enable_fp_fusion": True}
    try:
        ast = compiler.ASTSource(
            fn=function, signature=types, constexprs=dict(constexprs), attrs=aligned
        )
        return compiler.compile(ast, target=description, options=options)
    except Exception as failure:
        # Triton's stages raise whatever they like, some of it without a text.
        said = str(failure).strip() or repr(failure)
        raise BackendError(
            f"{function.__name__} does not compile for {target[0]} {target[1]}:\n"
            + "\n".join(said.splitlines()[-30:])
        ) from failure


@contextlib.contextmanager
def _fresh_cache() -> Iterator[io.StringIO]:
    """Let Triton compile into an empty directory, and collect what it would print."""
    knobs = triton_module("triton.knobs")
    log = io.StringIO()
    with (
        tempfile.TemporaryDirectory(prefix="graphir-") as directory,
        knobs.cache.scope(),
        knobs.nvidia.scope(),
        contextlib.redirect_stdout(log),
        _quiet_failures(),
    ):
        knobs.cache.dir = directory
        knobs.nvidia.dump_ptxas_log = True
        yield log


@contextlib.contextmanager
def _quiet_failures() -> Iterator[None]:
    """Where compiling fails the compiler prints all of its program to the process's stderr, of
    which the exception tells enough; what it prints otherwise comes through."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        kept = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        said.seek(0)
        os.write(2, said.read())


def _cuda_usage(cubin: bytes) -> dict[str, int]:
    """What cuobjdump, which comes with Triton, says of a binary: REG, STACK, SHARED, LOCAL, ...."""
    tool = Path(triton_module("triton").__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        try:
            said = subprocess.run(
                [str(tool), "--dump-resource-usage", file.name],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        except (OSError, subprocess.CalledProcessError) as failure:
            raise BackendError(f"Triton's cuobjdump fails: {failure}") from failure
    used = {name: int(value) for name, value in re.findall(r"\b([A-Z]+):(\d+)", said)}
    if not {"REG", "STACK", "SHARED"} <= used.keys():
        raise BackendError(f"cuobjdump reports no resource usage:\n{said[-500:]}")
    return used


def _field(text: str, name: str) -> int:
    """A number from the metadata at the end of amdgcn text, 0 when it is not there."""
    found = re.search(rf"\.{name}:\s*(\d+)", text)
    return int(found.group(1)) if found else 0
