"""The table of `make gpu`, and the figures to reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from .gpu_aims import AIMS, Aim
from .report import duration


def median(result: Mapping[str, Any], who: str) -> float | None:
    """The seconds of a contestant's step."""
    timing = result["times"].get(who)
    return None if timing is None else float(timing["median"])


def reached(result: Mapping[str, Any], machine: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Each figure to reach with what was measured, and whether it is reached."""
    aim, ours = AIMS.get(result["workload"], Aim()), median(result, "graphir")
    if ours is None:
        return []
    found = []
    if aim.bandwidth is not None:
        part = result["step_bytes"] / ours / machine["read"]
        found.append((f"{part:.0%} of copy ≥ {aim.bandwidth:.0%}", part >= aim.bandwidth))
    if aim.seconds is not None:
        found.append((f"{duration(ours)} ≤ {duration(aim.seconds)}", ours <= aim.seconds))
    for who, factor in (aim.over or {}).items():
        peer = median(result, who)
        if peer is not None:
            found.append((f"{peer / ours:.2f} × {who} ≥ {factor:g}", peer / ours >= factor))
    return found


def show(found: Mapping[str, Any]) -> None:
    """Print what there is to tell, the table last."""
    console = Console(width=200, soft_wrap=True)
    machine = found["machine"]

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    for r in found["results"]:
        for note in r.get("notes", []):
            say(f"{r['workload']}: {note}")
        for who, reason in r["refused"].items():
            say(f"{r['workload']}: {who}: {reason}")
    for trouble in found["troubles"]:
        say(trouble)
    for name, rate in machine.get("rates", {}).items():
        say(f"measured {name.replace('_', ' ')}: {rate / 1e12:.3g} × 10¹²")
    rates = sorted({who for r in found["results"] for who in r["times"]} - {"graphir"})
    table = Table(title=f"{machine.get('name', '-')}: a step", title_justify="left")
    for heading in ("workload", "graphir", "floor", *rates, "to reach"):
        table.add_column(
            heading, justify="left" if heading in ("workload", "to reach") else "right"
        )
    for r in found["results"]:
        ours = median(r, "graphir")
        cells = [r["workload"], duration(ours) if ours is not None else "failed"]
        cells.append(duration(least(r, machine)))
        for who in rates:
            peer = median(r, who)
            ratio = f" ({peer / ours:.2f}×)" if peer is not None and ours else ""
            cells.append(duration(peer) + ratio)
        aims = [f"{'yes' if well else 'NO'}: {text}" for text, well in reached(r, machine)]
        table.add_row(*cells, "; ".join(aims) or "-")
    console.print(table)


def least(result: Mapping[str, Any], machine: Mapping[str, Any]) -> float | None:
    """The least seconds of a step by the chip's own measured rates."""
    if "step_bytes" not in result or not machine:
        return None
    moved: float = result["step_bytes"] / machine["read"]
    computed: float = result["step_flops"] / machine["flops"]
    return max(moved, computed)
