"""The debugging ladder: `GRAPHIR_DEBUG=1…4`, through Python's logging.

    1  graphir.passes    each pass with its time
    2  graphir.fusion    what the scheduler chose and refused, and why
    3  graphir.kernels   the text of the kernels
    4  graphir.launches  every launch, with its steps, threads and time

Each step shows those before it too. Without the variable the four loggers are silent and may be
set up like any others, e.g. `logging.getLogger("graphir.fusion").setLevel(logging.DEBUG)`.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from graphir.codegen.program import Program

PASSES = logging.getLogger("graphir.passes")
FUSION = logging.getLogger("graphir.fusion")
KERNELS = logging.getLogger("graphir.kernels")
LAUNCHES = logging.getLogger("graphir.launches")
LADDER = (PASSES, FUSION, KERNELS, LAUNCHES)
VARIABLE = "GRAPHIR_DEBUG"


def configure(environment: Mapping[str, str] | None = None) -> int:
    """Set the loggers up as the variable says; the step that it names, 0 without it."""
    text = (os.environ if environment is None else environment).get(VARIABLE, "").strip()
    if text in ("", "0"):
        return 0
    if text not in ("1", "2", "3", "4"):
        warnings.warn(f"{VARIABLE}={text} is not one of 1, 2, 3 and 4", RuntimeWarning,
                      stacklevel=2)  # fmt: skip
        return 0
    step = int(text)
    for logger in LADDER[:step]:
        logger.setLevel(logging.DEBUG)
    parent = logging.getLogger("graphir")
    # Where the program has set up logging, the messages go there.
    if not parent.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        parent.addHandler(handler)
    return step


@contextmanager
def timed(what: str, name: str) -> Iterator[None]:
    """Log how long a pass took, or that it failed."""
    started = time.perf_counter()
    try:
        yield
    except BaseException as error:
        PASSES.debug("%s: %s failed: %s", name, what, type(error).__name__)
        raise
    PASSES.debug("%s: %s took %.3g ms", name, what, 1e3 * (time.perf_counter() - started))


def log_program(program: Program) -> None:
    """Log the decisions of a schedule."""
    if FUSION.isEnabledFor(logging.DEBUG):
        FUSION.debug("%s: %d kernels for %s", program.name, len(program.kernels),
                     program.machine.name)  # fmt: skip
        for d in program.decisions:
            FUSION.debug("%s: %s %s: %s", program.name, d.kind, d.subject, d.reason)


def logs_launches() -> bool:
    """Whether every launch is to be told: then no short cut around `logged` is taken."""
    return LAUNCHES.isEnabledFor(logging.DEBUG)


def logged(run: Callable[[int, int], None], program: Program, programs: int
           ) -> Callable[[int, int], None]:  # fmt: skip
    """`run`, telling of each call; `run` itself where nobody listens."""
    if not logs_launches():
        return run
    names = ", ".join(k.name for k in program.kernels)

    def told(first: int, last: int) -> None:
        started = time.perf_counter()
        run(first, last)
        LAUNCHES.debug("%s: %s, steps %d to %d, %d programs, %.3g ms", program.name, names, first,
                       last - 1, programs, 1e3 * (time.perf_counter() - started))  # fmt: skip

    return told
