"""Compiled torch modules."""

from __future__ import annotations

import inspect
from typing import Any

from graphir.graph import Graph

from .backends import Kernel
from .compiled import Compiled
from .explain import Explanation


class CompiledModule(Compiled[..., Any]):
    """A torch module that runs as generated kernels, with its parameters as they stand.

    Attributes:
        module: the user's own, for optimizers and checkpoints.
    """

    def __init__(self, module: Any, **options: Any) -> None:
        def call(module: Any, *args: Any) -> Any:
            return module(*args)

        call.__name__ = type(module).__name__
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        rest = inspect.signature(module.forward).parameters.values()
        call.__signature__ = inspect.Signature([own, *rest])  # type: ignore[attr-defined]
        super().__init__(call, **options)
        self.module = module

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run; while another function is traced, become part of its trace."""
        return super().__call__(self.module, *args, **kwargs)

    def graph(self, *args: Any) -> Graph:
        """The simplified graph for these arguments."""
        return super().graph(self.module, *args)

    def kernels(self, *args: Any) -> tuple[Kernel, ...]:
        """The kernels for these arguments, with their text."""
        return super().kernels(self.module, *args)

    def explain(self, *args: Any) -> Explanation:
        """What was compiled for these arguments, why so, and what it costs."""
        return super().explain(self.module, *args)
