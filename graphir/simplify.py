"""The driver of simplification: each rule wherever it fits, until none does."""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Graph, Node
from .rewrite import Builder, Rule, rebuild
from .rules import RULES
from .verify import verify


def simplify(graph: Graph, rules: Sequence[Rule] | None = None, *, check: bool = False) -> Graph:
    """An equal graph with fewer or cheaper nodes, and no dead ones.

    Args:
        rules: rows of `rules.RULES`, which is the default.
        check: run the verifier after each pass.
    """
    by_op: dict[str, list[Rule]] = {}
    for rule in RULES if rules is None else rules:
        for op in rule.names():
            by_op.setdefault(op, []).append(rule)
    while True:
        fired: list[str] = []

        def make(
            new: Graph, node: Node, operands: tuple[Node, ...], fired: list[str] = fired
        ) -> Node:
            return Builder(new, by_op, fired).add(node.op, *operands, **node.attrs)

        graph = rebuild(graph, make)
        if check:
            verify(graph, "simplify")
        # The pass in which no rule fires also left the dead nodes behind.
        if not fired:
            return graph
