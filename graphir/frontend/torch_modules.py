"""torch's modules as trees: the leaves are the parameters that require gradients.

While a function runs on traced values, the user's own module holds them in place of its
parameters, so every way to reach a parameter leads to the traced one. A tree made of new leaves
(gradients, say) is a copy of the module that holds them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import optree

from ..errors import UnsupportedError
from ..value import Value

_NAMES, _ORIGIN = "_graphir_names", "_graphir_origin"


def is_module(x: object) -> bool:
    """Whether `x` is an nn.Module."""
    torch = sys.modules.get("torch")
    return torch is not None and hasattr(torch, "nn") and isinstance(x, torch.nn.Module)


@dataclass(frozen=True)
class Structure:
    """What a module is besides its leaves: compiled code depends on all of it.

    Attributes:
        origin: the user's module, compared by identity.
        names: of the leaves, e.g. `0.weight`.
        modes: which of its modules are in training mode.
    """

    origin: Any
    names: tuple[str, ...]
    modes: tuple[bool, ...]


class ParameterEntry(optree.GetAttrEntry):
    """How a leaf is written: `model.0.weight`, torch's own name for it."""

    def codify(self, /, node: str = "") -> str:
        """The leaf of the module that is written `node`."""
        return f"{node}.{self.entry}"


def register(cls: type, namespace: str) -> None:
    """Make the instances of a module class trees to optree."""
    optree.register_pytree_node(
        cls, _flatten, _unflatten, path_entry_type=ParameterEntry, namespace=namespace
    )


def _flatten(module: Any) -> tuple[tuple[Any, ...], Structure, tuple[str, ...]]:
    names = module.__dict__.get(_NAMES)
    if names is None:
        names = tuple(n for n, p in module.named_parameters() if p.requires_grad)
    origin = module.__dict__.get(_ORIGIN, module)
    modes = tuple(m.training for m in module.modules())
    return tuple(_find(module, name) for name in names), Structure(origin, names, modes), names


def _unflatten(structure: Any, leaves: Iterable[Any]) -> Any:
    origin = structure.origin
    new = {id(_find(origin, n)): x for n, x in zip(structure.names, leaves, strict=True)}
    copy = _copied(origin, new, {})
    copy.__dict__[_NAMES] = structure.names
    copy.__dict__[_ORIGIN] = origin
    return copy


def _is_copy(x: object) -> bool:
    return is_module(x) and _ORIGIN in x.__dict__


def _find(module: Any, name: str) -> Any:
    *path, last = name.split(".")
    for part in path:
        module = module._modules[part]
    return module._parameters[last]


def _copied(module: Any, new: dict[int, Any], known: dict[int, Any]) -> Any:
    """The module with other parameters; what occurs twice in it does so in the copy."""
    if id(module) not in known:
        copy = object.__new__(type(module))
        copy.__dict__.update(module.__dict__)
        known[id(module)] = copy
        copy.__dict__["_parameters"] = {
            name: new.get(id(p), p) for name, p in module._parameters.items()
        }
        copy.__dict__["_modules"] = {
            name: None if m is None else _copied(m, new, known)
            for name, m in module._modules.items()
        }
    return known[id(module)]


@contextlib.contextmanager
def placed(tree: Any, namespace: str) -> Iterator[Any]:
    """`tree` with the user's own modules in place of copies, holding the copies' leaves, and with
    traced values that may be written.

    Whatever happens inside, their parameters and buffers are then what they were.

    Raises:
        UnsupportedError: for a buffer that is written, such as BatchNorm's running statistics.
    """
    leaves, spec = optree.tree_flatten(tree, is_leaf=is_module, namespace=namespace)
    with contextlib.ExitStack() as stack:
        own = [stack.enter_context(_swapped(x)) if _is_copy(x) else _separate(x) for x in leaves]
        yield optree.tree_unflatten(spec, own)


def _separate(x: Any) -> Any:
    """An argument that may be written in place: the caller keeps what it was."""
    return x.copied() if isinstance(x, Value) else x


@contextlib.contextmanager
def _swapped(copy: Any) -> Iterator[Any]:
    module, names = copy.__dict__[_ORIGIN], copy.__dict__[_NAMES]
    _refuse_running_statistics(module)
    new = {id(_find(module, name)): _separate(_find(copy, name)) for name in names}
    places = [
        (m._parameters, name, p)
        for m in module.modules()
        for name, p in m._parameters.items()
        if id(p) in new
    ]
    before = module.__dict__.get(_NAMES)
    buffers = [(name, b, b._version, b.detach().clone()) for name, b in module.named_buffers()]
    try:
        for holder, name, p in places:
            holder[name] = new[id(p)]
        module.__dict__[_NAMES] = names
        yield module
    finally:
        for holder, name, p in places:
            holder[name] = p
        module.__dict__.pop(_NAMES)
        if before is not None:
            module.__dict__[_NAMES] = before
        written = [(name, b, old) for name, b, version, old in buffers if b._version != version]
        for _, buffer, old in written:
            buffer.data.copy_(old)
    if written:
        raise _buffer_error(module, written[0][0])


def _refuse_running_statistics(module: Any) -> None:
    """Raise for a batch norm in training mode, before its first buffer is written."""
    norms = sys.modules["torch"].nn.modules.batchnorm._NormBase
    for path, part in module.named_modules():
        if isinstance(part, norms) and part.training and part.running_mean is not None:
            raise _buffer_error(module, f"{path}.running_mean".lstrip("."))


def _buffer_error(module: Any, name: str) -> UnsupportedError:
    full = f"{type(module).__name__}.{name}"
    return UnsupportedError(
        full,
        f"the buffer `{full}` is written while the module runs, which is not supported: "
        "a compiled function has no side effects",
        hint="use LayerNorm or GroupNorm in place of BatchNorm, or track_running_stats=False",
    )


def update_in_place(tree: Any, trained: Any, namespace: str) -> Any:
    """Write the parameters of the copies in `trained` into the modules of `tree`.

    Returns:
        `trained` with those modules in place of the copies.
    """
    torch = sys.modules.get("torch")
    own = optree.tree_leaves(tree, is_leaf=is_module, namespace=namespace)
    leaves, spec = optree.tree_flatten(trained, is_leaf=is_module, namespace=namespace)
    results: list[Any] = []
    for module, copy in zip(own, leaves, strict=True):
        if not _is_copy(copy):
            results.append(copy)
            continue
        assert torch is not None
        with torch.no_grad():
            for name in copy.__dict__[_NAMES]:
                _find(module, name).copy_(_find(copy, name))
        results.append(module)
    return optree.tree_unflatten(spec, results)
