"""The figures that graphir is to reach on an H100."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """What a workload should reach.

    Attributes:
        bandwidth: of the measured copy bandwidth, reading the data once.
        seconds: of a step, at most.
        over: by peer, its time over graphir's, at least.
    """

    bandwidth: float | None = None
    seconds: float | None = None
    over: Mapping[str, float] | None = None


AIMS = {
    "linreg_full": Aim(0.90, None, {"torch.compile": 1.8, "JAX jit": 1.8, "JAX scan": 1.8}),
    "linreg_full_x16": Aim(0.90, None, {"torch.compile": 1.8, "JAX jit": 1.8, "JAX scan": 1.8}),
    "softmax_full": Aim(0.80, None, {"torch.compile": 1.8}),
    "softmax_full_x17": Aim(0.80, None, {"torch.compile": 1.8}),
    "poly_eltwise": Aim(0.85),
    "linreg_sgd": Aim(seconds=2e-6),
    "softmax_sgd": Aim(seconds=6e-6),
    "mlp_sgd": Aim(over={"torch max-autotune": 3.0}),
    "wide_mlp": Aim(over={"torch max-autotune": 1.0}),
}
