"""Trees of arguments and results (dicts, lists, dataclasses, modules), by the library optree."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import optree

from .frontend import torch_modules
from .frontend.torch_modules import is_module

NAMESPACE = "graphir"


def flatten(tree: Any, root: str | Sequence[str]) -> tuple[list[Any], list[str], Any]:
    """The leaves of a tree, what a user calls each, and the structure (an optree PyTreeSpec).

    Args:
        root: the tree's own name, or one name for each element of a tuple: "params['w'][0]".
    """
    while True:
        paths, leaves, spec = optree.tree_flatten_with_accessor(tree, namespace=NAMESPACE)
        classes = {type(x) for x in leaves if is_unknown_tree(x)}
        if not classes:
            break
        # Such a class is a leaf to optree until it is registered, once for the whole process.
        for cls in sorted(classes, key=lambda c: (c.__module__, c.__qualname__)):
            if dataclasses.is_dataclass(cls):
                optree.dataclasses.register_node(cls, namespace=NAMESPACE)
            else:
                torch_modules.register(cls, NAMESPACE)
    if isinstance(root, str):
        return leaves, [path.codify(root) for path in paths], spec
    names = [
        optree.PyTreeAccessor(path[1:]).codify(root[path[0].entry]) if len(path) else ""
        for path in paths
    ]
    return leaves, names, spec


def is_unknown_tree(x: object) -> bool:
    """Whether `x`, a leaf to optree, is of a class of trees that was not met before."""
    return dataclasses.is_dataclass(x) or is_module(x)


def placed(tree: Any) -> AbstractContextManager[Any]:
    """`tree` as a function is called with it: see `torch_modules.placed`."""
    return torch_modules.placed(tree, NAMESPACE)


def unflatten(spec: Any, leaves: Sequence[Any]) -> Any:
    """The tree of structure `spec` with these leaves."""
    return optree.tree_unflatten(spec, leaves)


def argument_names(fn: Callable[..., Any], count: int) -> tuple[str, ...]:
    """What `fn` calls its first `count` positional arguments."""
    try:
        # A module's own signature is that of any call.
        called: Any = getattr(fn, "forward", fn) if is_module(fn) else fn
        parameters = list(inspect.signature(called).parameters.values())
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


def leaf_names(fn: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """How the user would write each leaf of the arguments: `params[0]`, `x`."""
    return flatten(args, argument_names(fn, len(args)))[1]
