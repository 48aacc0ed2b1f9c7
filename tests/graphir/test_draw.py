"""Drawings: what is told apart, folding, frames, and what cannot be drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import models_to_see as models
import networkx as nx
import pytest

from graphir import draw, dtypes
from graphir.errors import GraphirError
from graphir.folding import line_groups
from graphir.graph import Graph, Node
from graphir.picture import Picture, picture
from graphir.roles import Role, roles_of
from graphir.simplify import simplify
from graphir.tracing import trace_graph
from graphir.transforms import value_and_grad
from graphir.value import Value

SVG = "{http://www.w3.org/2000/svg}"


def differentiated(loss: Any, params: Any, n: int = 64) -> Graph:
    return simplify(trace_graph(value_and_grad(loss), params, *models.data(n)))


@pytest.fixture(scope="module")
def huber() -> Graph:
    return differentiated(models.huber, models.linear_params())


@pytest.fixture(scope="module")
def deep() -> Graph:
    return differentiated(models.deep, models.deep_params(layers=20))


def groups(svg: str) -> dict[str, tuple[str, list[str]]]:
    """By id: the class and the texts of each group of an SVG."""
    root = ET.fromstring(svg)
    return {
        g.get("id", ""): (g.get("class", ""), [t.text or "" for t in g.iter(f"{SVG}text")])
        for g in root.iter(f"{SVG}g")
    }


def test_forward_and_backward_are_told_apart(huber: Graph) -> None:
    roles = roles_of(huber)
    forward = {n for n in huber.live() if roles[n] is Role.FORWARD}
    backward = {n for n in huber.live() if roles[n] is Role.BACKWARD}
    assert {"contract", "where", "sum"} <= {n.op for n in forward} & {n.op for n in backward}
    # The loss needs no backward node; each gradient is one.
    loss, *grads = huber.outputs
    assert not set(huber.live([loss])) & backward
    assert set(grads) <= backward


def test_provenance_survives_a_rewrite(huber: Graph) -> None:
    traced = trace_graph(value_and_grad(models.huber), models.linear_params(), *models.data())
    assert {n.op for n in traced.backward} >= {n.op for n in huber.backward if n.op != "constant"}
    assert huber.backward <= set(huber.nodes)


def test_every_op_has_its_box_and_class(huber: Graph) -> None:
    drawn = groups(huber.to_svg())
    roles = roles_of(huber)
    for node in huber.live():
        if node.op != "constant":
            classes, texts = drawn[f"n{node.id}"]
            assert roles[node].value in classes.split()
            assert (huber.names[node] if node.op == "input" else node.op) in texts
    shapes = {role: (draw.STYLES[role].shape, draw.STYLES[role].style) for role in Role}
    assert len(set(shapes.values())) == len(Role)


def test_pruned_paths_are_grey_and_say_why(huber: Graph) -> None:
    lt = next(p.node for p in huber.pruned if p.node.op == "lt")
    classes, texts = groups(huber.to_svg())[f"n{lt.id}"]
    assert "pruned" in classes.split()
    assert any("the comparison has no derivative" in t for t in texts)
    where = next(n for n in huber.users(lt) if n.op == "where" and n not in huber.backward)
    dashed = [a for a in picture(huber).arrows if a.pruned]
    assert (f"n{lt.id}", f"n{where.id}") in {(a.source, a.target) for a in dashed}


def test_what_has_no_path_to_the_loss_is_drawn_too() -> None:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float32, "x"))
    g.outputs = [x.apply("exp").node]
    from graphir.graph import Pruned

    dead = x.apply("sin").node
    g.pruned = [Pruned(dead, "no path to the loss")]
    box = next(b for b in picture(g).boxes if b.id == f"n{dead.id}")
    assert box.dead
    assert box.reason == "no path to the loss"


def test_legend_says_what_occurs(huber: Graph) -> None:
    drawn = groups(huber.to_svg())
    assert {f"legend_{r.value}" for r in (Role.DATA, Role.PARAMETER, Role.BACKWARD)} <= set(drawn)
    assert "legend_update" not in drawn
    assert "legend_kernel" not in drawn
    assert not any(k.startswith("legend") for k in groups(huber.to_svg(legend=False)))


def test_hundreds_of_nodes_fold_by_source_line(deep: Graph) -> None:
    assert len(deep.live()) > 300
    drawn = picture(deep)
    assert drawn.folds
    assert len(drawn.boxes) < 15
    titles = [b.title for b in drawn.boxes if b.folded]
    assert titles.count("h = torch.relu(h @ w + b) + 0.1 * torch.sin(h)") == 2
    # Every op is in exactly one box.
    members = [n for b in drawn.boxes for n in b.members]
    assert len(members) == len(set(members))
    assert set(members) >= {n for n in deep.live() if n.op != "constant"}


def test_folding_leaves_no_cycle(deep: Graph) -> None:
    for graph in (deep, differentiated(models.mlp, models.mlp_params())):
        drawn = picture(graph, fold="line")
        assert nx.is_directed_acyclic_graph(
            nx.DiGraph([(a.source, a.target) for a in drawn.arrows])
        )


def test_lines_open_on_demand(deep: Graph) -> None:
    closed = picture(deep)
    line = next(b for b in closed.boxes if b.title.startswith("return")).detail[-1]
    opened = picture(deep, open_lines=[int(line.rpartition(":")[2])])
    assert len(opened.boxes) > len(closed.boxes)
    assert not any(b.title.startswith("return") for b in opened.boxes)


def test_groups_that_would_make_a_cycle_stay_apart() -> None:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float32, "x"))
    from graphir.errors import Location

    with g.located([Location("m.py", 1)]):
        a = x.apply("exp")
    with g.located([Location("m.py", 2)]):
        b = a.apply("sin")
    with g.located([Location("m.py", 1)]):
        c = b.apply("cos")
    g.outputs = [c.node]
    ops = [a.node, b.node, c.node]
    assert line_groups(g, ops, roles_of(g), {}, set()) == [[n] for n in ops]


class Kernel:
    """As much of a kernel as a drawing needs."""

    def __init__(self, name: str, nodes: tuple[Node, ...]) -> None:
        self.name, self.nodes = name, nodes


class Program:
    """As much of a program as a drawing needs."""

    def __init__(self, *kernels: Kernel) -> None:
        self.kernels = kernels


def framed(graph: Graph) -> tuple[Program, Picture]:
    ops = [n for n in graph.live() if n.op not in ("input", "constant")]
    half = len(ops) // 2
    program = Program(Kernel("first", tuple(ops[:half])), Kernel("second", tuple(ops[half:])))
    return program, picture(graph, program=program)


def test_kernels_are_frames(huber: Graph) -> None:
    program, drawn = framed(huber)
    assert [f.title for f in drawn.frames] == ["kernel first", "kernel second"]
    inside = [i for f in drawn.frames for i in f.boxes]
    assert len(inside) == len(set(inside)) == sum(len(k.nodes) for k in program.kernels)
    svg = groups(huber.to_svg(program=program))
    assert "kernel" in svg["kernel0"][0]
    assert "legend_kernel" in svg
    folded = picture(huber, program=program, fold="line")
    kernel_of = {n: i for i, k in enumerate(program.kernels) for n in k.nodes}
    for box in folded.boxes:
        assert len({kernel_of[n] for n in box.members if n in kernel_of}) <= 1


def test_a_program_of_another_graph_is_refused(huber: Graph, deep: Graph) -> None:
    with pytest.raises(GraphirError, match="another graph"):
        picture(deep, program=framed(huber)[0])


def test_text_that_means_something_to_graphviz() -> None:
    g = Graph()
    name = 'a<b>&"c"\\n`'
    x = Value(g, g.add_input((3,), dtypes.float32, name))
    g.outputs = [x.apply("exp").node]
    _, texts = groups(g.to_svg())["n0"]
    assert name in texts
    assert "#quot;c#quot;" in g.to_mermaid()


def test_graphs_without_much_in_them() -> None:
    g = Graph()
    assert groups(g.to_svg())
    x = g.add_input((), dtypes.float32, "x")
    g.outputs = [x, x, g.constant(1.0, dtypes.float32)]
    assert {"n0", "out0", "out1", "out2"} <= set(groups(g.to_svg()))


def test_mermaid_has_the_same_boxes(huber: Graph) -> None:
    text = huber.to_mermaid(program=framed(huber)[0])
    assert text.startswith("flowchart TB\n")
    assert text.count("subgraph ") == text.count("\n  end\n") == 2
    for box in picture(huber).boxes:
        assert f"\n  {box.id}" in text or f"\n    {box.id}" in text
    assert ":::backward" in text
    assert "-.->" in text


def test_dot_is_stable(huber: Graph) -> None:
    assert huber.to_dot() == huber.to_dot()
    assert huber.to_dot(direction="LR").count("rankdir=LR") == 1


def test_notebooks_get_the_drawing(huber: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (huber._repr_svg_() or "").startswith("<svg")
    assert "<svg" in huber._repr_html_()
    import sys

    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(GraphirError, match=r"graphir\[draw\]"):
        huber.to_svg()
    assert huber._repr_svg_() is None
    assert "contract(" in huber._repr_html_()


def test_too_large_to_draw_offers_the_folded_view() -> None:
    g = Graph()
    x = Value(g, g.add_input((3,), dtypes.float32, "x"))
    for _ in range(1600):
        x = x.apply("sin")
    g.outputs = [x.node]
    with pytest.raises(GraphirError, match=r"too large to draw[\s\S]*fold='line'"):
        g.to_svg(fold="none")
    assert len(picture(g).boxes) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [({"fold": "file"}, "no way 'file'"), ({"direction": "UP"}, "no direction 'UP'")],
)
def test_unknown_options(huber: Graph, options: dict[str, str], message: str) -> None:
    with pytest.raises(GraphirError, match=message):
        huber.to_svg(**options)
