"""What each node of a graph is there for: told in drawings, dumps and pages."""

from __future__ import annotations

from enum import Enum

from .graph import Graph, Node


class Role(Enum):
    """What a box stands for. Each has its own shape and colour."""

    DATA = "data"
    PARAMETER = "parameter"
    NUMBER = "number"
    FORWARD = "forward"
    BACKWARD = "backward"
    UPDATE = "update"
    RESULT = "result"


def roles_of(graph: Graph) -> dict[Node, Role]:
    """The role of every node: what differentiation added, and what comes after it."""
    roles: dict[Node, Role] = {}
    pruned = {p.node for p in graph.pruned}
    for node in graph.nodes:
        if node.op == "input":
            moving = any(not isinstance(s, int) for s in node.shape)
            data = node in graph.captured or node in pruned or moving
            number = not node.shape and node.attrs.get("weak")
            roles[node] = Role.NUMBER if number else Role.DATA if data else Role.PARAMETER
        elif node in graph.backward:
            roles[node] = Role.BACKWARD
        elif any(roles[x] in (Role.BACKWARD, Role.UPDATE) for x in node.inputs):
            roles[node] = Role.UPDATE
        else:
            roles[node] = Role.FORWARD
    returned = set(graph.outputs)
    for node in reversed(graph.nodes):
        # What only the update reads (momentum times state) is part of it.
        users = graph.users(node)
        if (
            roles[node] is Role.FORWARD
            and users
            and node not in returned
            and all(roles[u] is Role.UPDATE for u in users)
        ):
            roles[node] = Role.UPDATE
    return roles
