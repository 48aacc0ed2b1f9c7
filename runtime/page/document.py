"""The page itself: one HTML file with everything in it."""

from __future__ import annotations

import json
import linecache
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphir.errors import GraphirError
from graphir.graph import Graph

from ..costs import duration, memory_plan, quantity
from .curves import curve_svg
from .stages import Stage, all_lines, sources, stage, stages, text_links

if TYPE_CHECKING:
    from ..explain import Explanation


def write_page(explanation: Explanation, path: str | Path) -> Path:
    """Write the page of a compiled function.

    Raises:
        GraphirError: where the file cannot be written.
    """
    return write_text(path, page(explanation))


def write_failure(error: GraphirError, name: str, path: str | Path) -> Path:
    """Write the page of a function that did not trace: its graph up to the failing line.

    Raises:
        GraphirError: where the file cannot be written.
    """
    return write_text(path, failure_page(error, name))


def write_text(path: str | Path, text: str) -> Path:
    """Write a file, making its folder.

    Raises:
        GraphirError: where it cannot be written.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GraphirError(
            f"cannot write {target}: {error.strerror or error}",
            hint="name a file in a folder that you may write to",
        ) from None
    return target


def page(explanation: Explanation) -> str:
    """The page's HTML."""
    build = explanation.build
    shown = stages(build.graph, build.traced, build.program)
    texts = {key: _text(*lines) for key, lines in build.line_maps().items()}
    tabs = [_stage_tab(s) for s in shown]
    tabs.append(("kernels", "Cost", _costs(explanation)))
    if explanation.history is not None:
        tabs.append(("training", "Training", curve_svg(explanation.history)))
    tabs.append(("memory", "Memory", _memory(explanation)))
    name = explanation.program.name
    count = len(explanation.kernels)
    says = f"{count} kernel{'s' * (count != 1)}, run by {explanation.backend}"
    if explanation.seconds is not None:
        says += f", {duration(explanation.seconds)} a {'step' if build.loop else 'call'}"
    first = "pruned" if any(s.key == "pruned" for s in shown) else shown[0].key
    return _document(name, says, shown, tabs, texts, first=first)


def failure_page(error: GraphirError, name: str) -> str:
    """The page of a function that did not trace."""
    graph = error.graph if isinstance(error.graph, Graph) else Graph()
    # What was not used yet has no user: all ends are shown.
    if not graph.outputs:
        graph.outputs = [n for n in graph.nodes if not graph.users(n) and n.op != "input"]
    drawn = stage("traced", "Traced until the error", "What was traced before the error.", graph)
    at = error.location
    failing = f"{at.file}:{at.line}" if at else ""
    box = f'<div class="failure" role="alert"><b>{escape(type(error).__name__)}</b> '
    box += f"<pre>{escape(str(error))}</pre></div>"
    return _document(
        name, "does not trace", [drawn], [_stage_tab(drawn)], {}, first="traced", alert=box,
        failing=failing,
    )  # fmt: skip


def _stage_tab(s: Stage) -> tuple[str, str, str]:
    both = s.full is not None and s.folded is not None
    folds_first = s.folded is not None and (s.full is None or len(s.boxes.get("full", {})) > 60)
    parts = [f'<p class="says">{escape(s.says)}</p>']
    if both:
        parts.append(
            f'<button type="button" class="fold" aria-pressed="{str(folds_first).lower()}">'
            "fold by source line</button>"
        )
    for form, svg in (("full", s.full), ("folded", s.folded)):
        if svg is not None:
            hidden = " hidden" if (form == "folded") != folds_first else ""
            parts.append(f'<div class="drawing" data-form="{form}"{hidden}>{svg}</div>')
    if s.full is None and s.folded is None:
        parts.append("<p>There is no drawing: pygraphviz is not installed, or the graph is too "
                     "large.</p>")  # fmt: skip
    parts.append(f"<details><summary>as text</summary><pre>{escape(s.text)}</pre></details>")
    return s.key, s.title, "".join(parts)


