"""Tables for people, JSON for programs, and a bar chart."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .measure import Result

RESULTS = Path(__file__).resolve().parent / "results"
# Ratio of the best peer's time to graphir's that each workload should reach at least.
WANTED = {
    "linreg_full": 3.0, "linreg_sgd": 12.0, "softmax_sgd": 3.5, "softmax_full": 3.8,
    "mlp_sgd": 1.8, "poly_eltwise": 5.0,
}  # fmt: skip


def duration(seconds: float | None) -> str:
    """`1.23 ms`."""
    if seconds is None:
        return "-"
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def summary(results: Sequence[Result], title: str) -> Table:
    """One row a workload: graphir, the best peer, the floor, first steps, memory."""
    table = Table(title=title, title_justify="left")
    for heading in (
        "workload", "graphir a step", "best peer", "ratio", "wanted", "floor", "ours/floor",
        "cold", "warm", "JAX cold", "torch cold", "memory",
    ):  # fmt: skip
        table.add_column(heading, justify="left" if heading == "workload" else "right")
    for r in results:
        ours, best = r.times.get("graphir"), r.best_peer
        first = r.first.get("graphir", {})
        over = ours.median / r.floor if ours and r.floor else None
        table.add_row(
            r.workload,
            f"{duration(ours.median)} ({duration(ours.least)}–{duration(ours.most)})"
            if ours else "failed",
            f"{duration(r.times[best].median)} {best}" if best else "-",
            f"{r.ratio:.2f}" if r.ratio else "-",
            f"{WANTED.get(r.workload, 1.0):g}",
            f"{duration(r.floor)} {r.limit}",
            f"{over:.2f}" if over else "-",
            duration(first.get("cold")), duration(first.get("warm")),
            duration(r.first.get("JAX jit", {}).get("cold")),
            duration(r.first.get("torch.compile", {}).get("cold")),
            f"{r.memory / 2**20:.1f} MiB" if r.memory is not None else "-",
        )  # fmt: skip
    return table


def everyone(results: Sequence[Result]) -> Table:
    """The median of every contestant, with least and most."""
    table = Table(title="A step: median (least–most)", title_justify="left")
    names = list(dict.fromkeys(name for r in results for name in (*r.times, *r.refused)))
    table.add_column("workload")
    for name in names:
        table.add_column(name, justify="right")
    for r in results:
        cells = []
        for name in names:
            t = r.times.get(name)
            missing = "wrong or failed" if name in r.refused else "-"
            spread = f"({duration(t.least)}–{duration(t.most)})" if t else ""
            cells.append(f"{duration(t.median)} {spread}" if t else missing)
        table.add_row(r.workload, *cells)
    return table


def show(results: Sequence[Result], title: str) -> str:
    """Print both tables and why a contestant has no time; the text too."""
    console = Console(record=True, width=190)
    console.print(summary(results, title), everyone(results))
    for r in results:
        for name, reason in r.refused.items():
            console.print(f"{r.workload}: {name}: {reason}", markup=False, highlight=False)
    return console.export_text()


def write(
    results: Sequence[Result], machine: str, settings: dict[str, Any], text: str, folder: Path,
    *, chart: bool = True,
) -> list[Path]:  # fmt: skip
    """The JSON, the tables as text and, if asked for and matplotlib is installed, the chart."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / (re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-") or "machine")
    found = [stem.with_suffix(".json"), stem.with_suffix(".txt")]
    content = {"machine": machine, **settings, "results": [r.as_json() for r in results]}
    found[0].write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    found[1].write_text(text, encoding="utf-8")
    if chart and importlib.util.find_spec("matplotlib"):
        found.append(stem.with_suffix(".svg"))
        draw(results, machine, found[-1])
    return found


def settings(device: str, flops: float, *, quick: bool = False) -> dict[str, Any]:
    """What a reader needs to judge the figures."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "triton", "jax", "scikit-learn", "numpy"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "device": device, "quick": quick, "versions": versions,
        "peak_flops": flops, "load_average": load,
        "date": time.strftime("%Y-%m-%d"), "system": f"{platform.system()} {platform.machine()}",
    }  # fmt: skip


def draw(results: Sequence[Result], machine: str, path: Path) -> None:
    """Bars of every contestant's time over graphir's, on a logarithmic axis."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    shown = [r for r in results if "graphir" in r.times]
    names = list(dict.fromkeys(name for r in shown for name in r.times))
    figure, axes = plt.subplots(figsize=(1.5 + 1.3 * len(shown), 4.5), layout="constrained")
    width = 0.85 / max(len(names), 1)
    for i, name in enumerate(names):
        places = [p + i * width for p, r in enumerate(shown) if name in r.times]
        bars = [r.times[name].median / r.times["graphir"].median for r in shown if name in r.times]
        axes.bar(places, bars, width, label=name)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylabel("time of a step, graphir = 1")
    axes.set_title(f"{machine}: shorter is faster", fontsize="medium")
    places = [p + width * (len(names) - 1) / 2 for p in range(len(shown))]
    axes.set_xticks(places, [r.workload for r in shown], rotation=25, ha="right")
    axes.legend(fontsize="small")
    figure.savefig(path)
    plt.close(figure)
