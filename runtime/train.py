"""`graphir.train`: the whole training step as kernels, run in a compiled loop over mini-batches."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphir.codegen.machine import Precision
from graphir.dtypes import dtype_of
from graphir.errors import DivergedError
from graphir.frontend.torch_modules import update_in_place
from graphir.trees import NAMESPACE, unflatten

from .arrays import (
    check_ranges,
    is_tensor,
    leaf_names,
    leaves_of,
    shape_of,
    signature,
    to_memory,
    to_user,
)
from .backends import Build, check_options, choose
from .compiled import Entry, compile_entry
from .debug import timed
from .executable import Call, Memory, count_steps
from .history import History, TrainResult
from .optim import Clipped, Optimizer, learning_rates
from .progress import EpochProgress
from .step import COMPILED_STEPS, CompiledStep, StepForm, batch_loop, trace_step
from .train_checks import Task, diverged

SLICE_SECONDS = 0.05
"""How long the kernels run at a time: progress shows and Ctrl-C works in between."""


def train(
    loss: Callable[..., Any],
    params: Any,
    data: Any,
    *,
    optimizer: Optimizer,
    batch_size: int | None = None,
    epochs: int = 1,
    seed: int = 0,
    shuffle: bool = True,
    clip_value: float | None = None,
    clip_norm: float | None = None,
    validation: Any = None,
    backend: str = "auto",
    threads: int | None = None,
    precision: Precision = "highest",
    progress: bool = True,
) -> TrainResult:
    """Minimise `loss(params, *data)` by mini-batches.

    Loss, gradients and update are compiled into one step, and the loop over the batches with it.
    The step is kept for as long as `loss` is: numbers that it closes over are read once.

    Args:
        loss: returns one number for a batch, e.g. the mean of the squared errors.
        params: a tree of floating-point arrays, which are copied and never written, or of
            torch modules, whose parameters are updated in place once training has ended.
        data: a tuple (or list) of arrays or trees of arrays that share their leading axis, the
            rows; anything else is passed to the loss as its one argument.
        optimizer: e.g. `graphir.optim.SGD(lr=0.1)`.
        batch_size: rows a step, by default all; the last batch of an epoch may be smaller.
        epochs: how often each row is seen.
        seed: of the order of the rows; the same seed gives the same bits.
        shuffle: draw a new order for each epoch.
        clip_value: clip each element of the gradients to [-clip_value, clip_value].
        clip_norm: scale all gradients together so that their norm is at most this. Clipping is
            what happens between a loss and any optimizer, so it is no optimizer's option.
        validation: data of the same form, whose loss is measured after each epoch.
        backend, threads, precision: as for `graphir.compile`.
        progress: show a bar, where there is a terminal.

    Raises:
        ShapeError, DTypeError, TraceError: where the loss, params and data do not fit together.
        DivergedError: where the loss is no longer finite.
    """
    started = time.perf_counter()
    check_options(backend, threads, precision)
    task = Task.checked(loss, params, data, validation, batch_size, epochs, seed)
    if clip_value is not None or clip_norm is not None:
        optimizer = Clipped(optimizer, clip_value, clip_norm)
    step = compiled_step(task, optimizer, shuffle, backend, threads, precision)
    scored = _Validation(task, step.build) if validation is not None else None
    for sentence in step.traced.unused:
        warnings.warn(sentence, UserWarning, stacklevel=2)
    run = _Run(task, step, optimizer, seed)
    compiled = time.perf_counter()
    history = History()
    with EpochProgress(epochs, task.rows, show=progress) as bar:
        for epoch in range(epochs):
            run.epoch(epoch, history, bar)
            if scored is not None:
                history.validation_loss.append(scored(run.params(), epoch))
            bar.finish_epoch(history)
    run.check_params()
    trained = unflatten(leaves_of(task.params)[1], run.params())
    trained = update_in_place(params, trained, NAMESPACE)
    return TrainResult(
        trained, history, compiled - started, sum(history.seconds), step.build.backend,
        run.call.programs, step.build, {"rows": task.rows, "batch": task.batch},
    )  # fmt: skip


def compiled_step(
    task: Task,
    optimizer: Optimizer,
    shuffle: bool,
    backend: str,
    threads: int | None,
    precision: Precision,
) -> CompiledStep:
    """The step from the cache, or a new one."""
    arrays = task.param_leaves + task.data_leaves
    chosen = choose(backend, arrays)
    # The order of the rows within the one batch of an epoch changes nothing but rounding.
    shuffled = shuffle and task.batch < task.rows
    key = ("step", task.key(), optimizer.structure(), chosen, threads, shuffled, precision)

    def make() -> CompiledStep:
        state = _initial_state(task, optimizer)
        nothing = np.zeros(0)
        form = StepForm(
            len(task.param_leaves), len(leaves_of(state)[0]),
            tuple(optimizer.stepped(nothing, nothing)), tuple(optimizer.hyper()),
            len(task.data_leaves),
        )  # fmt: skip
        columns, tree = leaves_of(task.data)
        batch = unflatten(tree, [x[: task.batch] for x in columns])
        with timed("trace and differentiate", "step"):
            traced = trace_step(task.loss, task.params, state, batch, optimizer, form)
        loop = batch_loop(form, traced.dim, shuffled=shuffled)
        device = next((x.device for x in arrays if is_tensor(x)), None)
        name = getattr(task.loss, "__name__", type(task.loss).__name__)
        build = Build(
            traced.graph, f"{name}_step", chosen, loop, threads, device, traced.traced, precision
        )
        return CompiledStep(traced, build, form)

    step: CompiledStep = COMPILED_STEPS.get(task.loss, key, make)
    return step


def _initial_state(task: Task, optimizer: Optimizer) -> Any:
    """The optimizer's first state, of the same kind of arrays as the parameters."""
    weights = task.param_leaves
    tensor = any(map(is_tensor, weights))
    state = optimizer.init([np.empty(shape_of(x), dtype_of(x.dtype).numpy) for x in weights])
    leaves, tree = leaves_of(state)
    return unflatten(tree, [to_user(x, tensor=tensor) for x in leaves])


