"""Optimizers, learning-rate schedules and gradient clipping: compiled together with the loss."""

from .adaptive import Adagrad, Adam, AdamW, RMSprop
from .clip import Clipped
from .protocol import Optimizer, Schedule, State
from .schedules import constant, cosine, is_constant, learning_rates, step, warmup
from .sgd import SGD

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Clipped",
    "Optimizer",
    "RMSprop",
    "Schedule",
    "State",
    "constant",
    "cosine",
    "is_constant",
    "learning_rates",
    "step",
    "warmup",
]
