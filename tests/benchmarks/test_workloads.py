"""Every workload of the benchmark at a small size: whoever is installed gets it right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import floors, report
from benchmarks.measure import Result, Timing, check, error, exact, race
from benchmarks.peers import contestants
from benchmarks.workloads import BY_NAME, WORKLOADS, Workload

# torch.compile takes ten seconds and more for each.
SLOW = "torch.compile"


def small(name: str) -> Workload:
    """Few rows, but several batches where there are several."""
    workload = BY_NAME[name]
    if workload.batch == workload.rows:
        return replace(workload, rows=500, batch=500)
    batch = min(workload.batch, 200)
    return replace(workload, rows=3 * batch, batch=batch)


def names() -> list[Any]:
    """Each workload with each contestant that is installed."""
    found = []
    for workload in WORKLOADS:
        for who in contestants(workload, "cpu"):
            marks = [pytest.mark.slow] if who == SLOW else []
            found.append(pytest.param(workload.name, who, id=f"{workload.name}-{who}", marks=marks))
    return found


@pytest.mark.parametrize(("name", "who"), [n for n in names() if not n.marks])
@pytest.mark.filterwarnings("ignore")
def test_results_are_float64s(name: str, who: str) -> None:
    workload = small(name)
    params, data = workload.params(), workload.data()
    runner = contestants(workload, "cpu")[who](workload, params, data, "cpu")
    want = exact(workload, params, data)
    for _ in range(2):
        # Again after a reset: a contestant must not go on where it was.
        assert check(runner, workload, params, want) <= workload.tolerance


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_torch_compile_too() -> None:
    workload = small("ridge")
    params, data = workload.params(), workload.data()
    runner = contestants(workload, "cpu")[SLOW](workload, params, data, "cpu")
    check(runner, workload, params, exact(workload, params, data))


def test_a_wrong_result_is_refused() -> None:
    workload = small("linreg_sgd")
    params, data = workload.params(), workload.data()
    want = exact(workload, params, data)
    assert error(want, want, params) == 0
    runner = contestants(workload, "cpu")["NumPy"](workload, params, data, "cpu")
    wrong = [w + 0.1 * (w - p) for w, p in zip(want, params, strict=True)]
    assert error(wrong, want, params) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="wrong by"):
        check(runner, workload, params, wrong)
    with pytest.raises(ValueError, match="wrong by"):
        check(runner, workload, params, [np.full_like(w, np.nan) for w in want])


def test_sizes_of_a_step() -> None:
    workload = BY_NAME["mlp_sgd"]
    assert workload.step_bytes == 4096 * 4 * 17
    products = 16 * 64 + 64 * 64 + 64
    assert workload.step_flops == 2 * 4096 * (3 * products - 16 * 64)
    assert all(w.rows % w.batch == 0 for w in WORKLOADS)
    for workload in map(small, BY_NAME):
        assert sum(a.nbytes for a in workload.data()) == workload.data_bytes


def test_a_race_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Slow:
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def reset(self) -> None: ...

        def run(self, epochs: int) -> float:
            return self.seconds * epochs

        def params(self) -> list[Any]:
            return []

    workload = small("ridge")
    result = Result(workload.name)
    runners = {"graphir": Slow(1.0), "JAX jit": Slow(3.0), "NumPy": Slow(2.0)}
    race(runners, workload, result, rounds=3, seconds=0.1, device="cpu")
    assert result.best_peer == "NumPy"
    assert result.ratio == pytest.approx(2.0)
    result.floor, result.limit, result.memory = 0.1, "bytes", 1 << 20
    result.first["graphir"] = {"cold": 0.2, "warm": 0.05}
    result.refused["torch eager"] = "ValueError: wrong by 1e+00"
    failed = Result("rmse", times={"NumPy": Timing(1e-9, 1e-9, 1e-9, 1)})
    text = report.show([result, failed], "this machine")
    assert "2.00" in text
    assert "torch eager: ValueError" in text
    written = report.write([result, failed], "A Machine, 2 cores", {"quick": True}, text, tmp_path)
    content = json.loads(written[0].read_text())
    assert written[0].name == "a-machine-2-cores.json"
    assert content["results"][0]["ratio"] == pytest.approx(2.0)
    assert content["results"][1]["ratio"] is None
    assert [report.duration(s) for s in (2.0, 1.5e-3, 2.5e-6, 3e-9, None)] == [
        "2 s", "1.5 ms", "2.5 µs", "3 ns", "-"
    ]  # fmt: skip
    capsys.readouterr()


def test_rates_of_threads_are_added_up() -> None:
    assert floors.together(lambda thread: 1.0 + thread, 3) == pytest.approx(6.0)


def test_this_machine_is_measured() -> None:
    machine = floors.measure("cpu")
    assert machine.name
    seconds, limit = machine.floor(BY_NAME["mlp_sgd"].smaller(4))
    assert 1e-7 < seconds < 1
    assert limit in ("bytes", "FLOPs")
