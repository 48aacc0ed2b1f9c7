"""Which axis the kernels of a graph stream."""

from __future__ import annotations

from collections import Counter

from graphir.graph import Graph
from graphir.sizes import Dim, evaluate, numel

from .axes import AxisMap, varies

_WORTH_STREAMING = 1 << 14  # bytes
_LOPSIDED = 64  # how many times longer an axis is that is streamed in place of another


def choose_stream(graph: Graph, axes: AxisMap) -> int | None:
    """The axis along which most of the data lies; None where everything is small.

    Of axes with as much data the one that runs slowest in memory, so that blocks of it lie
    together; where that is far shorter than another, there is too little to share out, and the
    longest is taken.
    """
    weight: Counter[int] = Counter()
    slowest: Counter[int] = Counter()
    for node in graph.live():
        elements = evaluate(numel(node.shape), graph.hints)
        varied = [
            a for dim, a in enumerate(axes.of[node]) if varies(node, dim) and axes.size[a] != 1
        ]
        for a in varied:
            # A size known only at run time can be anything: it is streamed whatever it was first.
            bonus = 1 << 40 if isinstance(axes.size[a], Dim) else 0
            weight[a] += elements * node.dtype.itemsize + bonus
        slowest.update(dict.fromkeys(varied[:1], elements))
    best = max(sorted(weight), key=lambda a: (weight[a], slowest[a]), default=None)
    if best is None:
        return None
    size = axes.size[best]
    if not isinstance(size, int):
        return best
    if weight[best] < _WORTH_STREAMING:
        return None
    longer = [
        a
        for a in sorted(weight)
        if weight[a] > 0.9 * weight[best] and evaluate(axes.size[a], graph.hints) > _LOPSIDED * size
    ]
    return max(longer, key=lambda a: evaluate(axes.size[a], graph.hints), default=best)
