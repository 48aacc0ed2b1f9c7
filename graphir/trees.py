"""Trees of arguments and results (dicts, lists, tuples, dataclasses), by the library optree."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import optree

NAMESPACE = "graphir"


def flatten(tree: Any, root: str | Sequence[str]) -> tuple[list[Any], list[str], Any]:
    """The leaves of a tree, what a user calls each, and the structure (an optree PyTreeSpec).

    Args:
        root: the tree's own name, or one name for each element of a tuple: "params['w'][0]".
    """
    while True:
        paths, leaves, spec = optree.tree_flatten_with_accessor(tree, namespace=NAMESPACE)
        classes = {type(x) for x in leaves if dataclasses.is_dataclass(x)}
        if not classes:
            break
        # A dataclass is a leaf to optree until it is registered, once for the whole process.
        for cls in sorted(classes, key=lambda c: (c.__module__, c.__qualname__)):
            optree.dataclasses.register_node(cls, namespace=NAMESPACE)
    if isinstance(root, str):
        return leaves, [path.codify(root) for path in paths], spec
    names = [
        optree.PyTreeAccessor(path[1:]).codify(root[path[0].entry]) if len(path) else ""
        for path in paths
    ]
    return leaves, names, spec


def unflatten(spec: Any, leaves: Sequence[Any]) -> Any:
    """The tree of structure `spec` with these leaves."""
    return optree.tree_unflatten(spec, leaves)


def argument_names(fn: Callable[..., Any], count: int) -> tuple[str, ...]:
    """What `fn` calls its first `count` positional arguments."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for i in range(count):
        rest = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
        if i < len(parameters) and parameters[i].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            names.append(parameters[i].name)
        elif rest:
            names.append(f"{rest[0].name}[{i - parameters.index(rest[0])}]")
        else:
            names.append(f"arg{i}")
    return tuple(names)
