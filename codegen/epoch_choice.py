"""How the steps of an epoch run on a GPU: in one launch, or a launch a step, and why.

Everything follows from the program, its sizes and the chip's number of multiprocessors; nothing
is measured, so that the bits of a training depend on no measurement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from graphir.sizes import evaluate

from .cost import traffic
from .epoch import Epoch, elements, make_epoch, reblocked, why_not
from .machine import Chip
from .program import BATCH, ROWS, Decision, Program
from .uses import power_of_two


@dataclass(frozen=True)
class Speed:
    """What a GPU does, in round numbers: they only set alternatives side by side.

    Attributes:
        own_bytes: a second, that one multiprocessor reads from the L2 cache.
        all_bytes: a second, that all read from memory together.
        own_flops: a second, of one multiprocessor in float32 outside of the matrix unit, reached.
        step: seconds that a step of a loop in a kernel takes at least: it waits for its loads'
            addresses, its sums and its barriers.
        barrier: seconds that the programs of a grid take to meet.
        launch: seconds between the steps of two launches that follow one another in a CUDA graph.
        kept_bytes: what a program may keep on chip throughout: a quarter of the registers.
    """

    own_bytes: float = 8e10
    all_bytes: float = 2e12
    own_flops: float = 2e11
    step: float = 1e-6
    barrier: float = 1e-6
    launch: float = 2.5e-6
    kept_bytes: int = 64 * 1024

    @staticmethod
    def of(chip: Chip) -> Speed:
        """A chip's: of its bandwidth random rows reach six tenths."""
        return Speed(all_bytes=0.6 * chip.bandwidth, kept_bytes=chip.registers)


LEAST_ROWS = 16  # of a block: the matrix unit takes no fewer
_FEW = 4096  # partial results (elements, of all programs) that each program adds up by itself
_MOST_PROGRAMS = 128


class Way(Enum):
    """How the steps run."""

    ALONE = "one program, one launch an epoch"
    TOGETHER = "several programs that meet at a barrier, one launch an epoch"
    LAUNCHES = "a launch a step"


@dataclass(frozen=True)
class EpochChoice:
    """How the steps of a program run.

    Attributes:
        way: in one launch or in many.
        program: what runs, in blocks of rows that suit the batch.
        epoch: the kernel of all steps; None for a launch a step.
        programs: that share a step.
        single: whether each program has one block a step at most.
        shares: whether programs add up a share of the partial results each, and meet once more.
        decision: for `explain()`.
    """

    way: Way
    program: Program
    epoch: Epoch | None
    programs: int
    single: bool
    shares: bool
    decision: Decision


