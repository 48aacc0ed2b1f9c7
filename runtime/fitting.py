"""Blocks that a chip's compiler agrees with.

The scheduler chooses blocks by a model of the chip. What the compiler reports of them goes back to
it, and a kernel whose registers went to memory takes the scheduler's next choice. Nothing is
timed, so the same versions give the same kernels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from graphir.codegen.epoch_choice import LEAST_ROWS, EpochChoice
from graphir.codegen.machine import Chip
from graphir.codegen.program import (
    HALVED,
    Decision,
    Launch,
    Program,
    TritonModule,
    choices_of,
)
from graphir.codegen.triton_epoch import print_epoch
from graphir.codegen.triton_text import print_triton
from graphir.errors import BackendError

from .cache import DiskCache, digest
from .resources import ResourceReport, Target, compile_report
from .triton_module import triton_module

BLOCKS = "blocks"
_MOST_HALVED = 4
Plan = Callable[[Mapping[str, int]], Program]
"""From the number of the choice of each kernel (0 where it is not named) to the program."""


@dataclass(frozen=True)
class Fitted:
    """A program with what the compiler reports of its kernels, in the order of the launches."""

    program: Program
    module: TritonModule
    reports: tuple[ResourceReport, ...]


def target_of(chip: Chip) -> Target:
    """Triton's description of a chip."""
    return chip.backend, chip.arch, chip.warp


def objection(report: ResourceReport, chip: Chip) -> str | None:
    """What is wrong with a compiled kernel; None where nothing is."""
    if report.has_trap:
        return "it can trap"
    if report.shared_bytes > chip.shared_bytes:
        return f"it takes {report.shared_bytes} bytes of shared memory, of {chip.shared_bytes}"
    if report.tensor_columns > chip.tensor_columns:
        return f"it takes {report.tensor_columns} columns of tensor memory"
    if report.spill_bytes:
        return f"{report.spill_bytes} bytes of registers went to memory"
    return None


def fit(plan: Plan, chip: Chip) -> Fitted:
    """The program whose kernels all take the first choice that `objection` has nothing against.

    Where a kernel has none, the program is planned in more and smaller kernels; where none are
    small enough either, each kernel of the first plan takes the choice with the fewest bytes in
    memory.

    Raises:
        BackendError: where no choice of a kernel compiles, or Triton is missing.
    """
    whole: Fitted | None = None
    failure: BackendError | None = None
    try:
        whole = _fit_kernels(plan, chip, 0)
        if all(objection(report, chip) is None for report in whole.reports):
            return whole
    except BackendError as said:
        failure = said
    text = print_triton(plan({})).source
    for times in range(1, _MOST_HALVED + 1):
        try:
            source = print_triton(plan({HALVED: times})).source
        except BackendError:
            break  # too small for what has to be computed
        if source == text:
            continue
        text = source
        try:
            found = _fit_kernels(plan, chip, times)
        except BackendError:
            continue  # not small enough
        return _split(found, whole.program.decisions if whole else (), failure)
    if whole is None:
        assert failure is not None
        raise failure
    return whole


def _split(found: Fitted, decisions: Iterable[Decision], failure: BackendError | None) -> Fitted:
    """`found`, in more kernels than first planned, and why."""
    program = found.program
    said = [f"{d.subject}: {d.reason}" for d in decisions if d.kind == BLOCKS]
    said += [failure.message] if failure else []
    reason = f"{len(program.kernels)} kernels, with limits halved {program.halved} times"
    told = Decision(BLOCKS, program.name, "; ".join([reason, *said]))
    return replace(found, program=_told(program, (told,)))


def _fit_kernels(plan: Plan, chip: Chip, halved: int) -> Fitted:
    """The program of one plan. Where nothing is right for a kernel it takes what is least wrong;
    with halved limits that is no use.

    Raises:
        BackendError: where no choice of a kernel compiles, or is of use.
    """
    chosen: dict[str, int] = {HALVED: halved}
    tried: dict[tuple[str, int], ResourceReport | str] = {}
    while True:
        program = plan(chosen)
        module = print_triton(program)
        counts = {k.name: k.choices for k in program.kernels}
        again = False
        for launch in module.launches:
            number = chosen.get(launch.kernel, 0)
            if (launch.kernel, number) not in tried:
                tried[launch.kernel, number] = _report(module, launch, chip)
            settled = all((launch.kernel, n) in tried for n in range(counts[launch.kernel]))
            if _wrong(tried[launch.kernel, number], chip) is None:
                continue
            if settled and halved:
                raise BackendError(
                    f"{launch.kernel} is too large with limits halved {halved} times"
                )
            following = _best(launch.kernel, tried) if settled else number + 1
            if following != number:
                chosen[launch.kernel] = following
                again = True
        if not again:
            break
    reports = []
    for launch in module.launches:
        report = tried[launch.kernel, chosen.get(launch.kernel, 0)]
        if isinstance(report, str):
            raise BackendError(report)
        reports.append(report)
    del chosen[HALVED]
    return Fitted(_told(program, _decisions(chosen, tried, chip)), module, tuple(reports))


