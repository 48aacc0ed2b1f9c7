"""The on-disk cache: what was built once is found again, by any process of the same user.

An entry is a directory written aside and renamed into place, so that no reader ever sees half of
one. Its manifest holds the sha256 of every file and is checked on every load: a truncated or
altered entry is thrown away and built again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from graphir.errors import BackendError

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    HAS_LOCKS = False
else:
    HAS_LOCKS = True

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST = "manifest.json"
_KEY = re.compile(r"[0-9A-Za-z_-]{1,128}")


def digest(*parts: str | bytes) -> str:
    """The sha256 of the parts, in hex.

    Each part is preceded by its kind and length, so that different lists of parts never give the
    same bytes: `digest("ab", "c") != digest("a", "bc")`, and text differs from equal bytes.
    """
    total = hashlib.sha256()
    for part in parts:
        kind, data = ("s", part.encode()) if isinstance(part, str) else ("b", part)
        total.update(f"{kind}{len(data)}:".encode())
        total.update(data)
    return total.hexdigest()


class DiskCache:
    """A directory of entries, private to one user and safe for many processes at once.

    Args:
        root: the directory; made with mode 0700 when missing.

    Raises:
        BackendError: the directory cannot be made, belongs to another user, or can be written by
            others (whoever can write there chooses the code that this process loads).
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).expanduser().absolute()
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_owner(self.root)
            for name in ("entries", "aside"):
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as failure:
            raise BackendError(
                f"the cache directory {self.root} cannot be used: {failure}",
                hint="set GRAPHIR_CACHE_DIR to a directory that you can write",
            ) from failure

    @classmethod
    def default(cls) -> DiskCache:
        """The user's own cache: $GRAPHIR_CACHE_DIR, else the platform's cache directory."""
        chosen = os.environ.get("GRAPHIR_CACHE_DIR")
        return cls(chosen or platformdirs.user_cache_dir("graphir", appauthor=False))

    def get(self, key: str) -> Path | None:
        """The directory of an intact entry, else None (a damaged entry is removed).

        Args:
            key: letters, digits, `-` and `_`, as `digest` gives.
        """
        entry = self._entry(key)
        if _is_intact(entry):
            return entry
        if entry.exists():
            self._discard(entry)
        return None

    def put(self, key: str, files: Mapping[str, bytes | Path]) -> Path:
        """Store files under a key and give the entry's directory.

        Args:
            key: letters, digits, `-` and `_`.
            files: plain file names, each with its bytes or a file to copy.

        Returns:
            The entry. When another process stored the same key first, its entry is the one.

        Raises:
            BackendError: the files cannot be written.
        """
        entry = self._entry(key)
        with self.scratch() as scratch:
            aside = scratch / key
            aside.mkdir(mode=0o700)
            try:
                _write(aside, files)
                for _ in range(16):
                    # A rename never replaces a full directory: the first writer wins.
                    with contextlib.suppress(OSError):
                        aside.rename(entry)
                        return entry
                    winner = self.get(key)
                    if winner is not None:
                        return winner
                aside.rename(entry)
            except OSError as failure:
                raise BackendError(
                    f"cannot write to the cache directory {self.root}: {failure}",
                    hint="make room there, or set GRAPHIR_CACHE_DIR to another directory",
                ) from failure
        return entry

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A private directory on the cache's own disk, removed at the end of the block."""
        path = Path(tempfile.mkdtemp(dir=self.root / "aside"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _entry(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a cache key: {key!r}")
        return self.root / "entries" / key

    def _discard(self, entry: Path) -> None:
        """Remove a damaged entry, unless somebody has meanwhile replaced it by a good one."""
        with self._locked(), self.scratch() as scratch:
            if not _is_intact(entry):
                with contextlib.suppress(FileNotFoundError):
                    entry.rename(scratch / "damaged")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the cache's one lock, which the kernel drops when the process dies."""
        with (self.root / "lock").open("a") as lock:
            if HAS_LOCKS:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _check_owner(root: Path) -> None:
    """Refuse a directory that other users own or can write."""
    if not hasattr(os, "geteuid"):
        return
    status = root.stat()
    hint = "set GRAPHIR_CACHE_DIR to a directory of your own"
    if status.st_uid != os.geteuid():
        raise BackendError(
            f"the cache directory {root} belongs to another user (uid {status.st_uid}, "
            f"this process is uid {os.geteuid()})",
            hint=hint,
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise BackendError(
            f"the cache directory {root} can be written by other users "
            f"(mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod 700 {root}, or {hint}",
        )


def _write(directory: Path, files: Mapping[str, bytes | Path]) -> None:
    """Write the files and, last, their manifest."""
    sums = {}
    for name, content in files.items():
        if name != Path(name).name or name in ("", ".", "..", MANIFEST):
            raise ValueError(f"not a plain file name: {name!r}")
        data = content if isinstance(content, bytes) else content.read_bytes()
        (directory / name).write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()
    (directory / MANIFEST).write_text(json.dumps({"sha256": sums}, sort_keys=True))


def _is_intact(entry: Path) -> bool:
    """Whether the entry's manifest can be read and every file has the sum it names."""
    try:
        sums = json.loads((entry / MANIFEST).read_bytes())["sha256"]
        return all(
            hashlib.sha256((entry / name).read_bytes()).hexdigest() == expected
            for name, expected in sums.items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
