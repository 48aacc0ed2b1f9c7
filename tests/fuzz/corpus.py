"""The kept programs: each found a fault once, or runs what few others do. They are text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.program import Program, from_json

PATH = Path(__file__).with_name("corpus.jsonl")


def load(path: Path = PATH) -> list[Program]:
    """The programs of a file, one a line."""
    if not path.exists():
        return []
    return [from_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def append(programs: Iterable[Program], path: Path = PATH) -> None:
    """Add programs that are not there yet."""
    known = {p.to_json() for p in load(path)}
    with path.open("a", encoding="utf-8") as file:
        for program in programs:
            if program.to_json() not in known:
                file.write(program.to_json() + "\n")
