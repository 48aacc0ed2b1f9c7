"""Where the GPU's tests run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where the tests run.

    Attributes:
        backend, device: of graphir's and torch's names.
        real: whether it is a GPU.
    """

    backend: str
    device: str
    real: bool

    def scaled(self, real: int, rehearsed: int) -> int:
        """A size or number of runs."""
        return real if self.real else rehearsed
