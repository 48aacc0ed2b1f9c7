"""Who trains: graphir and its peers. JAX and scikit-learn are optional."""

from __future__ import annotations

import importlib.util

from .peer_graphir import Graphir, GraphirSteps, GraphirTuned
from .peer_numpy import NumPy
from .peer_torch import TorchCompile, TorchEager, TorchGraphs, TorchMaxAutotune
from .runner import Make
from .workloads import Workload


def contestants(workload: Workload, device: str) -> dict[str, Make]:
    """Who can run a workload here, by name; graphir first."""
    gpu = device.startswith("cuda")
    found: dict[str, Make] = {
        "graphir": GraphirSteps if gpu else Graphir, "torch eager": TorchEager,
        "torch.compile": TorchCompile,
    }  # fmt: skip
    if importlib.util.find_spec("jax"):
        from .peer_jax import JaxJit, JaxScan, has_device

        if has_device(device):
            found |= {"JAX jit": JaxJit, "JAX scan": JaxScan}
    if gpu:
        found |= {
            "graphir tuned": GraphirTuned,
            "torch reduce-overhead": TorchGraphs,
            "torch max-autotune": TorchMaxAutotune,
        }
    if device == "cpu":
        found["NumPy"] = NumPy
        if workload.sklearn is not None and importlib.util.find_spec("sklearn"):
            from .peer_sklearn import ScikitLearn

            found["scikit-learn"] = ScikitLearn
    return found
