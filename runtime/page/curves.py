"""The training curve as SVG, drawn without any library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..history import History

_W, _H, _LEFT, _BOTTOM, _TOP = 640, 300, 70, 40, 16


def curve_svg(history: History) -> str:
    """Loss by epoch, and validation loss where there is one, with a table of the numbers."""
    series = [("training loss", "train", list(history.loss))]
    if history.validation_loss:
        series.append(("validation loss", "valid", list(history.validation_loss)))
    values = [v for _, _, s in series for v in s if math.isfinite(v)]
    if not values:
        return "<p>Nothing was trained.</p>"
    log = min(values) > 0 and max(values) / min(values) > 30
    low, high = min(values), max(values)

    def scale(v: float) -> float:
        a, b, x = (math.log(low), math.log(high), math.log(v)) if log else (low, high, v)
        return _TOP + (_H - _TOP - _BOTTOM) * (1 - (x - a) / ((b - a) or 1))

    count = max(len(s) for _, _, s in series)

    def across(i: int) -> float:
        return _LEFT + (_W - _LEFT - 20) * (i / max(1, count - 1))

    parts = [f'<svg class="curve" viewBox="0 0 {_W} {_H}" role="img" aria-label="loss by epoch">']
    for v in _ticks(low, high, log):
        y = scale(v)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_W - 20}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{v:.3g}</text>'
        )
    parts += [
        f'<text x="{across(i):.1f}" y="{_H - 20}" text-anchor="middle">{i + 1}</text>'
        for i in sorted({0, (count - 1) // 2, count - 1})
    ]
    parts.append(f'<text x="{_W / 2}" y="{_H - 4}" text-anchor="middle">epoch</text>')
    for _, name, s in series:
        points = " ".join(
            f"{across(i):.1f},{scale(v):.1f}" for i, v in enumerate(s) if math.isfinite(v)
        )
        parts.append(f'<polyline class="{name}" points="{points}"/>')
        parts += [
            f'<circle class="{name}" cx="{across(i):.1f}" cy="{scale(v):.1f}" r="2.5"/>'
            for i, v in enumerate(s) if count <= 60 and math.isfinite(v)
        ]  # fmt: skip
    parts.append("</svg>")
    keys = " ".join(f'<span class="key {name}">{label}</span>' for label, name, _ in series)
    scale_word = " (logarithmic)" if log else ""
    return f"<h2>Loss by epoch{scale_word}</h2><p>{keys}</p>{''.join(parts)}{_numbers(history)}"


def _ticks(low: float, high: float, log: bool) -> Sequence[float]:
    if log:
        return [math.exp(math.log(low) + (math.log(high) - math.log(low)) * i / 4)
                for i in range(5)]  # fmt: skip
    return [low + (high - low) * i / 4 for i in range(5)] if high > low else [low]


def _numbers(history: History) -> str:
    checked = list(history.validation_loss)
    rows = "".join(
        f"<tr><td class=right>{i + 1}</td><td class=right>{loss:.6g}</td>"
        + (f"<td class=right>{checked[i]:.6g}</td>" if i < len(checked) else "")
        + f"<td class=right>{history.rows_per_second[i]:,.0f}</td></tr>"
        for i, loss in enumerate(history.loss)
    )
    head = "<th>validation</th>" if checked else ""
    return (
        "<details><summary>the numbers</summary><table><thead><tr><th>epoch</th><th>loss</th>"
        f"{head}<th>rows/s</th></tr></thead><tbody>{rows}</tbody></table></details>"
    )
