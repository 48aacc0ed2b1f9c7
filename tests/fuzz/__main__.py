"""A long run: `make fuzz`, or `python -m tests.fuzz --graphs 20000 --seed 0 --jobs 2`.

Each graph is the program of one seed. All of them go through all three backends, in one call of
value, gradient and second gradient (as far as the program asks for them). The C of one in eight is
built as users build it, of the others with -O1. Results are kept in a file, from which a run
goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.fuzz import corpus
from tests.fuzz.compare import BACKENDS, RULES
from tests.fuzz.generate import seeded
from tests.fuzz.program import Program, from_json
from tests.fuzz.reduce import reduced
from tests.fuzz.work import FULL, examined

# A worker that has loaded so many libraries is replaced by a new one.
CHUNK = 250
ROOT = Path(__file__).resolve().parents[2]


class Run:
    """What is known so far: a line of JSON for each seed that is done, in a file.

    Args:
        path: the file; what it holds is not done again.
    """

    def __init__(self, path: Path, wanted: range) -> None:
        self.path, self.wanted = path, wanted
        self.done: dict[int, dict[str, Any]] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                if entry["seed"] in wanted:
                    self.done[entry["seed"]] = entry

    def add(self, entry: dict[str, Any]) -> None:
        """Keep a result, and tell of a mismatch."""
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            self.done[entry["seed"]] = entry
        for backend, rule, message in entry["mismatches"][:1]:
            print(f"\nMISMATCH at seed {entry['seed']}: {backend}, {rule}: {message}", flush=True)

    def results(self) -> list[dict[str, Any]]:
        """What is known at this moment, while workers add to it."""
        with self._lock:
            return list(self.done.values())

    def chunks(self) -> list[list[int]]:
        """What is left to do, a worker's share at a time."""
        left = [seed for seed in self.wanted if seed not in self.done]
        chunks: list[list[int]] = []
        for seed in left:
            near = chunks and seed == chunks[-1][-1] + 1 and len(chunks[-1]) < CHUNK
            if near:
                chunks[-1].append(seed)
            else:
                chunks.append([seed])
        return chunks


def work(run: Run, chunks: list[list[int]], deadline: float) -> None:
    """Take chunks until there are none, each in a process of its own."""
    while chunks and time.monotonic() < deadline:
        chunk = chunks.pop(0)
        first, last = chunk[0], chunk[-1] + 1
        while first < last:
            first = _one_process(run, first, last)


def _one_process(run: Run, first: int, last: int) -> int:
    """Run a worker; the seed after the one that it ended with."""
    command = [sys.executable, "-P", "-m", "tests.fuzz.work", str(first), str(last)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=ROOT
    ) as worker:
        assert worker.stdout is not None
        begun = first
        for line in worker.stdout:
            entry = json.loads(line)
            if "begin" in entry:
                begun = entry["begin"]
            else:
                run.add(entry)
        status = worker.wait()
    if begun not in run.done:
        run.add(
            {"seed": begun, "seconds": 0.0, "refused": "", "cases": [], "elements": 0, "sharp": 0,
             "mismatches": [["any", "value", f"the process ended with status {status}"]]}
        )  # fmt: skip
    return max(begun + 1, first + 1)


