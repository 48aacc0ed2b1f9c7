"""Functions that the rules of simplification make simpler, at least one for each rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphir import dtypes
from graphir.sizes import Dim
from graphir.value import Value, cast, contract, unary

N = Dim.symbol("n")


def bcast(x: Value, shape: tuple[Any, ...], *dims: int) -> Value:
    return x.apply("broadcast", shape=shape, dims=dims)


@dataclass(frozen=True)
class Example:
    """A function of inputs of these shapes that `rule` simplifies.

    `ops` is what is left, inputs and constants aside. Inexact rules are compared on ordinary
    numbers and up to rounding.
    """

    rule: str
    shapes: tuple[tuple[Any, ...], ...]
    function: Callable[..., Value]
    ops: str
    exact: bool = True

    def __str__(self) -> str:
        return f"{self.rule}-{self.ops.replace(' ', ',')}"


def _at_one_place(
    x: Value, v: Value, shape: tuple[Any, ...], axis: int, *index: int,
    values: tuple[int, ...] | None = None,
) -> Value:  # fmt: skip
    """`v` where the position along `axis` is that in `x`, made whole; 0 elsewhere."""
    whole = bcast(cast(x, dtypes.int64), shape, *index)
    positions = type(x)(x.graph, x.graph.add("iota", size=shape[axis]))
    mask = whole.apply("eq", bcast(positions, shape, axis))
    return mask.apply(
        "where", bcast(v, shape, *(values or index)), bcast(x.scalar(0.0, v.element), shape)
    )


V: tuple[Any, ...] = (10,)
EXAMPLES = [
    Example("copy", (V,), lambda x: x.apply("copy", tag=0), ""),
    Example("stop_gradient", (V,), lambda x: x.apply("stop_gradient"), ""),
    Example("custom_vjp", (V,), lambda x: x.apply("custom_vjp", rule=None, output=0), ""),
    Example(
        "constants",
        (V,),
        lambda x: x + bcast(unary("exp", x.scalar(0.5, x.element)), V),
        "broadcast add",
        exact=False,
    ),
    Example("constants", (V,), lambda x: x * cast(x.scalar(0.1), x.element), "broadcast mul"),
    Example("of nothing", ((3, 0),), lambda x: x * x, "broadcast"),
    Example("of nothing", ((3, 0),), lambda x: x.apply("amax", axes=(1,)), "broadcast"),
    Example("of nothing", ((),), lambda x: bcast(x, (0,)).apply("amax", axes=(0,)), ""),
    Example("of nothing", ((3, 0), (0, 2)), lambda x, y: contract(x, y, "nd,dk->nk"), "broadcast"),
    Example(
        "of nothing",
        ((0, 2),),
        lambda x: x.apply("embed", axis=0, start=1, step=1, length=3),
        "broadcast",
    ),
    Example("x+(-0)", (V,), lambda x: x + -0.0, ""),
    Example("x+(-0)", (V,), lambda x: -0.0 + x, ""),
    Example("x-0", (V,), lambda x: x - 0.0, ""),
    Example("x*1", (V,), lambda x: x * 1.0, ""),
    Example("x*1", (V,), lambda x: 1 * x, ""),
    Example("x/1", (V,), lambda x: x / 1, ""),
    Example("x*-1", (V,), lambda x: x * -1.0, "neg"),
    Example("x*-1", (V,), lambda x: -1.0 * x, "neg"),
    Example("x*-1", (V,), lambda x: x / -1.0, "neg"),
    Example("-(-x)", (V,), lambda x: (-x).apply("neg"), ""),
    Example("x+(-y)", (V, V), lambda x, y: x + (-y), "sub"),
    Example("x+(-y)", (V, V), lambda x, y: (-x) + y, "sub"),
    Example("x+(-y)", (V, V), lambda x, y: x - (-y), "add"),
    Example("(-x)*(-y)", (V, V), lambda x, y: (-x) * (-y), "mul"),
    Example("(-x)*(-y)", (V, V), lambda x, y: (-x) / (-y), "div"),
    Example("x/2^k", (V,), lambda x: x / 4.0, "broadcast mul"),
    Example("x/2^k", (V,), lambda x: x / -0.5, "broadcast mul"),
    Example("x^c", (V,), lambda x: x.apply("pow", bcast(x.scalar(1.0, x.element), V)), ""),
    Example("x^c", (V,), lambda x: x.apply("pow", bcast(x.scalar(2.0, x.element), V)), "mul"),
    Example(
        "x^c",
        (V,),
        lambda x: x.apply("pow", bcast(x.scalar(0.5, x.element), V)),
        "sqrt",
        exact=False,
    ),
    Example(
        "x^c",
        (V,),
        lambda x: x.apply("pow", bcast(x.scalar(-1.0, x.element), V)),
        "broadcast div",
        exact=False,
    ),
    Example("cast", (V,), lambda x: x.apply("cast", dtype=dtypes.float32), ""),
    Example("cast", (V,), lambda x: cast(cast(x, dtypes.float64), dtypes.float32), ""),
    Example("cast", (V,), lambda x: cast(cast(x, dtypes.float64), dtypes.float16), "cast"),
    Example(
        "not not",
        (V,),
        lambda x: (x > 1.0).apply("logical_not").apply("logical_not"),
        "broadcast gt",
    ),
    Example(
        "where",
        (V, V),
        lambda x, y: bcast(x.scalar(True, dtypes.bool_), V).apply("where", x, y),
        "",
    ),
    Example(
        "where",
        (V, V),
        lambda x, y: bcast(x.scalar(False, dtypes.bool_), V).apply("where", x, y),
        "",
    ),
    Example("where", (V,), lambda x: (x > 0.0).apply("where", x, x), ""),
    Example(
        "where", (V, V), lambda x, y: (x > y).apply("logical_not").apply("where", x, y), "gt where"
    ),
    Example(
        "op of broadcasts",
        ((3,), (3,)),
        lambda x, y: bcast(x, (N, 3), 1) + bcast(y, (N, 3), 1),
        "add broadcast",
    ),
    Example(
        "op of broadcasts",
        ((3,), ()),
        lambda x, s: bcast(x, (3, N), 0) * bcast(s, (3, N)),
        "broadcast mul broadcast",
    ),
    Example("op of broadcasts", ((),), lambda s: unary("exp", bcast(s, (N, 3))), "exp broadcast"),
    Example(
        "op of broadcasts",
        ((3, 2), (2,)),
        lambda x, y: bcast(x, (N, 3, 2), 1, 2) * bcast(y, (N, 3, 2), 2),
        "broadcast mul broadcast",
    ),
    Example(
        "op of broadcasts",
        ((3,), (2,)),
        lambda x, y: bcast(x, (3, N, 2), 0) - bcast(y, (3, N, 2), 2),
        "broadcast broadcast sub broadcast",
    ),
    Example(
        "broadcast", ((3,),), lambda x: bcast(bcast(x, (3, 2), 0), (2, N, 3, 2), 2, 3), "broadcast"
    ),
    Example("broadcast", ((N, 3),), lambda x: bcast(x, (N, 3), 0, 1), ""),
    Example(
        "reshape",
        ((N, 4),),
        lambda x: x.apply("reshape", shape=(N, 2, 2)).apply("reshape", shape=(N * 4,)),
        "reshape",
    ),
    Example(
        "reshape",
        ((N, 4),),
        lambda x: x.apply("reshape", shape=(N, 2, 2)).apply("reshape", shape=(N, 4)),
        "",
    ),
    Example(
        "reshape of broadcast",
        ((),),
        lambda s: bcast(s, (2, 3)).apply("reshape", shape=(6,)),
        "broadcast",
    ),
    Example(
        "reshape of broadcast",
        ((3,),),
        lambda x: bcast(x, (3, 1, N), 0).apply("reshape", shape=(1, 3, N)),
        "broadcast",
    ),
    Example("permute", ((2, 3),), lambda x: x.apply("permute", order=(0, 1)), ""),
    Example(
        "permute",
        ((2, 3, 4),),
        lambda x: x.apply("permute", order=(2, 0, 1)).apply("permute", order=(0, 2, 1)),
        "permute",
    ),
    Example(
        "permute",
        ((2, 3, 4),),
        lambda x: x.apply("permute", order=(2, 0, 1)).apply("permute", order=(1, 2, 0)),
        "",
    ),
    Example(
        "permute",
        ((3,),),
        lambda x: bcast(x, (3, N), 0).apply("permute", order=(1, 0)),
        "broadcast",
    ),
    Example(
        "permute",
        ((3, 2),),
        lambda x: bcast(x, (3, 2, N), 0, 1).apply("permute", order=(2, 1, 0)),
        "permute broadcast",
    ),
    Example("slice", ((N, 3),), lambda x: x.apply("slice", axis=1, start=0, step=1, length=3), ""),
    Example(
        "slice",
        ((3,),),
        lambda x: bcast(x, (3, 5), 0).apply("slice", axis=1, start=4, step=-2, length=2),
        "broadcast",
    ),
    Example(
        "slice",
        ((3,),),
        lambda x: bcast(x, (5, 3), 1).apply("slice", axis=1, start=2, step=-1, length=2),
        "slice broadcast",
    ),
    Example("reduce nothing", ((N, 3),), lambda x: x.apply("amax", axes=()), ""),
    Example(
        "reduce twice",
        ((2, N, 3),),
        lambda x: x.apply("sum", axes=(1,)).apply("sum", axes=(1,)),
        "sum",
        exact=False,
    ),
    Example(
        "reduce twice",
        ((2, N, 3),),
        lambda x: x.apply("amax", axes=(0,)).apply("amax", axes=(1,)),
        "amax",
    ),
    Example(
        "reduce reshaped",
        ((N, 4),),
        lambda x: x.apply("reshape", shape=(N * 4,)).apply("sum", axes=(0,)),
        "sum",
        exact=False,
    ),
    Example(
        "reduce permuted",
        ((2, N, 3),),
        lambda x: x.apply("permute", order=(2, 0, 1)).apply("amin", axes=(2,)),
        "amin permute",
    ),
    Example(
        "reduce broadcast",
        ((3,),),
        lambda x: bcast(x, (N, 3), 1).apply("sum", axes=(0,)),
        "size cast broadcast mul",
        exact=False,
    ),
    Example(
        "reduce broadcast",
        ((3,),),
        lambda x: bcast(x, (5, 3), 1).apply("sum", axes=(0, 1)),
        "sum mul",
        exact=False,
    ),
    Example(
        "reduce broadcast",
        ((3,),),
        lambda x: bcast(x, (5, 3, 2), 1).apply("sum", axes=(0,)),
        "broadcast mul broadcast",
        exact=False,
    ),
    Example(
        "reduce broadcast", ((3,),), lambda x: bcast(x, (N, 3), 1).apply("amax", axes=(0,)), ""
    ),
    Example(
        "reduce broadcast",
        ((3, 2),),
        lambda x: bcast(x, (3, N, 2), 0, 2).apply("amin", axes=(0, 1)),
        "amin",
    ),
    Example(
        "contract permuted",
        ((3, N), (3, 2)),
        lambda x, w: contract(x.apply("permute", order=(1, 0)), w, "nd,dk->nk"),
        "contract",
    ),
    Example(
        "contract permuted",
        ((N, 3), (2, 3)),
        lambda x, w: contract(x, w.apply("permute", order=(1, 0)), "nd,dk->kn"),
        "contract",
    ),
    Example(
        "contract broadcast",
        ((3,), (3, 2)),
        lambda x, w: contract(bcast(x, (N, 3), 1), w, "nd,dk->nk"),
        "contract broadcast",
        exact=False,
    ),
    Example(
        "contract broadcast",
        ((N, 3), ()),
        lambda x, s: contract(bcast(s, (N,)), x, "n,nd->d"),
        "sum broadcast mul",
        exact=False,
    ),
    Example(
        "contract broadcast",
        ((3,), (2, 3, 4)),
        lambda x, y: contract(bcast(x, (2, 3), 1), y, "bd,bdk->bk"),
        "contract",
        exact=False,
    ),
    Example(
        "contract nothing",
        ((N,), (3,)),
        lambda x, y: contract(x, y, "n,k->kn"),
        "broadcast broadcast mul",
    ),
    Example(
        "sum of product",
        ((N, 3), (3,)),
        lambda x, w: (x * bcast(w, (N, 3), 1)).apply("sum", axes=(1,)),
        "contract",
        exact=False,
    ),
    Example(
        "sum of product",
        ((N, 3), (3, 2)),
        lambda x, w: (bcast(x, (N, 3, 2), 0, 1) * bcast(w, (N, 3, 2), 1, 2)).apply(
            "sum", axes=(1,)
        ),
        "contract",
        exact=False,
    ),
    Example("sum of -x", ((N, 3),), lambda x: (-x).apply("sum", axes=(1,)), "sum neg", exact=False),
    Example(
        "sum of one term",
        ((N,), (N,)),
        lambda x, v: _at_one_place(x, v, (N, 3), 1, 0).apply("sum", axes=(1,)),
        "cast broadcast broadcast lt where broadcast ge where",
        exact=False,
    ),
    Example(
        "sum of one term",
        ((2,), (N, 2)),
        lambda x, v: _at_one_place(x, v, (N, 3, 2), 1, 2, values=(0, 2)).apply("sum", axes=(0, 1)),
        "cast broadcast broadcast lt broadcast where broadcast ge broadcast where sum",
        exact=False,
    ),
]
