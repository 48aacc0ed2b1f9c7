"""Drawings of graphs: Graphviz text, and SVG laid out by pygraphviz.

Roles are told apart by shape first and by colour second: the fills (after Okabe and Ito) differ in
lightness too, so that they survive print and colour blindness. What was pruned is grey and dashed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from .dump import dump
from .errors import GraphirError
from .graph import Graph
from .picture import Box, Fold, Picture, ProgramLike, picture
from .roles import Role


@dataclass(frozen=True)
class Style:
    """How a role looks, in Graphviz's words, and what the legend says of it."""

    shape: str
    fill: str
    line: str
    style: str
    legend: str


STYLES = {
    Role.DATA: Style("cylinder", "#cfe8f7", "#2b6c94", "filled", "data"),
    Role.PARAMETER: Style("hexagon", "#f7e98e", "#8a7400", "filled", "parameter or state"),
    Role.NUMBER: Style("parallelogram", "#ffffff", "#555555", "filled", "number"),
    Role.FORWARD: Style("box", "#eef3f7", "#33475b", "filled,rounded", "forward"),
    Role.BACKWARD: Style("box", "#f3c6a5", "#a04000", "filled,diagonals", "backward"),
    Role.UPDATE: Style("box3d", "#b9e0cf", "#00664a", "filled", "update"),
    Role.RESULT: Style("oval", "#33475b", "#33475b", "filled", "result"),
}
PRUNED_FILL, PRUNED_LINE = "#ececec", "#8c8c8c"
_FONT = "Helvetica,Arial,sans-serif"


def to_svg(
    graph: Graph,
    *,
    program: ProgramLike | None = None,
    fold: Fold = "auto",
    open_lines: Iterable[int] = (),
    legend: bool = True,
    direction: str = "TB",
) -> str:
    """The drawing as SVG text.

    Args:
        program: draw its kernels as frames around what they compute.
        fold: "line" for one box a source line, "none" for one an op, "auto" by the graph's size.
        open_lines: line numbers that stay unfolded.
        legend: explain shapes and colours.
        direction: "TB" from top to bottom, "LR" from left to right.

    Raises:
        GraphirError: where pygraphviz is missing, or the graph is too large to draw.
    """
    drawn = picture(graph, program=program, fold=fold, open_lines=open_lines)
    return layout(dot_text(drawn, legend=legend, direction=direction))


def to_dot(
    graph: Graph,
    *,
    program: ProgramLike | None = None,
    fold: Fold = "auto",
    open_lines: Iterable[int] = (),
    legend: bool = True,
    direction: str = "TB",
) -> str:
    """The drawing as Graphviz text; arguments and errors are those of `to_svg`."""
    drawn = picture(graph, program=program, fold=fold, open_lines=open_lines)
    return dot_text(drawn, legend=legend, direction=direction)


def layout(dot: str) -> str:
    """SVG of Graphviz text, without the prolog that would keep it from standing in a page."""
    try:
        import pygraphviz
    except ImportError as error:
        raise GraphirError(
            f"drawing needs pygraphviz ({error})",
            hint="pip install 'graphir[draw]', or use Graph.to_mermaid()",
        ) from None
    with warnings.catch_warnings():
        # Graphviz warns that its text metrics are estimates.
        warnings.simplefilter("ignore", RuntimeWarning)
        svg: bytes = pygraphviz.AGraph(string=dot).draw(format="svg", prog="dot")
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    return re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)


def notebook_svg(graph: Graph) -> str | None:
    """For notebooks: the drawing, or nothing where it cannot be made (then the text shows)."""
    try:
        return to_svg(graph)
    except GraphirError:
        return None


def notebook_html(graph: Graph) -> str:
    """For notebooks: the drawing with the dump below it, to be opened."""
    drawn = notebook_svg(graph) or ""
    text = escape(dump(graph))
    opened = "" if drawn else " open"
    return (
        f'<div class="graphir" style="background:#fff;color:#111;overflow:auto">{drawn}'
        f"<details{opened}><summary>text</summary><pre>{text}</pre></details></div>"
    )


