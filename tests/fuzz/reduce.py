"""A smaller program with the same fault: results, lines, arguments, derivatives and sizes go."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.fuzz.program import Program, Step, is_valid, pruned

# A reduction ends after so many tries, each of which compiles.
TRIES = 150


def reduced(program: Program, fails: Callable[[Program], bool]) -> Program:
    """The smallest program found on the way down that is valid and still `fails`."""
    tries, again = 0, True
    while again and tries < TRIES:
        again = False
        for smaller in _smaller(program):
            if tries >= TRIES:
                break
            if smaller == program or not is_valid(smaller):
                continue
            tries += 1
            if fails(smaller):
                program, again = smaller, True
                break
    return program


def _smaller(program: Program) -> Iterator[Program]:
    for i in range(len(program.outputs)):
        if len(program.outputs) > 1:
            left = program.outputs[:i] + program.outputs[i + 1 :]
            yield pruned(replace(program, outputs=left))
    # The results of an earlier line instead.
    for step in program.steps[:-1]:
        yield pruned(replace(program, outputs=(step.name,)))
    for order in range(program.order):
        yield replace(program, order=order)
    for i in range(len(program.wrt)):
        if len(program.wrt) > 1:
            yield pruned(replace(program, wrt=program.wrt[:i] + program.wrt[i + 1 :]))
    if program.second:
        still = [replace(a, dynamic=()) for a in program.arguments]
        yield replace(program, second=())
        yield replace(program, second=(), arguments=tuple(still))
    if program.threads > 1:
        yield replace(program, threads=1)
    yield from _without_a_line(program)
    yield from _with_smaller_sizes(program)


def _without_a_line(program: Program) -> Iterator[Program]:
    """A line gives one of its operands, or any argument, instead of its own value."""
    names = [a.name for a in program.arguments]
    for i, step in enumerate(program.steps):
        for other in dict.fromkeys([*step.operands, *names]):
            if step.text == other:
                continue
            lines = list(program.steps)
            lines[i] = Step(step.name, other, "the operand")
            yield pruned(_inlined(replace(program, steps=tuple(lines))))


def _inlined(program: Program) -> Program:
    """Lines that only rename are written out."""
    from tests.fuzz.program import NAMES

    known: dict[str, str] = {}

    def rename(text: str) -> str:
        return NAMES.sub(lambda m: known.get(m[0], m[0]), text)

    steps = []
    for step in program.steps:
        text = rename(step.text)
        if step.what == "the operand":
            known[step.name] = text
            continue
        steps.append(replace(step, text=text, guards=tuple(map(rename, step.guards))))
    outputs = tuple(dict.fromkeys(rename(name) for name in program.outputs))
    return replace(program, steps=tuple(steps), outputs=outputs)


def _with_smaller_sizes(program: Program) -> Iterator[Program]:
    """Every axis of one size gets a smaller one."""
    fixed = {s for a in program.arguments for i, s in enumerate(a.shape) if i not in a.dynamic}
    for size in sorted(fixed, reverse=True):
        for other in (1, 2, 3):
            if other >= size:
                break
            arguments = tuple(
                replace(
                    a,
                    shape=tuple(
                        other if s == size and i not in a.dynamic else s
                        for i, s in enumerate(a.shape)
                    ),
                )
                for a in program.arguments
            )
            yield replace(program, arguments=arguments)
