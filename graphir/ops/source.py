"""Sources: nodes without operands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from ..graph import Node
from ..opdef import OPS, Array, Attrs, Kind, OpDef
from ..sizes import Shape, evaluate


def _no_reference(sizes: Mapping[str, int], node: Node) -> Array:
    raise AssertionError("the evaluator binds inputs itself")


def _constant(sizes: Mapping[str, int], node: Node) -> Array:
    return np.frombuffer(node.attrs["value"], node.attrs["dtype"].numpy)[0]  # type: ignore[no-any-return]


def _source(name: str, infer: Any, evaluate_: Any, doc: str) -> OpDef:
    return OPS.register(OpDef(name, Kind.SOURCE, infer, evaluate_, doc=doc))


def _given(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    return attrs["shape"], attrs["dtype"]


_source("input", _given, _no_reference, "an argument")
_source("constant", lambda inputs, a: ((), a["dtype"]), _constant, "a scalar, by its bytes")
_source(
    "size",
    lambda inputs, a: ((), dtypes.int64),
    lambda sizes, node: np.int64(evaluate(node.attrs["size"], sizes)),
    "the number behind a Dim, as a scalar",
)
_source(
    "iota",
    lambda inputs, a: ((a["size"],), dtypes.int64),
    lambda sizes, node: np.arange(evaluate(node.attrs["size"], sizes)),
    "0, 1, …, size - 1",
)