def fitted_program(plan: Plan, chip: Chip, cache: DiskCache | None = None) -> Program:
    """As `fit`; which choices were taken is kept on disk."""
    cache = cache or DiskCache.default()
    first = print_triton(plan({}))
    version = triton_module("triton").__version__
    key = digest("blocks and limits", first.source, repr(chip), version)
    entry = cache.get(key)
    if entry is not None:
        known = json.loads((entry / "choices.json").read_text("utf-8"))
        program = plan(known["taken"])
        return _told(program, (Decision(*d) for d in known["decisions"]))
    program = fit(plan, chip).program
    made = {
        "taken": choices_of(program),
        "decisions": [(d.kind, d.subject, d.reason) for d in program.decisions if d.kind == BLOCKS],
    }
    cache.put(key, {"choices.json": json.dumps(made).encode()})
    return program


def fitted_epoch(
    choose: Callable[[int | None], EpochChoice],
    refuse: Callable[[str], EpochChoice],
    wrong: Callable[[TritonModule], str | None],
) -> EpochChoice:
    """How the steps of an epoch run, in one launch only where the compiler has nothing against it.

    Args:
        choose: the choice with blocks of no more than so many rows.
        refuse: a launch a step, for a reason.
        wrong: what is wrong with a kernel, as `module_objection`.
    """
    choice = choose(None)
    refused: list[str] = []
    while choice.epoch is not None:
        said = wrong(print_epoch(choice))
        stream = choice.epoch.kernel.stream
        if said is None:
            break
        if stream is None or stream.block <= LEAST_ROWS:
            return refuse("; ".join([*refused, f"in one launch {said}"]))
        refused.append(f"in blocks of {stream.block} rows {said}")
        choice = choose(stream.block // 2)
    if refused:
        reason = "; ".join([choice.decision.reason, *refused])
        choice = replace(choice, decision=replace(choice.decision, reason=reason))
    return choice


def module_objection(module: TritonModule, chip: Chip) -> str | None:
    """What is wrong with a module of one kernel on a chip; kept on disk."""
    cache = DiskCache.default()
    (launch,) = module.launches
    version = triton_module("triton").__version__
    key = digest("epoch", module.source, repr(launch), repr(chip), version)
    entry = cache.get(key)
    if entry is not None:
        found: str | None = json.loads((entry / "wrong.json").read_text("utf-8"))
        return found
    wrong = _wrong(_report(module, launch, chip), chip)
    cache.put(key, {"wrong.json": json.dumps(wrong).encode()})
    return wrong


def module_report(module: TritonModule, chip: Chip) -> ResourceReport:
    """What the compiler says of a module of one kernel.

    Raises:
        BackendError: where it does not compile, or Triton is missing.
    """
    (launch,) = module.launches
    report = _report(module, launch, chip)
    if isinstance(report, str):
        raise BackendError(report)
    return report


def _told(program: Program, decisions: Iterable[Decision]) -> Program:
    return replace(program, decisions=(*program.decisions, *decisions))


def _report(module: TritonModule, launch: Launch, chip: Chip) -> ResourceReport | str:
    try:
        return compile_report(
            module.source,
            launch.kernel,
            launch.signature,
            target=target_of(chip),
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
        )
    except BackendError as failure:
        return failure.message


def _wrong(report: ResourceReport | str, chip: Chip) -> str | None:
    return "it does not compile" if isinstance(report, str) else objection(report, chip)


def _best(kernel: str, tried: Mapping[tuple[str, int], ResourceReport | str]) -> int:
    """The number of the choice with the fewest bytes of registers in memory."""

    def badness(number: int) -> tuple[bool, bool, int, int]:
        report = tried[kernel, number]
        if isinstance(report, str):
            return True, True, 0, number
        return False, report.has_trap, report.spill_bytes, number

    return min((n for k, n in tried if k == kernel), key=badness)


def _decisions(
    chosen: Mapping[str, int], tried: Mapping[tuple[str, int], ResourceReport | str], chip: Chip
) -> tuple[Decision, ...]:
    made = []
    for kernel, number in chosen.items():
        said = [
            f"choice {n + 1}: {_wrong(report, chip)}"
            for (k, n), report in tried.items()
            if k == kernel and n != number
        ]
        made.append(Decision(BLOCKS, kernel, f"choice {number + 1}; {', '.join(said)}"))
    return tuple(made)
