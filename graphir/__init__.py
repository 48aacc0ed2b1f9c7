"""graphir: a small, readable compiler for training regression models.

A model is a plain Python function written with torch or NumPy functions. `train` traces it,
differentiates it, fuses it into few kernels and trains with them; `compile` makes the kernels of
any such function; `grad` and `value_and_grad` differentiate one.
"""

from graphir.errors import (
    BackendError,
    DivergedError,
    DTypeError,
    GraphirError,
    ShapeError,
    TraceError,
    UnsupportedError,
)
from graphir.graph import Graph
from graphir.runtime import optim
from graphir.runtime.compiled import compile
from graphir.runtime.train import train
from graphir.tracing import trace_graph as trace
from graphir.transforms import grad, value_and_grad

__all__ = [
    "BackendError",
    "DTypeError",
    "DivergedError",
    "Graph",
    "GraphirError",
    "ShapeError",
    "TraceError",
    "UnsupportedError",
    "compile",
    "grad",
    "optim",
    "trace",
    "train",
    "value_and_grad",
]
