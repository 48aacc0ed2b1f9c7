"""The on-disk cache: entries are whole or absent, and nobody else's directory is trusted."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from graphir.errors import BackendError
from graphir.runtime.cache import MANIFEST, DiskCache, digest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "cache")


def test_digest_frames_its_parts() -> None:
    lists = [(), ("",), ("ab",), ("a", "b"), ("", "ab"), ("ab", ""), (b"ab",), ("s1:a", "b")]
    assert len({digest(*parts) for parts in lists}) == len(lists)
    assert len(digest("x")) == 64
    assert digest("x", b"y") == digest("x", b"y")


def test_put_then_get(cache: DiskCache, tmp_path: Path) -> None:
    other = tmp_path / "big"
    other.write_bytes(b"\0\1" * 1000)
    assert cache.get("k") is None
    entry = cache.put("k", {"a.txt": b"text", "b.so": other})
    assert cache.get("k") == entry
    assert (entry / "a.txt").read_bytes() == b"text"
    assert (entry / "b.so").read_bytes() == other.read_bytes()
    assert set(json.loads((entry / MANIFEST).read_text())["sha256"]) == {"a.txt", "b.so"}
    assert list((cache.root / "aside").iterdir()) == []


def test_the_first_writer_wins(cache: DiskCache) -> None:
    first = cache.put("k", {"a": b"first"})
    assert cache.put("k", {"a": b"second"}) == first
    assert (first / "a").read_bytes() == b"first"


@pytest.mark.parametrize("damage", ["altered", "truncated", "missing", "manifest", "empty"])
def test_a_damaged_entry_is_removed(cache: DiskCache, damage: str) -> None:
    entry = cache.put("k", {"a": b"content", "b": b"more"})
    file = entry / "a"
    if damage == "altered":
        file.write_bytes(b"Content")
    elif damage == "truncated":
        file.write_bytes(b"conten")
    elif damage == "missing":
        file.unlink()
    elif damage == "manifest":
        (entry / MANIFEST).write_text('{"sha256": {"a": ')
    else:
        for each in entry.iterdir():
            each.unlink()
    assert cache.get("k") is None
    assert not entry.exists()
    assert (cache.put("k", {"a": b"again"}) / "a").read_bytes() == b"again"


@pytest.mark.parametrize("key", ["", "../k", "a/b", "a.b", "x" * 129])
def test_a_key_cannot_leave_the_cache(cache: DiskCache, key: str) -> None:
    with pytest.raises(ValueError, match="not a cache key"):
        cache.get(key)


@pytest.mark.parametrize("name", ["../f", "a/b", "..", "", MANIFEST])
def test_a_file_name_is_plain(cache: DiskCache, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain file name"):
        cache.put("k", {name: b""})


def test_the_directory_is_private(cache: DiskCache) -> None:
    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700
    entry = cache.put("k", {"a": b""})
    assert stat.S_IMODE(entry.stat().st_mode) == 0o700


def test_the_environment_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHIR_CACHE_DIR", str(tmp_path / "chosen"))
    assert DiskCache.default().root == tmp_path / "chosen"
    monkeypatch.delenv("GRAPHIR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    if sys.platform == "linux":
        assert DiskCache.default().root == tmp_path / "xdg" / "graphir"


def test_a_foreign_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    with pytest.raises(BackendError, match="belongs to another user") as caught:
        DiskCache(tmp_path)
    assert caught.value.hint is not None
    assert "GRAPHIR_CACHE_DIR" in caught.value.hint


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o1777])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(BackendError, match="written by other users"):
        DiskCache(tmp_path)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="cannot be used"):
        DiskCache(tmp_path / "file" / "cache")


STORM = """
import sys
from graphir.runtime.cache import DiskCache
cache, me = DiskCache(sys.argv[1]), sys.argv[2]
for turn in range(120):
    key = f"k{turn % 3}"
    entry = cache.put(key, {"a": me.encode() * 3000, "b": me.encode()})
    if turn % 7 == int(me) % 7:
        try:
            (entry / "a").write_bytes(b"damaged")
        except FileNotFoundError:
            pass
    found = cache.get(key)
    if found is not None:
        try:
            text = (found / "b").read_bytes()
        except FileNotFoundError:
            continue
        assert text in b"012345", text
"""


def test_many_processes_at_once(cache: DiskCache) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", STORM, str(cache.root), str(me)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for me in range(6)
    ]
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert list((cache.root / "aside").iterdir()) == []
    for key in ("k0", "k1", "k2"):
        entry = cache.get(key) or cache.put(key, {"a": b"", "b": b""})
        assert cache.get(key) == entry
