"""The primitives. Importing this package fills the table `graphir.opdef.OPS`."""

from . import (
    contraction,
    custom,
    elementwise,
    functions,
    indexing,
    movement,
    random,
    reduction,
    source,
)

__all__ = [
    "contraction",
    "custom",
    "elementwise",
    "functions",
    "indexing",
    "movement",
    "random",
    "reduction",
    "source",
]
