"""Drawings as Mermaid flowcharts, which Markdown viewers show without any tool."""

from __future__ import annotations

from collections.abc import Iterable

from .draw import PRUNED_FILL, PRUNED_LINE, STYLES
from .graph import Graph
from .picture import Box, Fold, ProgramLike, picture
from .roles import Role

_SHAPES = {
    Role.DATA: ("[(", ")]"),
    Role.PARAMETER: ("{{", "}}"),
    Role.NUMBER: ("([", "])"),
    Role.FORWARD: ("(", ")"),
    Role.BACKWARD: ("[/", "/]"),
    Role.UPDATE: ("[[", "]]"),
    Role.RESULT: ("((", "))"),
}


def to_mermaid(
    graph: Graph,
    *,
    program: ProgramLike | None = None,
    fold: Fold = "auto",
    open_lines: Iterable[int] = (),
) -> str:
    """A flowchart with the roles as classes and the kernels as subgraphs.

    Arguments and errors are those of `graphir.draw.to_svg`.
    """
    drawn = picture(graph, program=program, fold=fold, open_lines=open_lines)
    lines = ["flowchart TB"]
    framed = {box for frame in drawn.frames for box in frame.boxes}
    by_id = {box.id: box for box in drawn.boxes}
    for frame in drawn.frames:
        lines.append(f'  subgraph {frame.id}["{_text(frame.title)}"]')
        lines += [f"    {_box(by_id[i])}" for i in frame.boxes]
        lines.append("  end")
    lines += [f"  {_box(box)}" for box in drawn.boxes if box.id not in framed]
    for arrow in drawn.arrows:
        link = "-.->" if arrow.pruned else "-->"
        label = f"|{arrow.label}|" if arrow.label else ""
        lines.append(f"  {arrow.source} {link}{label} {arrow.target}")
    for role, look in STYLES.items():
        if any(b.role is role for b in drawn.boxes):
            ink = "#fff" if role is Role.RESULT else "#111"
            lines.append(f"  classDef {role.value} fill:{look.fill},stroke:{look.line},color:{ink}")
    lines.append(
        f"  classDef pruned fill:{PRUNED_FILL},stroke:{PRUNED_LINE},color:#666,stroke-dasharray:4 3"
    )
    return "\n".join(lines) + "\n"


def _box(box: Box) -> str:
    left, right = _SHAPES[box.role]
    parts = [box.title, *box.detail] + ([f"no gradient: {box.reason}"] if box.reason else [])
    label = "<br/>".join(_text(p) for p in parts if p)
    kind = "pruned" if box.reason else box.role.value
    return f'{box.id}{left}"{label}"{right}:::{kind}'


def _text(text: str) -> str:
    """Text inside quotes: Mermaid has its own entities."""
    for char, name in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        text = text.replace(char, name)
    return text