def _copy(x: Any) -> Any:
    return x.detach().clone() if is_tensor(x) else np.array(x, order="C")


class _Run:
    """One training under way: the memory that the steps work on."""

    def __init__(self, task: Task, step: CompiledStep, optimizer: Optimizer, seed: int) -> None:
        self.task, self.optimizer, self.seed = task, optimizer, seed
        executable = step.build.executable
        self.backend, graph, form = executable.backend, step.build.graph, step.form
        self.steps = count_steps(task.rows, task.batch)
        leaves = [_copy(x) for x in task.param_leaves]
        leaves += leaves_of(_initial_state(task, optimizer))[0]
        leaves += [np.zeros(self.steps, graph.inputs[i].dtype.numpy) for i in form.stepwise]
        hyper = optimizer.hyper()
        leaves += [hyper[name] for name in form.hyper]
        leaves += task.data_leaves
        leaves += [graph.captured[x] for x in graph.inputs[len(leaves) :]]
        memory = [
            to_memory(x, node.dtype.numpy, self.backend)
            for node, x in zip(graph.inputs, leaves, strict=True)
        ]
        check_ranges(graph, memory)
        self.weights: list[Memory] = memory[: form.params]
        self.stepped = {n: memory[i] for n, i in zip(form.stepped, form.stepwise, strict=True)}
        self.data: list[Memory] = [memory[i] for i in form.batched]
        loop = step.build.loop
        self.order: Memory | None = None
        if loop is not None and loop.shuffled:
            self.order = self.backend.upload(np.arange(task.rows, dtype=np.int64))
        sizes = {"rows": task.rows, "batch": task.batch}
        self.call: Call = executable.bind(memory, sizes, order=self.order)
        self.losses: Memory = self.call.outputs[-1]
        self.slice = 1

    def params(self) -> list[Any]:
        """The parameters as they stand, in the kinds that the user gave."""
        kinds = self.task.param_leaves
        return [to_user(w, tensor=is_tensor(x)) for w, x in zip(self.weights, kinds, strict=True)]

    def epoch(self, epoch: int, history: History, bar: EpochProgress) -> None:
        """All steps of one epoch, a slice after the other."""
        task, steps = self.task, self.steps
        started = time.perf_counter()
        if self.order is not None:
            bits = np.random.Philox(key=np.array([self.seed % 2**64, epoch], np.uint64))
            self.backend.write(self.order, np.random.Generator(bits).permutation(task.rows))
        rates = learning_rates(
            self.optimizer.lr, epoch * steps, (epoch + 1) * steps, task.epochs * steps
        )
        counted = np.arange(epoch * steps + 1, (epoch + 1) * steps + 1, dtype=np.float64)
        for name, numbers in self.optimizer.stepped(rates, counted).items():
            self.backend.write(self.stepped[name], numbers)
        epoch_losses = np.empty(steps)
        first = 0
        while first < steps:
            last = min(first + self.slice, steps)
            began = time.perf_counter()
            self.call.run(first, last)
            epoch_losses[first:last] = self.backend.read(self.losses)[first:last]
            self._check(epoch, slice(first, last), epoch_losses, rates, history)
            self._pace(last - first, time.perf_counter() - began)
            first = last
            bar.advance(min(last * task.batch, task.rows), float(epoch_losses[last - 1]))
        history.add_steps(epoch_losses, rates)
        rest = task.rows - (steps - 1) * task.batch
        total = task.batch * float(epoch_losses[:-1].sum()) + rest * float(epoch_losses[-1])
        history.loss.append(total / task.rows)
        seconds = time.perf_counter() - started
        history.seconds.append(seconds)
        history.rows_per_second.append(task.rows / seconds)

    def check_params(self) -> None:
        """Raise DivergedError where the last step left parameters that are not finite."""
        for name, w in zip(self.task.names, self.weights, strict=False):
            if not np.isfinite(self.backend.read(w)).all():
                raise DivergedError(
                    f"the parameter `{name}` is not finite after the last step",
                    hint="lower the learning rate, or standardise the data",
                )

    def _check(
        self,
        epoch: int,
        done: slice,
        losses: np.ndarray[Any, Any],
        rates: np.ndarray[Any, Any],
        history: History,
    ) -> None:
        """Raise DivergedError where a loss of the epoch's steps `done` is not finite."""
        finite = np.isfinite(losses[done])
        if finite.all():
            return
        bad = done.start + int(np.argmin(finite))
        before = [*history.step_loss[-1:], *losses[:bad].tolist()][-1:]
        raise diverged(
            self.task.names[len(self.weights) :],
            [self.backend.read(x) for x in self.data],
            f"the loss is {losses[bad]} in epoch {epoch + 1}, step {bad + 1}",
            before=before[0] if before else None,
            lr=float(rates[bad]),
        )

    def _pace(self, steps: int, seconds: float) -> None:
        """Aim the next slice at SLICE_SECONDS; how steps are sliced never changes their bits."""
        aimed = int(steps * SLICE_SECONDS / max(seconds, 1e-9))
        self.slice = max(1, min(aimed, 8 * self.slice))


