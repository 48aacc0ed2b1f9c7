"""`custom_vjp`: a function with a derivative of the user's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .calling import call, first_value, lifted
from .errors import GraphirError, ShapeError
from .frontend.torch_autograd import is_tracked
from .given import require_function
from .ops.custom import Rule
from .ops.elementwise import zeros_like
from .trees import argument_names, flatten, placed, unflatten
from .value import Value


class custom_vjp:  # noqa: N801 - used as a decorator
    """A function whose derivative is what `defvjp` says, not that of its operations.

        @graphir.custom_vjp
        def log1pexp(x):
            return torch.log1p(torch.exp(x))

        @log1pexp.defvjp
        def backward(residuals, cotangent):        # residuals: the arguments, without a forward
            (x,) = residuals
            return (cotangent * (1 - 1 / (1 + torch.exp(x))),)

    `defvjp(forward, backward)` takes `forward(*args) -> (result, residuals)` too, to share work.
    `backward` returns a tuple with a cotangent for each argument, None for zero. Both are traced,
    so second derivatives are theirs. What the function closes over is differentiated as ever.
    For forward mode `defjvp` takes `rule(primals, tangents) -> (result, its tangent)`.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        require_function("custom_vjp", fn)
        self.fn = fn
        self._forward: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None
        self._pushed: Callable[..., Any] | None = None
        functools.update_wrapper(self, fn, updated=())

    def defvjp(self, *rules: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule of reverse mode: `backward`, or `forward, backward`. Returns `backward`.

        Raises:
            GraphirError: for another number of functions.
        """
        if len(rules) not in (1, 2):
            raise GraphirError(
                f"defvjp takes backward, or forward and backward, got {len(rules)} functions"
            )
        self._forward = rules[0] if len(rules) == 2 else None
        self._backward = rules[-1]
        return rules[-1]

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Set the rule of forward mode. Returns it, for use as a decorator."""
        self._pushed = rule
        return rule

    def __repr__(self) -> str:
        return f"<custom_vjp {self._name}>"

    @property
    def _name(self) -> str:
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    def __call__(self, *args: Any) -> Any:
        """The function's value. Where traced, derivatives go by the rules.

        Raises:
            GraphirError: where no rule was given.
        """
        if self._backward is None:
            raise GraphirError(
                f"`{self._name}` has no rule of differentiation yet",
                hint=f"give it one: {self._name}.defvjp(backward)",
            )
        leaves = flatten(args, "args")[0]
        traced = first_value(self.fn, args) is not None
        if not traced and not any(map(is_tracked, leaves)):
            return self.fn(*args)
        names = argument_names(self.fn, len(args))
        return call(self._inline, args, {}, names=names, closure=self.fn)

    def _inline(self, first: Value, *args: Any) -> Any:
        leaves, labels, tree = flatten(args, argument_names(self.fn, len(args)))
        # Numbers of the user's stay what they are.
        places = [i for i, x in enumerate(leaves) if not isinstance(x, (bool, int, float))]
        inputs = [first.lift(leaves[i]) for i in places]

        def arguments(values: Sequence[Any]) -> tuple[Any, ...]:
            filled = list(leaves)
            for i, x in zip(places, values, strict=True):
                filled[i] = x
            built: tuple[Any, ...] = unflatten(tree, filled)
            return built

        stopped = [x.apply("stop_gradient", weak=x.weak) for x in inputs]
        with placed(arguments(stopped)) as given:
            outputs, _, out_tree = lifted(first, self.fn(*given))
        make = type(first)

        def pull(values: Sequence[Value], output: int, cotangent: Value) -> list[Value | None]:
            own = [make(x.graph, x.node) for x in values]
            with placed(arguments(own)) as given:
                if self._forward is None:
                    result, residuals = None, given
                else:
                    result, residuals = self._forward(*given)
                ends = outputs if result is None else lifted(own[0], result)[0]
                cts = [zeros_like(make(y.graph, y.node)) for y in ends]
                cts[output] = make(cotangent.graph, cotangent.node)
                assert self._backward is not None
                found = self._backward(residuals, unflatten(out_tree, cts))
            return self._cotangents(found, args, own, places, labels)

        def push(values: Sequence[Value], output: int, tangents: Sequence[Value | None]) -> Value:
            own = [make(x.graph, x.node) for x in values]
            moving = [
                zeros_like(x) if t is None else make(t.graph, t.node)
                for x, t in zip(own, tangents, strict=True)
            ]
            assert self._pushed is not None
            still: list[Any] = [0.0] * len(leaves)
            for i, t in zip(places, moving, strict=True):
                still[i] = t
            with placed((arguments(own), unflatten(tree, still))) as (primals, directions):
                _, moved = self._pushed(primals, directions)
            return lifted(own[0], moved)[0][output]

        rule = Rule(self._name, pull, push if self._pushed is not None else None)
        made = [
            y.apply("custom_vjp", *inputs, weak=y.weak, rule=rule, output=i)
            for i, y in enumerate(outputs)
        ]
        return unflatten(out_tree, made)

    def _cotangents(
        self,
        found: Any,
        args: tuple[Any, ...],
        inputs: Sequence[Value],
        places: Sequence[int],
        labels: Sequence[str],
    ) -> list[Value | None]:
        """What `backward` returned, flattened to one for each input.

        Raises:
            ShapeError: where it does not fit the arguments.
        """
        if not isinstance(found, tuple) or len(found) != len(args):
            got = f"{len(found)} of them" if isinstance(found, tuple) else type(found).__name__
            raise ShapeError(
                f"the backward rule of `{self._name}` must return a tuple with a cotangent for "
                f"each of its {len(args)} arguments, got {got}",
                hint="put None for an argument that has none, and write (g,) for one alone",
            )
        flat: list[Any] = []
        for own, part in zip(args, found, strict=True):
            count = len(flatten(own, "x")[0])
            parts = [None] * count if part is None else flatten(part, "x")[0]
            if len(parts) != count:
                raise ShapeError(
                    f"the backward rule of `{self._name}` returned {len(parts)} arrays for an "
                    f"argument that holds {count}",
                    hint="return a cotangent of the argument's own structure",
                )
            flat += parts
        result: list[Value | None] = []
        for i, x in zip(places, inputs, strict=True):
            ct = None if flat[i] is None else x.lift(flat[i])
            if ct is not None and x.element.is_float and ct.node.type != x.node.type:
                raise ShapeError(
                    f"the backward rule of `{self._name}` returned {ct.node.type} for "
                    f"`{labels[i]}`, which is {x.node.type}",
                    hint="a cotangent has the shape and dtype of its argument",
                )
            result.append(ct)
        return result
