"""What a drawing of a graph shows: boxes, arrows and frames, before any notation is chosen."""

from __future__ import annotations

import linecache
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from .dump import Naming
from .errors import GraphirError
from .folding import argument_groups, line_groups, place, root_name
from .graph import Graph, Node
from .roles import Role, roles_of

FOLD_FROM = 60
"""From so many ops on, a drawing is folded by source lines unless asked otherwise."""
DRAW_LIMIT = 1500
"""So many boxes are laid out at most: Graphviz would take minutes for a picture nobody reads."""

_COMMUTATIVE = ("add", "mul", "maximum", "minimum", "eq", "ne", "logical_and", "logical_or")

Fold: TypeAlias = Literal["auto", "line", "none"]


class KernelLike(Protocol):
    """What a drawing needs of a kernel."""

    @property
    def name(self) -> str: ...

    @property
    def nodes(self) -> Sequence[Node]: ...


class ProgramLike(Protocol):
    """What a drawing needs of a scheduled program."""

    @property
    def kernels(self) -> Sequence[KernelLike]: ...


@dataclass(frozen=True)
class Box:
    """One shape of the drawing.

    Attributes:
        id: unique in the picture; `n12` for the node %12.
        role: shape and colour.
        title: the op, the name, or the source line that was folded.
        detail: small print below it: type, attributes, line.
        tooltip: everything there is to say.
        members: the nodes it stands for, more than one where they are folded.
        reason: why it gets no gradient, where it was pruned.
        dead: whether nothing that is returned needs it.
    """

    id: str
    role: Role
    title: str
    detail: tuple[str, ...]
    tooltip: str
    members: tuple[Node, ...]
    reason: str = ""
    dead: bool = False

    @property
    def folded(self) -> bool:
        """Whether it stands for several ops."""
        return len(self.members) > 1


@dataclass(frozen=True)
class Arrow:
    """A value that flows from one box to another; `pruned` where no cotangent flows back."""

    source: str
    target: str
    label: str = ""
    pruned: bool = False


@dataclass(frozen=True)
class Frame:
    """A kernel around its boxes."""

    id: str
    title: str
    boxes: tuple[str, ...]