class _Validation:
    """The loss alone, on the validation data, all rows at once."""

    def __init__(self, task: Task, build: Build) -> None:
        assert task.validation is not None
        args = (task.params, *task.validation)
        weights = len(task.param_leaves)
        self.leaves: Sequence[Any] = leaves_of(args)[0][weights:]
        self.names = leaf_names(task.loss, args)[weights:]
        kinds = tuple(map(signature, self.leaves))
        key = ("loss", task.key(), kinds, build.backend, build.threads, build.precision)

        def make() -> Entry:
            return compile_entry(
                task.loss, args, name=f"{build.name}_validation", backend=build.backend,
                threads=build.threads, precision=build.precision,
            )  # fmt: skip

        self.entry: Entry = COMPILED_STEPS.get(task.loss, key, make)
        shapes = [shape_of(x) for x in leaves_of(args)[0]]
        sizes = self.entry.sizes(shapes)
        if sizes is None:
            # The loss was specialised to another number of rows.
            self.entry = make()
            sizes = self.entry.sizes(shapes)
        assert sizes is not None
        self.sizes = sizes
        # Built now, so that no epoch's time holds it.
        assert self.entry.build.executable is not None

    def __call__(self, params: Sequence[Any], epoch: int) -> float:
        """The loss at these parameters.

        Raises:
            DivergedError: where it is not finite.
        """
        loss = float(self.entry.call([*params, *self.leaves], self.sizes))
        if not np.isfinite(loss):
            read = self.entry.build.executable.backend
            data = [read.read(read.upload(x)) for x in self.leaves]
            raise diverged(
                self.names, data, f"the validation loss is {loss} after epoch {epoch + 1}"
            )
        return loss
