"""One worker of a long run: it compares the programs of some seeds and prints a line of JSON for
each. It runs in a process of its own, which a wrong kernel may kill."""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from graphir.runtime import backend_c, toolchain
from tests.fuzz.compare import BACKENDS, Mismatch, Report, compare
from tests.fuzz.generate import seeded
from tests.fuzz.program import Program

# Most kernels are built with -O1, which halves the time; one in so many as users build them.
FULL = 8
_SLOW = ("-O", "-ftree-vectorize", "-fvect-cost-model")
_QUICK = ("-O1", *(f for f in toolchain.DEFAULT_FLAGS if not f.startswith(_SLOW)))


@contextlib.contextmanager
def quick_builds(quick: bool) -> Iterator[None]:
    """Kernels in C are built with -O1, the text being the same."""
    original: Any = toolchain.build_shared_libraries
    flags = _QUICK if quick else toolchain.DEFAULT_FLAGS
    backend_c.build_shared_libraries = functools.partial(original, flags=flags)  # type: ignore[assignment]
    try:
        yield
    finally:
        backend_c.build_shared_libraries = original


def examined(program: Program, quick: bool = True) -> Report:
    """`compare`, where an exception of any kind counts as a mismatch too."""
    try:
        with quick_builds(quick), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compare(program)
    except Exception as error:  # noqa: BLE001 - whatever is raised is what was looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__}: {error} at {last.filename}:{last.lineno}"
        return Report(mismatches=[Mismatch("any", "value", text)])


def main() -> None:
    """Examine the seeds first, ..., last - 1; each is announced before it begins."""
    parser = argparse.ArgumentParser()
    parser.add_argument("first", type=int)
    parser.add_argument("last", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="graphir-fuzz-") as cache:
        os.environ["GRAPHIR_CACHE_DIR"] = cache
        # Searched for cycles after every eighth program alone: a fifth of the time was spent on it.
        gc.freeze()
        gc.disable()
        for seed in range(options.first, options.last):
            if seed % FULL == 0:
                gc.collect()
            say({"begin": seed})
            start = time.perf_counter()
            program = seeded(seed)
            report = examined(program, quick=seed % FULL != 0)
            say(
                {
                    "seed": seed,
                    "seconds": round(time.perf_counter() - start, 3),
                    "mismatches": [[m.backend, m.rule, m.message] for m in report.mismatches],
                    "refused": report.refused,
                    "cases": ["|".join(case) for case in report.cases],
                    "elements": report.elements,
                    "sharp": report.sharp,
                    "program": program.to_json() if report.mismatches else "",
                }
            )


def say(line: dict[str, Any]) -> None:
    """One line of JSON, at once."""
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    assert BACKENDS
    main()
