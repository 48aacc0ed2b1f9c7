"""The whole training step as one traced function: loss, gradients and the optimizer's update."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from graphir.codegen.program import BatchLoop
from graphir.differentiate import gradients
from graphir.errors import DTypeError, Location, ShapeError, TraceError, UnsupportedError
from graphir.graph import Graph, Node
from graphir.opdef import Kind
from graphir.simplify import simplify
from graphir.sizes import Dim, format_shape
from graphir.tracing import trace
from graphir.trees import argument_names, unflatten
from graphir.value import Value

from .arrays import leaves_of
from .backends import Build
from .entry import Entry
from .optim import Optimizer

_MOST_STEPS = 32


@dataclass(eq=False)
class TrainCache:
    """The in-memory cache of training: what was compiled for a loss function lives as long as
    the function does, the most recently used first.

    A sweep over learning rates, seeds, epochs or batch sizes compiles once.

    Attributes:
        misses: how many steps were compiled.
    """

    misses: int = 0
    _by_loss: weakref.WeakKeyDictionary[Any, OrderedDict[Hashable, Any]] = field(
        default_factory=weakref.WeakKeyDictionary
    )

    def get(self, loss: Callable[..., Any], key: Hashable, make: Callable[[], Any]) -> Any:
        """What was made for `loss` and `key`, or `make()`."""
        try:
            known = self._by_loss.setdefault(loss, OrderedDict())
        except TypeError:
            # It cannot be weakly referenced or hashed: then nothing is kept.
            known = OrderedDict()
        if key not in known:
            self.misses += 1
            known[key] = make()
        known.move_to_end(key)
        while len(known) > _MOST_STEPS:
            known.popitem(last=False)
        return known[key]


COMPILED_STEPS = TrainCache()
"""The process's one in-memory cache of training steps; `misses` counts compilations."""


@dataclass(frozen=True)
class StepForm:
    """How the flattened arguments of a step lie in the inputs of its graph.

    The order is: parameters, state, numbers that change from step to step, numbers that do not,
    data.

    Attributes:
        params, state, data: how many leaves.
        stepped, hyper: the names of the optimizer's numbers.
    """

    params: int
    state: int
    stepped: tuple[str, ...]
    hyper: tuple[str, ...]
    data: int

    @property
    def numbers(self) -> tuple[str, ...]:
        """The names of all of the optimizer's numbers."""
        return self.stepped + self.hyper

    @property
    def stepwise(self) -> range:
        """The positions of the numbers that change from step to step."""
        first = self.params + self.state
        return range(first, first + len(self.stepped))

    @property
    def batched(self) -> range:
        """The positions of the data."""
        first = self.stepwise.stop + len(self.hyper)
        return range(first, first + self.data)


@dataclass(frozen=True)
class TracedStep:
    """The simplified graph of a step.

    Attributes:
        dim: the name of the batch size.
        unused: a sentence for each parameter that the loss does not use.
        traced: the graph before it was simplified.
    """

    graph: Graph
    dim: str
    unused: tuple[str, ...]
    traced: Graph


def trace_step(
    loss: Callable[..., Any],
    params: Any,
    state: Any,
    data: tuple[Any, ...],
    optimizer: Optimizer,
    form: StepForm,
) -> TracedStep:
    """The graph of `(params, state, numbers, batch) -> (params, state, loss)`, simplified.

    Args:
        data: one batch, whose leading axis becomes the loop's Dim.

    Raises:
        GraphirError: where the loss is no function that can be trained.
    """
    unused: list[str] = []

    def step(params: Any, state: Any, *rest: Any) -> tuple[Any, Any, Value]:
        numbers = dict(zip(form.numbers, rest, strict=False))
        batch = rest[len(form.numbers) :]
        leaves, params_tree = leaves_of(params)
        value = _checked(loss(params, *batch))
        refuse_accidental_broadcast(value.graph, batch)
        told = len(value.graph.notes)
        grads = gradients(value, leaves)
        # A trace may start again, so what an earlier start found is forgotten.
        unused[:] = value.graph.notes[told:]
        new, new_state = optimizer.step(leaves, grads, state, numbers)
        return unflatten(params_tree, new), new_state, value

    own, *columns = argument_names(loss, 1 + len(data))
    extra = [_unlike([own, *columns], name) for name in ("state", *form.numbers)]
    arguments = (params, state, *(0.1 for _ in form.numbers), *data)
    traced = trace(
        step, arguments, names=[own, *extra, *columns], dynamic=dict.fromkeys(columns, 0)
    )
    graph = simplify(traced.graph)
    batch = {graph.inputs[i].shape[0] for i in form.batched}
    dim = next(iter(batch))
    if len(batch) > 1 or not isinstance(dim, Dim):
        raise UnsupportedError(
            "train", "the loss needs the number of rows itself, which differs between batches"
            + "".join(f"; {note}" for note in graph.notes),
            hint="use x.mean() or x.shape[0] in arithmetic, not int(n), range(n) or arrays that "
            "the loss closes over and that have one entry a row (pass those as data)",
        )  # fmt: skip
    for i in range(form.params + form.state):
        before, after = graph.inputs[i], graph.outputs[i]
        if before.type != after.type:
            raise DTypeError(
                f"the update of `{graph.names[before]}` is {after.type}, it must stay {before.type}"
            )
    return TracedStep(graph, dim.terms[0][0][0], tuple(unused), traced.graph)


