"""`make gpu` without a GPU: what it names, where it stops, and how it tells what it measured."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu, gpu_report, gpu_worker
from benchmarks.gpu_needs import Needs, look, needed
from benchmarks.measure import check, exact
from benchmarks.peer_graphir import GraphirSteps, GraphirTuned
from benchmarks.workloads import BY_NAME


def test_without_a_gpu_it_says_so_and_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert gpu.main(["--output", str(tmp_path)]) == 2
    said = capsys.readouterr().out
    assert "no GPU: torch" in said
    assert "Run `make gpu` on a machine with one" in said
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name in ("optree", "rich", "jax") else there(name, *rest)

    monkeypatch.setattr("importlib.util.find_spec", find)
    needs = look("cpu")
    assert needs.missing[:2] == ("optree", "rich")
    assert "jax: no JAX beside graphir in the benchmark" in needs.without
    text = needs.text()
    assert "missing: optree, rich" in text
    assert "PYTHONPATH=extra make gpu" in text
    assert f"--python-version {sys.version_info.major}.{sys.version_info.minor} optree" in text


def test_needs_are_those_of_the_package() -> None:
    assert {"torch", "triton", "networkx", "optree", "rich", "platformdirs"} <= set(needed())


def test_a_command_that_takes_too_long_is_ended() -> None:
    status, said, taken = gpu.within(
        [sys.executable, "-uc", "import time; print('begun'); time.sleep(60)"], 3.0
    )
    assert status is None
    assert said.strip() == "begun"
    assert taken < 30


def test_without_pytest_nothing_is_claimed() -> None:
    told = gpu.run_tests(Needs({}, (), ()), 1.0)
    assert told["status"] is None
    assert "not run" in told["said"]


def result(name: str, **seconds: float) -> dict[str, Any]:
    times = {who: {"median": s, "least": s, "most": s, "rounds": 1} for who, s in seconds.items()}
    w = BY_NAME[name]
    return {
        "workload": name, "times": times, "refused": {"JAX jit": "left out: 0 s were left"},
        "notes": ["epoch: why"], "step_bytes": w.step_bytes, "step_flops": w.step_flops,
    }  # fmt: skip


MACHINE = {"name": "a GPU", "read": 3e12, "flops": 4e14, "rates": {"copy_bytes_per_second": 3e12}}


def test_figures_to_reach() -> None:
    best = BY_NAME["linreg_full"].step_bytes / 3e12
    reached = gpu_report.reached(
        result("linreg_full", **{"graphir": best / 0.95, "torch.compile": 1.7 * best / 0.95}),
        MACHINE,
    )
    assert reached == [("95% of copy ≥ 90%", True), ("1.70 × torch.compile ≥ 1.8", False)]
    assert gpu_report.reached(result("linreg_sgd", graphir=1.5e-6), MACHINE) == [
        ("1.5 µs ≤ 2 µs", True)
    ]
    assert gpu_report.reached(result("ridge", graphir=1e-6), MACHINE) == []


def test_the_table_comes_last(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"machine": MACHINE, "results": [result("mlp_sgd", graphir=1e-5)], "troubles": []}
    gpu_report.show(found)
    said = capsys.readouterr().out
    assert said.index("epoch: why") < said.index("left out") < said.index("a GPU: a step")


def test_where_graphir_is_wrong_the_command_fails() -> None:
    fine = {"tests": {"status": 0}, "memory": {"status": None}, "results": [{"workload": "a",
            "times": {"graphir": {}}}]}  # fmt: skip
    assert not gpu.failed(fine)
    assert gpu.failed(fine | {"results": [{"workload": "a", "times": {}}]})
    assert gpu.failed(fine | {"tests": {"status": 1}})
    assert gpu.failed(fine | {"memory": {"status": 9}})


@pytest.mark.filterwarnings("ignore")
def test_more_rows_have_the_same_gradients(capsys: pytest.CaptureFixture[str]) -> None:
    workload, copies = gpu_worker.enlarged("linreg_full_x16", 2000)
    assert copies == 16
    assert workload.batch == workload.rows == 16 * 500
    usual = {"torch.compile": 1e9}
    row = gpu_worker.run("linreg_full_x16", "cpu", 2000, time.perf_counter() + 1000, usual)
    assert row["errors"]["graphir"] < 1e-3
    assert row["rows"] == 8000
    assert json.dumps(row)


def test_who_finds_no_time_is_left_out() -> None:
    row = gpu_worker.run("linreg_sgd", "cpu", 500, 0.0, {})
    assert set(row["times"]) == {"graphir"}
    assert all(reason.startswith("left out: 0 s were left") for reason in row["refused"].values())
    assert "torch.compile" in row["refused"]


@pytest.mark.parametrize("make", [GraphirSteps, GraphirTuned])
def test_steps_alone(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the GPU's benchmark times: it begins again where it began, on the same memory."""
    monkeypatch.setenv("GRAPHIR_CACHE_DIR", str(tmp_path))
    for name in ("ridge", "linreg_full"):
        workload = BY_NAME[name].smaller(1000)
        params, data = workload.params(), workload.data()
        runner = make(workload, params, data, "cpu")
        want = exact(workload, params, data)
        for _ in range(2):
            assert check(runner, workload, params, want) <= workload.tolerance
