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
    for line in text.split("\n"):
        kernel = _entered(line, program.kernels)
        if kernel is not None:
            known = _names(kernel) if kernel else {}
        found.append(_named(line, known))
    return tuple(_filled(text.split("\n"), found))


def _entered(line: str, kernels: Sequence[TileKernel]) -> TileKernel | bool | None:
    """The kernel whose function starts here; False at a function of none, None inside one."""
    if not line[:1].isalpha() or not line.rstrip().endswith("{"):
        return None
    starts = [k for k in kernels if re.search(rf"\b{re.escape(k.name)}_[a-z]+\w*\(", line)]
    return max(starts, key=lambda k: len(k.name)) if starts else False


def _names(kernel: TileKernel) -> dict[str, Node]:
    found = {}
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


def _filled(lines: Sequence[str], found: list[Node | None]) -> list[Node | None]:
    """Lines of a product's block belong to the next line that names a value."""
    following: Node | None = None
    for i in range(len(lines) - 1, -1, -1):
        if found[i] is not None:
            following = found[i]
        elif not _INNER.isdisjoint(_WORD.findall(lines[i])):
            found[i] = following
    return found
