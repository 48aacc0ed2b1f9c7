"""graphir: a small, readable compiler for training regression models.

A model is a plain Python function written with torch or NumPy functions. `train` traces it,
differentiates it, fuses it into few kernels and trains with them; `compile` makes the kernels of
any such function; `grad` and `value_and_grad` differentiate one.
"""

from graphir.checking import GradientError, check_grads
from graphir.custom import custom_vjp
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
from graphir.jacobians import hessian, jacfwd, jacrev
from graphir.mapping import vmap
from graphir.recording import record
from graphir.runtime import optim
from graphir.runtime.compiled import compile
from graphir.runtime.debug import configure as _configure_logging
from graphir.runtime.train import train
from graphir.tracing import trace_graph as trace
from graphir.transforms import grad, jvp, value_and_grad, vjp

_configure_logging()

__all__ = [
    "BackendError",
    "DTypeError",
    "DivergedError",
    "GradientError",
    "Graph",
    "GraphirError",
    "ShapeError",
    "TraceError",
    "UnsupportedError",
    "check_grads",
    "compile",
    "custom_vjp",
    "grad",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "optim",
    "record",
    "trace",
    "train",
    "value_and_grad",
    "vjp",
    "vmap",
]
