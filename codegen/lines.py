"""Which node each line of generated text computes: for pages that link the text to the graph."""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphir.graph import Node

from .program import Program
from .tile import Mask, Statement, Store, TileKernel

_WORD = re.compile(r"[A-Za-z_]\w*")
_ASSIGNED = re.compile(r"\b([A-Za-z_]\w*)\s*(?:\[[^=]*\])?\s*[-+*]?=(?!=)")
# What a block of a product calls its own; such lines belong to the value that the block ends in.
_INNER = frozenset(("sums", "left", "right"))


def node_of(statement: Statement) -> Node | None:
    """The node that a statement computes, reads or writes."""
    match statement:
        case Store(value=value):
            return value.node
        case Mask(out=out, source=source):
            return out.node or source.node
        case _:
            return statement.out.node


def c_lines(text: str, program: Program) -> tuple[Node | None, ...]:
    """The node of each line of C text, by the names of the kernels' tiles."""
    known: dict[str, Node] = {}
    found: list[Node | None] = []
    inside: list[bool] = []
    for line in text.split("\n"):
        # A function begins at the margin; helpers belong to no kernel.
        if line[:1].isalpha() and line.rstrip().endswith("{"):
            known = _names(_entered(line, program.kernels))
        found.append(_named(line, known))
        inside.append(bool(known))
    return tuple(_filled(text.split("\n"), found, inside))


def _entered(line: str, kernels: Sequence[TileKernel]) -> TileKernel | None:
    """The kernel whose function starts on this line."""
    starts = [k for k in kernels if re.search(rf"\b{re.escape(k.name)}_[a-z]+\w*\(", line)]
    return max(starts, key=lambda k: len(k.name)) if starts else None


def _names(kernel: TileKernel | None) -> dict[str, Node]:
    """By the names of its tiles, what a kernel computes."""
    found: dict[str, Node] = {}
    if kernel is None:
        return found
    for statement in kernel.statements():
        node = node_of(statement)
        if node is not None and not isinstance(statement, Store):
            found[statement.out.name] = node
    return found


def _named(line: str, known: dict[str, Node]) -> Node | None:
    assigned = _ASSIGNED.search(line)
    if assigned and assigned.group(1) in known:
        return known[assigned.group(1)]
    return next((known[w] for w in _WORD.findall(line) if w in known), None)


def _filled(
    lines: Sequence[str], found: list[Node | None], inside: Sequence[bool]
) -> list[Node | None]:
    """Lines of a product's block belong to the next line of the kernel that names a value."""
    following: Node | None = None
    for i in range(len(lines) - 1, -1, -1):
        if not inside[i]:
            following = None
        elif found[i] is not None:
            following = found[i]
        elif not _INNER.isdisjoint(_WORD.findall(lines[i])):
            found[i] = following
    return found
