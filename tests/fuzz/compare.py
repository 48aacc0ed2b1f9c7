"""A program on every backend: value, gradient and second gradient, against float64 and torch."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
import optree

import graphir
from graphir.errors import GraphirError, UnsupportedError
from graphir.graph import Graph, Node
from tests.fuzz.expect import Expected, expected, faults
from tests.fuzz.library import as_torch_rounds, scored, torchs
from tests.fuzz.program import Program, as_numpy

# How many rules torch computes exactly of functions that it is less exact with than their float64:
# it has float32 constants in two, adds 1e-12 to a divisor, and takes 1 - sigmoid(x). The second
# derivative of a limited logit is NaN at 0 and 1, where the first one is 0.
ROUGH_IN_TORCH = {
    "F.hardsigmoid(": 1,
    "F.celu(": 1,
    "F.binary_cross_entropy(": 1,
    "F.logsigmoid(": 2,
    ".logit(0.1)": 2,
}
BACKENDS = ("reference", "c", "interpret")
RULES = ("value", "gradient", "second gradient")


@dataclass(frozen=True)
class Mismatch:
    """One wrong result, or an error that was raised instead of one."""

    backend: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.backend}, {self.rule}: {self.message}"


@dataclass
class Report:
    """What comparing one program found.

    Attributes:
        mismatches: what is wrong.
        cases: (op or function, backend, rule) -> 1 for what was computed and compared.
        refused: why graphir does not take the program, by an UnsupportedError.
        elements, sharp: how many floating elements were compared, and how many of them within a
            thousandth of their size.
    """

    mismatches: list[Mismatch] = field(default_factory=list)
    cases: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: str = ""
    elements: int = 0
    sharp: int = 0


def derived(program: Program) -> Callable[..., Any]:
    """A function of the arguments: results, and as many derivatives as the program asks for."""
    fn, places = program.function(), program.wrt

    def total(*args: Any) -> Any:
        return scored(fn(*args), 0.7)

    def second(*args: Any) -> Any:
        return scored(graphir.grad(total, places)(*args), 0.3)

    @functools.wraps(fn)
    def everything(*args: Any) -> Any:
        results = [fn(*args)]
        if program.order > 0:
            results.append(graphir.grad(total, places)(*args))
        if program.order > 1:
            results.append(graphir.grad(second, places)(*args))
        return tuple(results)

    return everything


def compare(program: Program, backends: Sequence[str] = BACKENDS) -> Report:
    """Run and compare. Nothing is raised for what graphir does wrong: it is in the report."""
    report = Report()
    try:
        reference = graphir.compile(derived(program), backend="reference", dynamic=program.dynamic)
        exact = _expectations(program, reference)
    except UnsupportedError as refusal:
        report.refused = str(refusal.message)
        return report
    except GraphirError as error:
        report.mismatches.append(Mismatch("trace", "value", f"{type(error).__name__}: {error}"))
        return report
    _check_shapes_of_time(program, reference, report)
    for wanted in exact:
        for group in wanted:
            for one in group:
                if one.dtype.startswith("float"):
                    report.elements += one.value.size
                    report.sharp += int(np.sum(one.bound <= 1e-3 * np.abs(one.value) + 1e-9))
    for backend in backends:
        compiled = reference
        if backend != "reference":
            compiled = graphir.compile(
                derived(program), backend=backend, dynamic=program.dynamic, threads=program.threads
            )
        _check_backend(program, compiled, backend, exact, report)
    _check_library(program, exact, report)
    _count(program, reference.entries[0].traced.graph, backends, report)
    return report


def _args(program: Program, sizes: dict[int, int]) -> list[Any]:
    values = program.values(sizes)
    return [values[a.name] for a in program.passed]


def _grouped(results: Any) -> list[list[Any]]:
    return [optree.tree_leaves(group) for group in results]


def _expectations(program: Program, reference: Any) -> list[list[list[Expected]]]:
    """For each call, for each rule, for each result."""
    out = []
    for sizes in program.calls():
        args = _args(program, sizes)
        graph = reference.graph(*args) and _traced(reference, args)
        flat = expected(graph, [as_numpy(a) for a in args])
        counts = [len(g) for g in _counts(program)]
        groups, start = [], 0
        for count in counts:
            groups.append(flat[start : start + count])
            start += count
        out.append(groups)
    return out


def _counts(program: Program) -> list[Any]:
    return [program.outputs, *[program.wrt] * program.order]


def _traced(compiled: Any, args: Sequence[Any]) -> Graph:
    entry = compiled._entry(tuple(args))
    graph: Graph = entry.traced.graph
    return graph


def _check_shapes_of_time(program: Program, reference: Any, report: Report) -> None:
    """A second size needs a second entry only where the trace says why."""
    notes = reference.entries[0].traced.graph.notes
    if len(reference.entries) > 1 and not any("specialised" in note for note in notes):
        report.mismatches.append(Mismatch("trace", "value", "a second size compiled anew"))


def _check_backend(
    program: Program, compiled: Any, backend: str, exact: Any, report: Report
) -> None:
    for call, sizes in enumerate(program.calls()):
        where = f"call {call}: " if call else ""
        try:
            results = _grouped(compiled(*_args(program, sizes)))
        except GraphirError as error:
            text = f"{where}{type(error).__name__}: {error}"
            report.mismatches.append(Mismatch(backend, "value", text))
            return
        for rule, found, wanted in zip(RULES, results, exact[call], strict=False):
            for i, (got, one) in enumerate(zip(found, wanted, strict=True)):
                fault = faults(as_numpy(got), one)
                if fault:
                    text = f"{where}result {i} {fault}"
                    report.mismatches.append(Mismatch(backend, rule, text))


def _check_library(program: Program, exact: Any, report: Report) -> None:
    """torch's own results with their derivatives; of NumPy's the values, of float64 alone."""
    for call, sizes in enumerate(program.calls()):
        args = _args(program, sizes)
        if program.flavour == "torch":
            groups = torchs(program, args)
            texts = " ".join(s.text for s in program.steps)
            groups = groups[: min([3, *(n for name, n in ROUGH_IN_TORCH.items() if name in texts)])]
        else:
            if any(a.dtype != "float64" for a in program.arguments):
                return
            with np.errstate(all="ignore"):
                groups = [[np.asarray(y) for y in program.function()(*args)]]
        for rule, found, wanted in zip(RULES, groups, exact[call], strict=False):
            for i, (got, one) in enumerate(zip(found, wanted, strict=True)):
                array = as_numpy(got)
                if program.flavour == "numpy":
                    array = array.astype(one.dtype)
                fault = faults(array, one)
                if fault and program.flavour == "torch":
                    place = (RULES.index(rule), i)
                    roomy = as_torch_rounds(program, args, array, one.surer(), place)
                    fault = faults(array, roomy)
                if fault:
                    text = f"call {call}: the reference's result {i} is not the library's: {fault}"
                    report.mismatches.append(Mismatch(program.flavour, rule, text))


def _count(program: Program, graph: Graph, backends: Sequence[str], report: Report) -> None:
    """Which ops and functions were computed and differentiated how often on what."""
    ends = graph.outputs[: len(program.outputs)]
    forward = graph.live(ends)
    wanted = [node for i, node in enumerate(_passed(graph)) if i in program.wrt]
    moved = _between(graph, wanted, ends)
    functions = {s.what for s in program.steps}
    for backend in backends:
        for node in forward:
            report.cases[f"op {node.op}", backend, "value"] = 1
        for name in functions:
            report.cases[f"fn {name}", backend, "value"] = 1
        for rule in RULES[1 : program.order + 1]:
            for node in moved:
                report.cases[f"op {node.op}", backend, rule] = 1
            for name in functions:
                report.cases[f"fn {name}", backend, rule] = 1
    # Ops that derivatives bring in (copy, embed, scatter_add) are computed there.
    inside = set(forward)
    for backend in backends:
        for node in graph.live():
            if node not in inside:
                report.cases[f"op {node.op}", backend, "in a derivative"] = 1


def _passed(graph: Graph) -> list[Node]:
    return [node for node in graph.inputs if node not in graph.captured]


def _between(graph: Graph, starts: Sequence[Node], ends: Sequence[Node]) -> list[Node]:
    """The nodes of floating values on a way from `starts` to `ends`."""
    below: set[Node] = set()
    for start in starts:
        below |= nx.descendants(graph.nx, start)
    above: set[Node] = set(ends)
    for end in ends:
        above |= nx.ancestors(graph.nx, end)
    return [node for node in graph.nodes if node in below and node in above]
