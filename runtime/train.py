"""`graphir.train`: the whole training step as kernels, run in a compiled loop over mini-batches."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphir.codegen.machine import Precision
from graphir.dtypes import dtype_of
from graphir.frontend.torch_modules import update_in_place
from graphir.given import require_flag
from graphir.trees import NAMESPACE, leaf_names, unflatten

from .arrays import check_ranges, is_tensor, leaves_of, shape_of, signature, to_user
from .backends import Build, check_options, choose, device_of
from .debug import timed
from .entry import Entry, compile_entry
from .epochs import Epochs
from .history import History, TrainResult
from .optim import Clipped, Optimizer
from .optim.protocol import check_optimizer
from .progress import EpochProgress
from .step import COMPILED_STEPS, CompiledStep, StepForm, batch_loop, trace_step
from .train_checks import Task, diverged
from .tuning import Tuned, check_tune, shortest_step, tuned


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
    tune: bool | Tuned = False,
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
        tune: measure a few block sizes, and numbers of threads, on this data, and take the fastest
            (kept on disk for the next time). Or an earlier result's `tuning`, to run the same
            again. Without it everything follows from the sizes, and never from a measurement.
        progress: show a bar, where there is a terminal.

    Raises:
        ShapeError, DTypeError, TraceError: where the loss, params and data do not fit together.
        DivergedError: where the loss is no longer finite.
    """
    started = time.perf_counter()
    check_options(backend, threads, precision)
    check_tune(tune, backend)
    check_optimizer(optimizer)
    shuffle = require_flag("train", "shuffle", shuffle)
    task = Task.checked(loss, params, data, validation, batch_size, epochs, seed)
    if clip_value is not None or clip_norm is not None:
        optimizer = Clipped(optimizer, clip_value, clip_norm)
    step = compiled_step(task, optimizer, shuffle, backend, threads, precision)
    chosen = None
    if tune:
        step, chosen = tuned_step(task, step, optimizer, tune)
    scored = _Validation(task, step.build) if validation is not None else None
    for sentence in step.traced.unused:
        warnings.warn(sentence, UserWarning, stacklevel=2)
    state = leaves_of(initial_state(task, optimizer))[0]
    history = History()
    with EpochProgress(epochs, task.rows, show=progress) as bar:
        run = Epochs(task, step, optimizer, state, seed, history, bar, scored)
        compiled = time.perf_counter()
        run.run()
    run.check_params()
    trained = unflatten(leaves_of(task.params)[1], run.params())
    trained = update_in_place(params, trained, NAMESPACE)
    return TrainResult(
        trained, history, compiled - started, sum(history.seconds), step.build.backend,
        run.call.programs, step.build, {"rows": task.rows, "batch": task.batch}, chosen,
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
        state = initial_state(task, optimizer)
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
        device = device_of(arrays)
        name = getattr(task.loss, "__name__", type(task.loss).__name__)
        build = Build(
            traced.graph, f"{name}_step", chosen, loop, threads, device, traced.traced, precision
        )
        return CompiledStep(traced, build, form)

    step: CompiledStep = COMPILED_STEPS.get(task.loss, key, make)
    return step


_TRIED_STEPS = 64
"""The most steps that a candidate is measured by."""


def tuned_step(
    task: Task, step: CompiledStep, optimizer: Optimizer, tune: bool | Tuned
) -> tuple[CompiledStep, Tuned]:
    """The step as `tune` asks for, and what that is. Measuring works on copies."""
    check_tune(tune, step.build.backend)
    state = leaves_of(initial_state(task, optimizer))[0]

    def measure(build: Build) -> float:
        trial = replace(step, build=build)
        bar = EpochProgress(task.epochs, task.rows, show=False)
        run = Epochs(task, trial, optimizer, state, 0, History(), bar, None)
        run.prepare(0)
        return shortest_step(run.backend, run.call.run, min(run.steps, _TRIED_STEPS))

    sizes = {"rows": task.rows, "batch": task.batch}
    found = tuned(step.build, tune, sizes, measure)
    key = (found.threads, tuple(sorted(found.choices.items())))
    if key not in step.tuned:
        step.tuned[key] = replace(step, build=found.applied(step.build), tuned={})
    return step.tuned[key], found


def initial_state(task: Task, optimizer: Optimizer) -> Any:
    """The optimizer's first state, of the same kind of arrays as the parameters."""
    weights = task.param_leaves
    tensor = any(map(is_tensor, weights))
    state = optimizer.init([np.empty(shape_of(x), dtype_of(x.dtype).numpy) for x in weights])
    leaves, tree = leaves_of(state)
    return unflatten(tree, [to_user(x, tensor=tensor) for x in leaves])


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
        executable = self.entry.build.executable
        memory = self.entry.memory([*params, *self.leaves])
        check_ranges(self.entry.graph, memory)
        (found,) = executable.run(memory, self.sizes)
        loss = float(executable.backend.read(found))
        if not np.isfinite(loss):
            read = self.entry.build.executable.backend
            data = [read.read(read.upload(x)) for x in self.leaves]
            raise diverged(
                self.names, data, f"the validation loss is {loss} after epoch {epoch + 1}"
            )
        return loss