def summary(run: Run) -> str:
    """Counts by op, backend and rule, refusals, and how sharp the comparisons were."""
    entries = run.results()
    cases: Counter[tuple[str, str, str]] = Counter()
    refused: Counter[str] = Counter()
    for entry in entries:
        cases.update(tuple(case.split("|")) for case in entry["cases"])
        if entry["refused"]:
            refused[entry["refused"]] += 1
    lines = []
    for kind, title in (("op ", "primitive"), ("fn ", "function of the catalogue")):
        rules = (*RULES, "in a derivative") if kind == "op " else RULES
        head = f"{title:28s}" + "".join(f"{b} {r}".rjust(28) for b in BACKENDS[:1] for r in rules)
        lines += ["", f"graphs by {title} and rule (each on {', '.join(BACKENDS)})", head]
        for name in sorted({n for n, _, _ in cases if n.startswith(kind)}):
            counts = [[cases[name, b, r] for b in BACKENDS] for r in rules]
            same = all(len(set(c)) == 1 for c in counts)
            shown = "".join(
                (str(c[0]) if same else "/".join(map(str, c))).rjust(28) for c in counts
            )
            lines.append(f"{name[3:]:28s}{shown}")
    lines += ["", f"{len(cases)} op or function × backend × rule cases, in all {cases.total()}"]
    elements = sum(e["elements"] for e in entries)
    sharp = sum(e["sharp"] for e in entries)
    if elements:
        lines.append(
            f"{elements} floating elements a backend, {100 * sharp / elements:.1f} % of them "
            "compared within a thousandth"
        )
    lines += [f"refused {count} times: {text}" for text, count in refused.most_common(12)]
    seconds = sum(e["seconds"] for e in entries)
    lines.append(f"{seconds / max(1, len(entries)):.3f} s a graph; 1 in {FULL} built as for users")
    return "\n".join(lines)


def show_reduced(seed: int, program: Program, keep: bool) -> None:
    """Reduce a failing program, print it, and keep it in the corpus if asked to."""
    quick = seed % FULL != 0
    found = examined(program, quick).mismatches
    kinds = {(m.backend, m.message.split(":")[0][:12]) for m in found}

    def fails(smaller: Program) -> bool:
        return any(m.backend in {b for b, _ in kinds} for m in examined(smaller, quick).mismatches)

    if not found:
        print(f"\n# seed {seed}: passes now")
        return
    small = reduced(program, fails)
    print(f"\n# seed {seed}, reduced:")
    print(small.script())
    for mismatch in examined(small, quick).mismatches:
        print(f"# {mismatch}")
    if keep:
        corpus.append([small])


def progress(run: Run, started: float, before: int) -> None:
    """A line on stderr of how far it is."""
    entries = run.results()
    done, bad = len(entries), sum(bool(e["mismatches"]) for e in entries)
    rate = (done - before) / max(1e-9, time.monotonic() - started)
    left = (len(run.wanted) - done) / rate / 60 if rate else 0.0
    text = f"{done} of {len(run.wanted)} graphs, {bad} mismatches, {left:.0f} min left"
    sys.stderr.write(f"\r{text}   ")
    sys.stderr.flush()


def main() -> int:
    """Run, report, and say by the exit status whether every graph matched."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--graphs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--state", type=Path, default=ROOT / "out" / "fuzz.jsonl")
    parser.add_argument("--again", action="store_true", help="what did not match is run anew")
    parser.add_argument("--reduce", type=int, default=10, help="so many mismatches at most")
    parser.add_argument("--keep", action="store_true", help="add reduced programs to the corpus")
    parser.add_argument("--show", type=int, help="print the program of this seed and end")
    options = parser.parse_args()
    if options.show is not None:
        program = seeded(options.show)
        print(program.script())
        for mismatch in examined(program, options.show % FULL != 0).mismatches:
            print(f"# {mismatch}")
        return 0
    run = Run(options.state, range(options.seed, options.seed + options.graphs))
    if options.again:
        run.done = {s: e for s, e in run.done.items() if not e["mismatches"]}
    started, before = time.monotonic(), len(run.done)
    deadline = started + 60 * options.minutes
    chunks = run.chunks()
    threads = [
        threading.Thread(target=work, args=(run, chunks, deadline)) for _ in range(options.jobs)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        progress(run, started, before)
        for thread in threads:
            thread.join(timeout=2.0)
    progress(run, started, before)
    bad = sorted(s for s, e in run.done.items() if e["mismatches"])
    print(summary(run))
    for seed in bad[: options.reduce]:
        kept = run.done[seed].get("program")
        show_reduced(seed, from_json(kept) if kept else seeded(seed), options.keep)
    print(f"\n{len(run.done)} graphs, {len(bad)} mismatches")
    if bad:
        print(f"seeds: {', '.join(map(str, bad))}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
