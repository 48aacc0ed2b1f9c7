"""Errors that teach: what was expected, what arrived, the user's line, one thing to try."""

from __future__ import annotations

import functools
import sys
import sysconfig
from pathlib import Path
from types import FrameType
from typing import NamedTuple


class Location(NamedTuple):
    """A line of the user's own code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}"


PACKAGE = str(Path(__file__).resolve().parent)
# The folders whose frames are never the user's: graphir itself (its real folders, behind the
# symbolic links of a checkout), and the libraries through which a call reaches it.
_OURS = (
    PACKAGE,
    str(Path(PACKAGE).parent / "codegen"),
    str(Path(PACKAGE).parent / "runtime"),
)
# Python itself: its library, and what runs a module as a script.
_PYTHON = ("<frozen ", sysconfig.get_paths()["stdlib"])
_LIBRARIES = tuple(f"site-packages/{name}/" for name in ("torch", "numpy", "optree", "_pytest"))


@functools.cache
def _is_users(file: str) -> bool:
    """Whether a file is the user's: asked of the same few files at every node."""
    python = file.startswith(_PYTHON) and "site-packages" not in file
    return not (python or file.startswith(_OURS) or any(name in file for name in _LIBRARIES))


def user_location() -> Location | None:
    """The innermost frame that belongs to the user, or None when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        # What `dataclass` writes for graphir's classes has no file.
        own = file == "<string>" and frame.f_globals.get("__name__", "").startswith("graphir.")
        if _is_users(file) and not own:
            return Location(file, frame.f_lineno)
        frame = frame.f_back
    return None


class GraphirError(Exception):
    """The base of every error that graphir raises on purpose.

    Args:
        message: what was expected and what arrived (shapes, dtypes).
        hint: one thing to try.
        location: the user's line; found on the stack when not given.
    """

    def __init__(
        self, message: str, *, hint: str | None = None, location: Location | None = None
    ) -> None:
        self.message = message
        self.hint = hint
        self.location = location if location is not None else user_location()
        # What was traced before the error, where it rose while tracing: for the page about it.
        self.graph: object = None
        where = f"   at {self.location}" if self.location else ""
        super().__init__(message + where + (f"\ntry: {hint}" if hint else ""))


class ShapeError(GraphirError):
    """Shapes that do not fit together."""


class DTypeError(GraphirError):
    """A dtype that the operation does not take."""


class UnsupportedError(GraphirError):
    """A function or form that graphir does not know; `.name` is what the user called."""

    def __init__(
        self,
        name: str,
        message: str,
        *,
        hint: str | None = None,
        location: Location | None = None,
    ) -> None:
        self.name = name
        super().__init__(message, hint=hint, location=location)


class TraceError(GraphirError):
    """Control flow on a traced value, or a traced value that left its trace."""


class BackendError(GraphirError):
    """No compiler, a kernel that does not build, a device that is not there."""


class DivergedError(GraphirError):
    """Training stopped because the loss is no longer finite."""