@dataclass(frozen=True)
class Picture:
    """A drawing without coordinates. `folds` says whether boxes hold several ops."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    frames: tuple[Frame, ...] = ()
    folds: bool = False
    box_of: Mapping[Node, str] = field(default_factory=dict)


def picture(
    graph: Graph,
    *,
    program: ProgramLike | None = None,
    fold: Fold = "auto",
    open_lines: Iterable[int] = (),
) -> Picture:
    """The boxes and arrows of `graph`: its live nodes and what was pruned.

    Args:
        program: a scheduled program whose kernels are drawn as frames. A program is scheduled from
            its own, further rewritten graph; that one is drawn where the program carries it.
        fold: "line" makes one box of the ops of a source line that follow one another; "none"
            draws every op; "auto" folds from `FOLD_FROM` ops on.
        open_lines: line numbers that stay unfolded.

    Raises:
        GraphirError: for another `fold`, or a graph too large to draw.
    """
    if fold not in ("auto", "line", "none"):
        raise GraphirError(
            f"there is no way {fold!r} to fold a graph", hint="use 'auto', 'line' or 'none'"
        )
    if program is not None:
        graph = getattr(program, "graph", None) or graph
    shown = _shown(graph)
    ops = [n for n in shown if n.op != "input"]
    folds = fold == "line" or (fold == "auto" and len(ops) >= FOLD_FROM)
    if not folds and len(shown) > DRAW_LIMIT:
        raise GraphirError(
            f"a graph of {len(shown)} nodes is too large to draw",
            hint="draw it folded by source lines, fold='line'",
        )
    kernel_of = _kernels(program, shown)
    roles = roles_of(graph)
    groups = [[n] for n in ops]
    if folds:
        groups = line_groups(graph, ops, roles, kernel_of, set(open_lines))
    arguments = [n for n in shown if n.op == "input"]
    sets = argument_groups(graph, arguments, roles) if folds else [[n] for n in arguments]
    boxes = [_input_box(graph, group, roles) for group in sets]
    reasons = {p.node: p.reason for p in graph.pruned}
    live = set(graph.live())
    boxes += [_box(graph, group, roles, reasons, live) for group in groups]
    if len(boxes) > DRAW_LIMIT:
        raise GraphirError(
            f"even folded, a graph of {len(ops)} ops is too large to draw",
            hint="draw a part of it: trace a function that it calls",
        )
    box_of = {node: box.id for box in boxes for node in box.members}
    results, returns = _results(graph, box_of, folds)
    several = {box.id for box in boxes if box.folded}
    arrows = _arrows(shown, box_of, roles, reasons, several)
    arrows += returns
    frames = _frames(program, boxes, kernel_of)
    return Picture(tuple(boxes + results), tuple(arrows), frames, folds, box_of)


def _shown(graph: Graph) -> list[Node]:
    """What is drawn: arguments, live nodes, and pruned ones; numbers stand in the boxes."""
    extra = {p.node for p in graph.pruned} & set(graph.nx)
    wanted = set(graph.live()) | set(graph.inputs) | extra
    return [n for n in graph.nodes if n in wanted and n.op != "constant"]


def _kernels(program: ProgramLike | None, shown: Sequence[Node]) -> dict[Node, int]:
    """The kernel that computes a node first; arguments lie outside of all."""
    if program is None:
        return {}
    known = {n for n in shown if n.op != "input"}
    found: dict[Node, int] = {}
    for i, kernel in enumerate(program.kernels):
        for node in kernel.nodes:
            if node in known:
                found.setdefault(node, i)
    if program.kernels and known and not found:
        raise GraphirError(
            "the program was scheduled from another graph",
            hint="draw the program's own graph",
        )
    return found


def _input_box(graph: Graph, group: Sequence[Node], roles: Mapping[Node, Role]) -> Box:
    first = group[0]
    reasons = [p.reason for p in graph.pruned if p.node in group]
    names = [graph.names.get(n, f"%{n.id}") for n in group]
    tip = "\n".join([f"{name}: {n.type}" for name, n in zip(names, group, strict=True)] + reasons)
    title, detail = names[0], first.type
    if len(group) > 1:
        title = root_name(names[0])
        detail = f"{len(group)} arrays: {first.type}, …"
    pruned = "no gradient was asked for" if len(reasons) == len(group) else ""
    return Box(f"n{first.id}", roles[first], title, (detail,), tip, tuple(group), pruned)


def _results(
    graph: Graph, box_of: Mapping[Node, str], folds: bool
) -> tuple[list[Box], list[Arrow]]:
    """What is returned; folded, the results of one box together."""
    groups: dict[object, list[int]] = {}
    for i, node in enumerate(graph.outputs):
        groups.setdefault(box_of.get(node) if folds else i, []).append(i)
    boxes, arrows = [], []
    for places in groups.values():
        nodes = [graph.outputs[i] for i in places]
        title = (
            f"results {_ranges(places)}"
            if len(places) > 1
            else (f"result {places[0]}" if len(graph.outputs) > 1 else "result")
        )
        tip = "\n".join(f"output {i}: {n.type}" for i, n in zip(places, nodes, strict=True))
        detail = nodes[0].type if len(nodes) == 1 else f"{len(nodes)} arrays"
        box = Box(f"out{places[0]}", Role.RESULT, _short(title, 28), (detail,), tip, ())
        boxes.append(box)
        if nodes[0] in box_of:
            arrows.append(Arrow(box_of[nodes[0]], box.id))
    return boxes, arrows


def _box(
    graph: Graph,
    group: Sequence[Node],
    roles: Mapping[Node, Role],
    reasons: Mapping[Node, str],
    live: set[Node],
) -> Box:
    text = Naming(graph)
    first = group[0]
    at = place(graph, first)
    tip = "\n".join(f"{text.operand(n)} = {text.expression(n)}   {n.type}" for n in group[:40])
    if len(group) > 40:
        tip += f"\n… {len(group) - 40} more"
    if at:
        tip += f"\n{at}"
    dead = live.isdisjoint(group)
    told = list(dict.fromkeys(reasons[n] for n in group if n in reasons))
    # A folded box is grey only where all of it was pruned.
    reason = "; ".join(told) if all(n in reasons for n in group) else ""
    if told:
        tip += "\nno gradient: " + "; ".join(told)
    if len(group) == 1:
        detail = [text.expression(first).partition("(")[2].removesuffix(")"), first.type]
        title = first.op
    else:
        code = linecache.getline(at.file, at.line).strip() if at else ""
        title = _short(code) if code else f"{len(group)} ops"
        detail = [_summary(group), group[-1].type]
    if at:
        detail.append(str(at))
    return Box(f"n{first.id}", roles[first], title, tuple(map(_short, detail)), tip,
               tuple(group), reason, dead)  # fmt: skip


def _summary(group: Sequence[Node]) -> str:
    """`5 ops: contract, add, mul ×3`."""
    counts: dict[str, int] = {}
    for node in group:
        counts[node.op] = counts.get(node.op, 0) + 1
    parts = [op if n == 1 else f"{op} ×{n}" for op, n in counts.items()]
    more = f", +{len(parts) - 4}" if len(parts) > 4 else ""
    return f"{len(group)} ops: {', '.join(parts[:4])}{more}"


def _ranges(numbers: Sequence[int]) -> str:
    """`0–3, 7` of 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][-1] == n - 1:
            runs[-1].append(n)
        else:
            runs.append([n])
    return ", ".join(str(r[0]) if len(r) == 1 else f"{r[0]}–{r[-1]}" for r in runs)


def _short(text: str, limit: int = 48) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _arrows(
    shown: Sequence[Node],
    box_of: Mapping[Node, str],
    roles: Mapping[Node, Role],
    reasons: Mapping[Node, str],
    folded: Collection[str],
) -> list[Arrow]:
    seen: dict[tuple[str, str], Arrow] = {}
    for node in shown:
        for position, x in enumerate(node.inputs):
            if x not in box_of or box_of[x] == box_of[node]:
                continue
            # Where the user of a value gets a cotangent and the value does not, a path ends.
            ends = x in reasons and roles[node] is Role.FORWARD
            # Where the order of operands matters, arrows are numbered.
            ordered = len(node.inputs) > 1 and node.op not in _COMMUTATIVE
            label = str(position) if ordered and box_of[node] not in folded else ""
            key = (box_of[x], box_of[node])
            if key in seen:
                # Both operands of x * x: one arrow says it.
                seen[key] = Arrow(*key, seen[key].label and f"{seen[key].label},{position}",
                                  seen[key].pruned and ends)  # fmt: skip
            else:
                seen[key] = Arrow(*key, label, ends)
    return list(seen.values())


def _frames(
    program: ProgramLike | None, boxes: Sequence[Box], kernel_of: Mapping[Node, int]
) -> tuple[Frame, ...]:
    if program is None:
        return ()
    inside: dict[int, list[str]] = {}
    for box in boxes:
        home = {kernel_of[n] for n in box.members if n in kernel_of}
        if home:
            inside.setdefault(min(home), []).append(box.id)
    return tuple(
        Frame(f"kernel{i}", f"kernel {kernel.name}", tuple(inside[i]))
        for i, kernel in enumerate(program.kernels)
        if i in inside
    )
