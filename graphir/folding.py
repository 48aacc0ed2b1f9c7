"""Which nodes share one box of a folded drawing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import networkx as nx

from .errors import Location
from .graph import Graph, Node
from .roles import Role

# The ops of a group have these in common.
Key: TypeAlias = tuple[Any, ...]


def place(graph: Graph, node: Node) -> Location | None:
    """The first of the user's lines that made `node`."""
    lines = graph.locations.get(node, [])
    return lines[0] if lines else None


def line_groups(
    graph: Graph,
    ops: Sequence[Node],
    roles: Mapping[Node, Role],
    kernel_of: Mapping[Node, int],
    opened: set[int],
) -> list[list[Node]]:
    """Ops of one line, direction and kernel as one group, where that leaves no cycle.

    Ops that follow one another in creation order can always be one. Groups further apart are
    joined where no path leads from one to the other through a third.
    """

    def key(node: Node) -> Key:
        at = place(graph, node)
        alone = at is None or at.line in opened
        return (at, roles[node], kernel_of.get(node), node.id if alone else None)

    runs: list[list[Node]] = []
    keys: list[Key] = []
    for node in ops:
        if keys and keys[-1] == key(node):
            runs[-1].append(node)
        else:
            runs.append([node])
            keys.append(key(node))
    return _joined(runs, keys)


def _joined(runs: list[list[Node]], keys: list[Key]) -> list[list[Node]]:
    """Runs of the same key as one, where the boxes then still form no cycle."""
    owner = {node: i for i, run in enumerate(runs) for node in run}
    quotient: nx.DiGraph[int] = nx.DiGraph()
    quotient.add_nodes_from(range(len(runs)))
    quotient.add_edges_from(
        (owner[x], i) for i, run in enumerate(runs) for node in run for x in node.inputs
        if x in owner and owner[x] != i
    )  # fmt: skip
    first: dict[Key, int] = {}
    for i, key in enumerate(keys):
        j = first.setdefault(key, i)
        if j == i:
            continue
        if _between(quotient, j, i):
            # Too far apart: later runs of this line join the nearer one.
            first[key] = i
            continue
        for x in list(quotient.predecessors(i)):
            if x != j:
                quotient.add_edge(x, j)
        for x in list(quotient.successors(i)):
            quotient.add_edge(j, x)
        quotient.remove_node(i)
        runs[j] = sorted(runs[j] + runs[i], key=lambda n: n.id)
        runs[i] = []
    return [run for run in runs if run]


def _between(quotient: nx.DiGraph[int], a: int, b: int) -> bool:
    """Whether a path of two steps or more joins `a` and `b`, either way."""
    ahead, behind = nx.descendants(quotient, a), nx.ancestors(quotient, b)
    if ahead & behind:
        return True
    return a in nx.descendants(quotient, b)


def argument_groups(
    graph: Graph, arguments: Sequence[Node], roles: Mapping[Node, Role]
) -> list[list[Node]]:
    """The leaves of one argument (`params[0]`, `params[1]`) together."""
    groups: dict[tuple[str, Role], list[Node]] = {}
    for node in arguments:
        root = root_name(graph.names.get(node, f"%{node.id}"))
        groups.setdefault((root, roles[node]), []).append(node)
    return list(groups.values())


def root_name(name: str) -> str:
    """The argument that a leaf belongs to: `params` of `params[0].weight`."""
    return re.split(r"[.\[]", name)[0]