def _text(source: str, nodes: Sequence[Any], graph: Graph | None) -> dict[str, Any]:
    numbers, known = text_links(nodes, graph)
    lines = source.rstrip("\n").split("\n")
    # The map may count the empty line after the last newline.
    padded = [*numbers, *[None] * len(lines)][: len(lines)]
    return {"lines": lines, "nodes": padded, "links": known}


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=right' if i in right else ''}>{escape(c)}</{tag}>"
            for i, c in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{cells(headings, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _costs(e: Explanation) -> str:
    rows = [
        [
            c.kernel.name, ", ".join(op if n == 1 else f"{op} ×{n}" for op, n in c.fused),
            quantity(c.read, "B"), quantity(c.written, "B"), quantity(c.flops, "FLOP"),
            f"{c.intensity:.3g}",
            f"{duration(c.least)} ({c.bound})" if c.least is not None else "-",
        ]
        for c in e.costs
    ]  # fmt: skip
    heads = ["kernel", "fuses", "read", "written", "arithmetic", "FLOP/byte", "roofline"]
    parts = ["<h2>Kernels</h2>", _table(heads, rows, (2, 3, 4, 5, 6))]
    if e.seconds is not None:
        share = f", {e.least / e.seconds:.0%} of the roofline" if e.least else ""
        parts.append(f"<p>Measured: {duration(e.seconds)}{share}.</p>")
    if e.roofline is not None:
        r = e.roofline
        parts.append(
            f"<p class=says>The roofline of {r.threads} thread{'s' * (r.threads != 1)} of this "
            f"machine, measured: {quantity(r.memory, 'B/s')} from memory, "
            f"{quantity(r.cache, 'B/s')} from the caches, {quantity(r.flops, 'FLOP/s')}.</p>"
        )
    decisions = [[d.kind, d.subject, d.reason] for d in e.decisions]
    parts += ["<h2>What the scheduler chose and refused</h2>",
              _table(["what", "about", "why"], decisions, ())]  # fmt: skip
    pruned = "".join(f"<li>{escape(str(p))}</li>" for p in e.graph.pruned)
    notes = "".join(f"<li>{escape(n)}</li>" for n in e.graph.notes)
    parts.append(f"<h2>Pruned from the gradient</h2><ul>{pruned or '<li>nothing</li>'}</ul>")
    if notes:
        parts.append(f"<h2>Notes</h2><ul>{notes}</ul>")
    return "".join(parts)


def _memory(e: Explanation) -> str:
    rows = []
    total = 0
    for row in memory_plan(e.program, e.sizes):
        total += row.bytes or 0
        shape = ", ".join(map(str, row.buffer.shape))
        rows.append([
            row.buffer.name, f"{row.buffer.dtype.short}({shape})",
            quantity(row.bytes, "B") if row.bytes is not None else "?",
            row.what, ", ".join(row.used),
        ])  # fmt: skip
    parts = ["<h2>Buffers</h2>", _table(["name", "type", "bytes", "whose", "kernels"], rows, (2,)),
             f"<p>All together: {quantity(total, 'B')}.</p>"]  # fmt: skip
    for kernel in e.kernels:
        kept = [
            [a.tile.name, f"{a.tile.dtype.short}({', '.join(str(x.size) for x in a.tile.axes)})",
             a.op]
            for a in kernel.accumulators
        ]  # fmt: skip
        if kept:
            parts += [f"<h2>Kept on chip by {escape(kernel.name)}</h2>",
                      _table(["accumulator", "type", "joined by"], kept, ())]  # fmt: skip
    return "".join(parts)


def _document(
    name: str,
    says: str,
    shown: Sequence[Stage],
    tabs: Sequence[tuple[str, str, str]],
    texts: dict[str, dict[str, Any]],
    *,
    first: str,
    alert: str = "",
    failing: str = "",
) -> str:
    lines = all_lines(shown)
    if failing:
        lines.append(failing)
    data = {
        "stages": {s.key: {"nodes": _labelled(s.nodes), "boxes": s.boxes} for s in shown},
        "texts": {key: {**text, "links": _labelled(text["links"])} for key, text in texts.items()},
        "sources": [
            {**part, "file": file_label(part["file"])}
            for part in sources(lines, {*_model_lines(shown), failing}, linecache.getlines)
        ],
        "first": first,
        "failing": _line_label(failing) if failing else "",
    }
    # A script ends at the first "</", wherever it stands.
    held = json.dumps(data, ensure_ascii=False).replace("</", "<\\/").replace("<!--", "<\\!--")
    bar = "".join(
        f'<button type="button" role="tab" id="tab-{key}" data-tab="{key}" '
        f'aria-controls="panel-{key}">{escape(title)}</button>'
        for key, title, _ in tabs
    )
    panels = "".join(
        f'<section role="tabpanel" id="panel-{key}" aria-labelledby="tab-{key}" '
        f'class="stage" data-stage="{key}" tabindex="-1" hidden>{content}</section>'
        for key, _, content in tabs
    )
    template = asset("page.html")
    for mark, value in {
        "@NAME@": escape(name), "@SAYS@": escape(says), "@STYLE@": asset("page.css"),
        "@TABS@": bar, "@ALERT@": alert, "@PANELS@": panels, "@SCRIPT@": asset("page.js"),
        "@DATA@": held,
    }.items():  # fmt: skip
        template = template.replace(mark, value)
    return template


def file_label(file: str) -> str:
    """A file as a page names it: pages are passed on, and whose folders they came from is private.

    Relative to the current folder where it lies in it, else its own folder and name.
    """
    path = Path(file)
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return "/".join(path.parts[-2:])


def _line_label(line: str) -> str:
    file, _, number = line.rpartition(":")
    return f"{file_label(file)}:{number}"


def _labelled(nodes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The links of nodes, with the files as the page names them."""
    return {
        key: {**node, "lines": [_line_label(line) for line in node["lines"]]}
        for key, node in nodes.items()
    }


def _model_lines(shown: Sequence[Stage]) -> set[str]:
    """The lines that made forward nodes, but for the copies that differentiation makes."""
    return {
        line
        for s in shown for node in s.nodes.values()
        if node["role"] == "forward" and node["op"] != "copy"
        for line in node["lines"]
    }  # fmt: skip


def asset(name: str) -> str:
    """A file that lies beside this module."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