def batch_loop(form: StepForm, dim: str, *, shuffled: bool) -> BatchLoop:
    """The loop around a step: parameters and state are carried in place."""
    carried = tuple((i, i) for i in range(form.params + form.state))
    return BatchLoop(dim, frozenset(form.batched), frozenset(form.stepwise), carried, shuffled)


def _unlike(taken: Sequence[str], name: str) -> str:
    """`name`, or a name like it that the loss's own arguments do not have."""
    return name if name not in taken else _unlike(taken, name + "_")


def _checked(value: Any) -> Value:
    """The loss's result, which must be one number of this trace."""
    if not isinstance(value, Value):
        raise TraceError(
            f"the loss must return a traced scalar, got {type(value).__name__}",
            hint="return the loss itself, computed from params and data, e.g. (r ** 2).mean()",
        )
    if not value.element.is_float:
        raise DTypeError(
            f"the loss must be a floating-point number, got {value.node.type}",
            hint="return a mean or sum of floats; counts have no gradient",
        )
    if value.ndim:
        raise ShapeError(
            f"the loss must be a scalar, got shape {format_shape(value.sizes)}",
            hint="reduce it with .mean() or .sum()",
        )
    return value


def refuse_accidental_broadcast(graph: Graph, batch: Any) -> None:
    """Raise where an op pairs every row with every row because an axis is missing.

    That is: an elementwise op whose operands all have the batch axis once, at different places,
    and one of which was given its place by broadcasting rather than by the user (`x[None, :]`).

    Raises:
        ShapeError: with the user's line.
    """
    rows = {x.sizes[0] for x in leaves_of(batch)[0] if isinstance(x, Value)}

    def spread(node: Node) -> bool:
        """Whether broadcasting put the one batch axis of an operand beside a new one."""
        if node.op != "broadcast":
            return False
        (source,) = node.inputs
        return sum(s in rows for s in source.shape) == 1 and sum(s in rows for s in node.shape) == 2

    def placed_by_user(node: Node) -> bool:
        """Whether the operand had all its axes before: sizes of 1 were stretched, none added."""
        (source,) = node.inputs
        if source.op != "reshape":
            return False
        before = source.inputs[0].shape
        aligned = [(s if d in node.attrs["dims"] else 1) for d, s in enumerate(node.shape)]
        return list(before) == aligned

    for node in graph.nodes:
        if node.kind is not Kind.ELEMENTWISE or len(node.inputs) < 2:
            continue
        stretched = [x for x in node.inputs if spread(x)]
        places = {x.attrs["dims"][_row_axis(x.inputs[0], rows)] for x in stretched}
        if len(places) < 2 or all(map(placed_by_user, stretched)):
            continue
        shapes = " and ".join(f"{format_shape(_given_shape(x))}" for x in stretched)
        lines: list[Location] = graph.locations.get(node, [])
        raise ShapeError(
            f"{node.op}: shapes {shapes} broadcast to {format_shape(node.shape)}: "
            "every row is paired with every row",
            hint="give both the same shape, e.g. predictions[:, 0] or targets[:, None]; "
            "where all pairs are meant, write x[:, None] and y[None, :]",
            location=lines[-1] if lines else None,
        )


def _row_axis(node: Node, rows: set[Any]) -> int:
    return next(i for i, s in enumerate(node.shape) if s in rows)


def _given_shape(node: Node) -> tuple[Any, ...]:
    """The shape of an operand before it was broadcast, with its sizes of 1."""
    (source,) = node.inputs
    return source.inputs[0].shape if source.op == "reshape" else source.shape


@dataclass(eq=False)
class CompiledStep:
    """A step that is ready to run, and the loss alone for validation.

    Attributes:
        traced: its graph.
        build: what runs it.
        form: where its arguments are.
        loss: the loss alone, once it was asked for.
        tuned: the same step with other threads and blocks.
    """

    traced: TracedStep
    build: Build
    form: StepForm
    loss: Entry | None = None
    tuned: dict[Hashable, CompiledStep] = field(default_factory=dict)