def choose_epoch(
    program: Program,
    sizes: Mapping[str, int],
    processors: int,
    *,
    programs: int | None = None,
    most_rows: int | None = None,
) -> EpochChoice:
    """How the steps of `program` run best on a chip with so many multiprocessors.

    Args:
        sizes: `rows` and `batch`, and the graph's other Dims.
        programs: that share a step, where the user has said so.
        most_rows: of a block of an epoch's kernel: smaller blocks take fewer registers.
    """
    reason = why_not(program)
    if reason is not None:
        return launch_each(program, sizes, processors, programs, reason)
    chip = program.machine.chip
    speed = Speed.of(chip) if chip is not None else Speed()
    batch = min(sizes[BATCH], sizes[ROWS])
    fitted = _fitted(program, batch, most_rows)
    epoch = make_epoch(fitted)
    stream = epoch.kernel.stream
    blocks = -(-batch // stream.block) if stream is not None else 1
    kept = epoch.kept_bytes
    fits = kept <= speed.kept_bytes
    if not fits:
        epoch = make_epoch(fitted, hold=False)
    subject = _subject(program, sizes)
    if programs == 1:
        reason = "one program was asked for"
        return _choice(Way.ALONE, fitted, epoch, 1, blocks, subject, reason)
    cost = traffic(fitted.kernels[0], fitted, sizes)
    alone = speed.step + max(cost.bytes / speed.own_bytes, cost.flops / speed.own_flops)
    each = _launched(program, sizes, processors)
    separate = speed.launch + max(
        cost.bytes / min(each * speed.own_bytes, speed.all_bytes),
        cost.flops / (each * speed.own_flops),
    )
    partial = sum(elements(a.tile.axes) * a.tile.dtype.itemsize for a in epoch.kernel.accumulators)
    if each > 1:
        separate += partial * each / speed.own_bytes
    told = f"{_us(alone)} a step by one program, {_us(separate)} by a launch a step"
    if not fits:
        told += f" ({kept} bytes of parameters and sums exceed the {speed.kept_bytes} kept on chip)"
    # A step that is all of its epoch has no other to meet for.
    if fits and batch < sizes[ROWS] and not epoch.in_memory and stream is not None:
        most = min(programs or processors, blocks, _MOST_PROGRAMS, processors)
        count = most if programs else _share_count(most, blocks)
        if count > 1:
            joint = _joint(cost.bytes, cost.flops, count, blocks, partial, speed)
            told += f", {_us(joint)} by {count} programs with a grid barrier"
            if programs or joint < min(alone, separate):
                return _choice(Way.TOGETHER, fitted, epoch, count, blocks, subject, told)
    if programs is not None:
        reason = f"{programs} programs were asked for"
    elif alone <= separate:
        return _choice(Way.ALONE, fitted, epoch, 1, blocks, subject, told)
    else:
        reason = told
    return launch_each(program, sizes, processors, programs, reason)


def launch_each(
    program: Program,
    sizes: Mapping[str, int],
    processors: int,
    programs: int | None,
    reason: str,
) -> EpochChoice:
    """A launch a step, for a reason; the arguments are those of `choose_epoch`."""
    many = programs or _launched(program, sizes, processors)
    said = Decision("epoch", _subject(program, sizes), f"{Way.LAUNCHES.value}: {reason}")
    return EpochChoice(Way.LAUNCHES, program, None, many, False, False, said)


def _subject(program: Program, sizes: Mapping[str, int]) -> str:
    return f"{program.name}: batches of {sizes[BATCH]}" if program.loop else program.name


def _choice(
    way: Way,
    program: Program,
    epoch: Epoch,
    programs: int,
    blocks: int,
    subject: str,
    reason: str,
) -> EpochChoice:
    sums = sum(elements(a.tile.axes) for a in epoch.kernel.accumulators)
    on_chip = ", ".join(h.buffer.name for h in epoch.held) or "nothing"
    where = f"{on_chip} on chip"
    if epoch.in_memory:
        where += f", {', '.join(epoch.in_memory)} in memory"
    said = Decision("epoch", subject, f"{way.value}: {reason}; {where}")
    shares = programs > 1 and sums * programs > _FEW
    return EpochChoice(way, program, epoch, programs, blocks <= programs, shares, said)


def _fitted(program: Program, batch: int, most_rows: int | None) -> Program:
    """The program in blocks of no more rows than a batch has, and no more than `most_rows`."""
    (kernel,) = program.kernels
    rows = max(LEAST_ROWS, power_of_two(batch))
    if most_rows is not None:
        rows = min(rows, most_rows)
    if kernel.stream is None or rows >= kernel.stream.block:
        return program
    return replace(program, kernels=(reblocked(kernel, rows),))


_WORTH_A_LAUNCH = 8
"""Blocks that one program walks in about the time that it takes to launch a step."""


def _launched(program: Program, sizes: Mapping[str, int], processors: int) -> int:
    """The programs that share a step that is a launch of its own."""
    known = dict(sizes)
    if program.loop is not None:
        known[program.loop.dim] = min(sizes[BATCH], sizes[ROWS])
    streams = [k.stream for k in program.kernels if k.stream is not None]
    blocks = max((-(-evaluate(a.size, known) // a.block) for a in streams), default=1)
    return 1 if blocks < _WORTH_A_LAUNCH else min(blocks, processors)


def _share_count(most: int, blocks: int) -> int:
    """No more programs than shorten the longest program's turn."""
    turns = -(-blocks // most)
    return -(-blocks // turns)


def _joint(
    bytes_: int, flops: int, programs: int, blocks: int, partial: int, speed: Speed
) -> float:
    """Seconds of a step that so many programs share."""
    part = -(-blocks // programs) / blocks
    work = max(
        bytes_ * part / speed.own_bytes, bytes_ / speed.all_bytes, flops * part / speed.own_flops
    )
    if partial // 4 * programs <= _FEW:
        meeting = speed.barrier + partial * programs / speed.own_bytes
    else:
        # Written, read by shares, the totals read again.
        meeting = 2 * speed.barrier + 3 * partial / speed.own_bytes
    return speed.step + work + meeting


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:.1f} µs"
