"""The value of a function whose derivative its author gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..dtypes import DType
from ..errors import UnsupportedError
from ..graph import Node
from ..opdef import OPS, Attrs, Kind, OpDef, Vjp
from ..sizes import Shape
from ..value import Value


@dataclass(frozen=True, eq=False)
class Rule:
    """The derivative of one call of a function, whose arguments are the values `inputs`.

    Attributes:
        name: of the function.
        pull: `(inputs, which output, its cotangent) -> a cotangent of each input`; None is zero.
        push: `(inputs, which output, tangents of the inputs) -> its tangent`, where it was given.
    """

    name: str
    pull: Callable[[Sequence[Value], int, Value], Sequence[Value | None]]
    push: Callable[[Sequence[Value], int, Sequence[Value | None]], Value] | None = None

    def __str__(self) -> str:
        return self.name


def _infer(inputs: Sequence[Node], attrs: Attrs) -> tuple[Shape, DType]:
    return inputs[0].shape, inputs[0].dtype


def _vjp_of_input(position: int) -> Vjp:
    """Of an input of the function, whose value the first operand does not let through."""

    def vjp(g: Value, o: Value, made: Value, *inputs: Value, rule: Rule, output: int) -> Value:
        found = rule.pull(inputs, output, g)[position - 1]
        x = inputs[position - 1]
        return _zeros(x) if found is None else found

    return vjp


def _zeros(x: Value) -> Value:
    zero = x.scalar(0, x.element)
    return zero.apply("broadcast", shape=x.sizes, dims=()) if x.ndim else zero


def _jvp(
    tangents: Sequence[Value | None], o: Value, made: Value, *inputs: Value, rule: Rule, output: int
) -> Value:
    through, *moving = tangents
    if all(t is None for t in moving):
        assert through is not None
        return through
    if rule.push is None:
        raise UnsupportedError(
            rule.name,
            f"`{rule.name}` has a rule of reverse mode only, and forward mode (jvp, jacfwd, "
            "hessian) meets it",
            hint=f"give it one, {rule.name}.defjvp(rule), or use jacrev",
        )
    pushed = rule.push(inputs, output, moving)
    return pushed if through is None else through.apply("add", pushed)


OPS.register(
    OpDef(
        "custom_vjp",
        Kind.MOVEMENT,
        _infer,
        lambda sizes, node, x, *inputs: np.asarray(x),
        # What the function closes over is differentiated as ever.
        (lambda g, o, made, *inputs, rule, output: g,),
        further=_vjp_of_input,
        jvp=_jvp,
        doc="x, computed from the other operands, to which derivatives flow by a rule of their own",
    )
)
