"""The stages of a compilation as drawings and links: what a page shows in its middle."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from graphir.codegen.program import Program
from graphir.draw import dot_text, layout
from graphir.dump import Naming, dump
from graphir.errors import GraphirError
from graphir.graph import Graph, Node
from graphir.picture import FOLD_FROM, picture
from graphir.roles import Role, roles_of

FULL_LIMIT = 400
"""Beyond so many ops a page holds only the folded drawing: the full one would be illegible."""


@dataclass(frozen=True)
class Stage:
    """One tab.

    Attributes:
        key, title: of the tab.
        says: one sentence about it.
        full, folded: drawings, or None where there is none.
        text: the dump.
        nodes: by number, what links a node to lines and kernels.
        boxes: by form ("full", "folded") and box, the numbers of its nodes.
    """

    key: str
    title: str
    says: str
    full: str | None
    folded: str | None
    text: str
    nodes: dict[str, dict[str, Any]]
    boxes: dict[str, dict[str, list[int]]]


def stages(graph: Graph, traced: Graph | None, program: Program) -> list[Stage]:
    """Every stage that there is a graph of."""
    found = []
    if traced is not None:
        found.append(
            stage("traced", "Traced", "What the function computes, op by op.", forward(traced))
        )
        if traced.backward:
            found.append(
                stage("differentiated", "Differentiated",
                      "Its gradients, written into the same graph.", without_pruned(traced))
            )  # fmt: skip
            found.append(
                stage("pruned", "Pruned",
                      "Grey and dashed: what the gradient did not need, and why.", traced)
            )  # fmt: skip
    found.append(stage("rewritten", "Rewritten", "The same values from fewer ops.", graph))
    scheduled = program.graph if program.graph is not None else graph
    count = len(program.kernels)
    says = f"{count} kernel{'s' * (count != 1)}: each frame is one launch."
    found.append(stage("scheduled", "Scheduled", says, scheduled, program))
    return found


def stage(key: str, title: str, says: str, graph: Graph, program: Program | None = None) -> Stage:
    """One stage; a graph too large to draw in full is drawn folded only."""
    ops = sum(n.op not in ("input", "constant") for n in graph.live())
    boxes: dict[str, dict[str, list[int]]] = {}

    def draw(fold: str) -> str | None:
        try:
            drawn = picture(graph, program=program, fold="line" if fold == "folded" else "none")
            boxes[fold] = {b.id: [n.id for n in b.members] for b in drawn.boxes}
            return embedded(layout(dot_text(drawn, legend=True)))
        except GraphirError:
            return None

    full = draw("full") if ops <= FULL_LIMIT else None
    folded = draw("folded") if ops >= FOLD_FROM // 3 or full is None else None
    return Stage(key, title, says, full, folded, dump(graph), links(graph), boxes)


def embedded(svg: str) -> str:
    """A drawing that may stand beside others in one page: ids become data-id."""
    svg = re.sub(r"<title>.*?</title>\n?", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="(a_)?([^"]*)"', r'<g data-id="\1\2"', svg)
    return svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace(
        "xlink:title=", "data-tip="
    )


def links(graph: Graph) -> dict[str, dict[str, Any]]:
    """By node number: its lines, role and op, and what a panel says of it."""
    text, roles = Naming(graph), roles_of(graph)
    reasons = {p.node: p.reason for p in graph.pruned}
    shown = set(graph.live()) | set(graph.inputs) | reasons.keys()
    return {
        str(n.id): {
            "lines": [f"{at.file}:{at.line}" for at in graph.locations.get(n, [])]
            if n.op != "input" else [],
            "role": roles[n].value,
            "op": n.op,
            "name": graph.names.get(n, f"%{n.id}"),
            "text": f"{text.operand(n)} = {text.expression(n)}" if n.op != "input"
            else f"{graph.names.get(n, '')} (argument)",
            "type": n.type,
            "why": reasons.get(n, ""),
        }
        for n in graph.nodes
        if n in shown and n.op != "constant"
    }  # fmt: skip


def text_links(
    nodes: Sequence[Node | None], graph: Graph | None
) -> tuple[list[int | None], dict[str, dict[str, Any]]]:
    """For each line of a kernel's text its node's number, and the links of those nodes."""
    numbers = [n.id if n is not None and n.op != "constant" else None for n in nodes]
    return numbers, links(graph) if graph is not None else {}


def forward(graph: Graph) -> Graph:
    """`graph` as it was before differentiation: what neither gradients nor updates made."""
    roles = roles_of(graph)
    kept = [n for n in graph.live() if roles[n] in _FORWARD and n.op not in ("input", "constant")]
    wanted = set(kept)
    ends = [n for n in graph.outputs if n in wanted or n.op == "input"] or [
        n for n in kept if not any(u in wanted for u in graph.users(n))
    ]
    shown = Graph(
        nx=graph.nx, inputs=graph.inputs, outputs=ends, names=graph.names,
        locations=graph.locations, captured=graph.captured, hints=graph.hints,
        notes=[n for n in graph.notes if "gradient" not in n],
    )  # fmt: skip
    return with_table(shown, graph)


_FORWARD = (Role.FORWARD, Role.DATA, Role.PARAMETER, Role.NUMBER)


def without_pruned(graph: Graph) -> Graph:
    """`graph` without the record of what was pruned."""
    shown = Graph(
        nx=graph.nx, inputs=graph.inputs, outputs=graph.outputs, names=graph.names,
        locations=graph.locations, captured=graph.captured, backward=graph.backward,
        hints=graph.hints,
    )  # fmt: skip
    return with_table(shown, graph)


def with_table(shown: Graph, graph: Graph) -> Graph:
    """A view of a graph shares its nodes; it is only looked at."""
    shown._table = graph._table
    return shown


def sources(
    lines: Iterable[str], main: Collection[str], read: Callable[[str], Sequence[str]]
) -> list[dict[str, Any]]:
    """The functions around the user's lines, file by file.

    Args:
        lines: `file:line` of every node.
        main: those of the model itself, whose whole functions are shown; of others (the line that
            called `train`) only what is near.
        read: the lines of a file; empty where it cannot be read.
    """
    by_file: dict[str, set[int]] = {}
    for line in lines:
        file, _, number = line.rpartition(":")
        by_file.setdefault(file, set()).add(int(number))
    found = []
    # The file that most of it was written in comes first.
    for file, numbers in sorted(by_file.items(), key=lambda item: -len(item[1])):
        text = list(read(file))
        if not text:
            continue
        whole = {n for n in numbers if f"{file}:{n}" in main}
        for first, last in _spans(text, sorted(n for n in numbers if n <= len(text)), whole):
            rows = [[n, text[n - 1].rstrip("\n")] for n in range(first, last + 1)]
            found.append({"file": file, "rows": rows})
    return found


def _spans(
    text: Sequence[str], numbers: Sequence[int], whole: Collection[int]
) -> list[tuple[int, int]]:
    """The outermost definitions that hold the lines, or what is near the lines, merged."""
    try:
        body = ast.parse("".join(text)).body
    except (SyntaxError, ValueError):
        body = []
    spans: list[tuple[int, int]] = []
    for n in numbers:
        holds = next(
            ((s.lineno, s.end_lineno or s.lineno) for s in body
             if isinstance(s, (ast.FunctionDef, ast.ClassDef))
             and s.lineno <= n <= (s.end_lineno or s.lineno)),
            None,
        )  # fmt: skip
        first, last = holds or (n, n)
        near = 12 if any(first <= w <= last for w in whole) else 2
        if last - first > 150 or near == 2:
            first, last = max(first, n - near), min(last, n + near)
        if spans and first <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        else:
            spans.append((first, last))
    return spans


def all_lines(stages_: Sequence[Stage]) -> list[str]:
    """Every user's line that some node has, the first that were traced first."""
    seen: dict[str, None] = {}
    for s in stages_:
        for node in s.nodes.values():
            seen.update(dict.fromkeys(node["lines"]))
    return list(seen)