def dot_text(drawn: Picture, *, legend: bool = True, direction: str = "TB") -> str:
    """A picture as Graphviz text."""
    if direction not in ("TB", "LR"):
        raise GraphirError(f"there is no direction {direction!r}", hint="use 'TB' or 'LR'")
    lines = [
        "digraph graphir {",
        f'  graph [rankdir={direction}, fontname="{_FONT}", fontsize=11, bgcolor="white"];',
        "  graph [nodesep=0.25, ranksep=0.35];",
        f'  node [fontname="{_FONT}", fontsize=11, margin="0.12,0.06", height=0.3];',
        f'  edge [fontname="{_FONT}", fontsize=8, color="#555555", arrowsize=0.6];',
    ]
    framed = {box for frame in drawn.frames for box in frame.boxes}
    by_id = {box.id: box for box in drawn.boxes}
    for frame in drawn.frames:
        lines.append(f"  subgraph cluster_{frame.id} {{")
        lines.append(
            f'    id="{frame.id}"; class="kernel"; label={_quote(frame.title)}; labeljust=l; '
            'style="rounded,bold"; color="#111111"; bgcolor="#fbfbf4"; penwidth=2; margin=12;'
        )
        lines += [f"    {_box(by_id[i])}" for i in frame.boxes]
        lines.append("  }")
    lines += [f"  {_box(box)}" for box in drawn.boxes if box.id not in framed]
    for arrow in drawn.arrows:
        attrs = [f'class="{"edge pruned" if arrow.pruned else "edge"}"']
        if arrow.label:
            attrs.append(f'taillabel="", headlabel="{arrow.label}", labeldistance=1.4')
        if arrow.pruned:
            attrs.append(f'style=dashed, color="{PRUNED_LINE}"')
        lines.append(f"  {arrow.source} -> {arrow.target} [{', '.join(attrs)}];")
    if legend:
        lines += _legend(drawn)
    lines.append("}")
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def _box(box: Box) -> str:
    look = STYLES[box.role]
    pruned = bool(box.reason)
    # Data keeps its colour: that it has no gradient is its nature, not the pruning's doing.
    grey = pruned and box.role is not Role.DATA
    fill, line = (PRUNED_FILL, PRUNED_LINE) if grey else (look.fill, look.line)
    style = look.style + (",dashed" if pruned else "")
    classes = f"box {box.role.value}" + " pruned" * pruned + " folded" * box.folded
    ink = "#666666" if grey else "#ffffff" if box.role is Role.RESULT else "#111111"
    small = "".join(f'<br/><font point-size="8.5">{_html(d)}</font>' for d in box.detail if d)
    if pruned:
        small += f'<br/><font point-size="8.5"><i>no gradient: {_html(_why(box.reason))}</i></font>'
    # The title of folded ops is code; Graphviz draws a double line around a simple shape only.
    code = box.folded and box.members[0].op != "input"
    title = (
        f'<font face="Courier,monospace">{_html(box.title)}</font>'
        if code
        else (f"<b>{_html(box.title)}</b>")
    )
    peripheries = ", peripheries=2" if box.folded and look.shape != "box3d" else ""
    return (
        f'{box.id} [shape={look.shape}, style={_quote(style)}, fillcolor="{fill}", '
        f'color="{line}", fontcolor="{ink}", label=<{title}{small}>, '
        f'tooltip={_quote(box.tooltip)}, id="{box.id}", class="{classes}"{peripheries}];'
    )


def _why(reason: str) -> str:
    """The reason as it stands below its own box: short, without the name that is there already."""
    reason = re.sub(r"^`[^`]*` is data: no gradient was asked for it$", "not asked for", reason)
    reason = "not asked for" if reason == "no gradient was asked for" else reason
    return reason if len(reason) <= 60 else reason[:59] + "…"


def _html(text: str) -> str:
    return escape(text, quote=True)


def _legend(drawn: Picture) -> list[str]:
    """A table of the roles that occur, as boxes of their own in a frame of their own."""
    roles = [r for r in Role if any(b.role is r for b in drawn.boxes)]
    lines = [
        "  subgraph cluster_legend {",
        '    id="legend"; class="legend"; label="legend"; labeljust=l; style="dotted";',
        '    color="#999999"; bgcolor="white"; fontcolor="#555555"; margin=8;',
    ]
    names: list[str] = []

    def entry(name: str, text: str, attrs: str) -> None:
        lines.append(
            f'    {name} [label={_quote(text)}, fontsize=9, height=0.22, id="{name}", {attrs}];'
        )
        names.append(name)

    for role in roles:
        look = STYLES[role]
        entry(
            f"legend_{role.value}", look.legend,
            f'shape={look.shape}, style="{look.style}", fillcolor="{look.fill}", '
            f'color="{look.line}", class="legend {role.value}"'
            + (', fontcolor="#ffffff"' if role is Role.RESULT else ""),
        )  # fmt: skip
    if any(b.reason for b in drawn.boxes):
        entry(
            "legend_pruned", "pruned: no gradient",
            f'shape=box, style="filled,dashed", fillcolor="{PRUNED_FILL}", '
            f'color="{PRUNED_LINE}", fontcolor="#666666", class="legend pruned"',
        )  # fmt: skip
    if drawn.folds:
        entry("legend_folded", "double line: several ops of a source line",
              'shape=box, peripheries=2, style="rounded", class=legend')  # fmt: skip
    if drawn.frames:
        entry("legend_kernel", "frame: one kernel",
              'shape=box, style="rounded,bold", penwidth=2, class=legend')  # fmt: skip
    # Invisible arrows stack the entries, so that the legend stays a narrow column.
    lines.append(f"    {' -> '.join(names)} [style=invis, weight=10];" if len(names) > 1 else "")
    lines.append("  }")
    return lines
