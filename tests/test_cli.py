"""The command line."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from graphir.errors import GraphirError
from graphir.graph import Graph
from graphir.runtime.arguments import load_function, make_arguments, parse_form
from graphir.runtime.cli import main

MODELS = Path(__file__).parent / "support" / "models_to_see.py"
ARGS = ["--arg", "params=(f32[3], f32[])", "--arg", "x=f32[64,3]", "--arg", "y=f32[64]"]
HUBER = [f"{MODELS}:huber", *ARGS]


def test_trace(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", *HUBER]) == 0
    out = capsys.readouterr().out
    assert out.startswith("graph(params[0]: f32(3,), params[1]: f32(), x: f32(n, 3), y: f32(n,))")
    assert "models_to_see.py:21" in out
    assert main(["trace", *HUBER, "--grad"]) == 0
    assert "pruned:" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["svg", "dot", "mmd", "json", "graphml"])
def test_draw(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / f"graph.{suffix}"
    assert main(["draw", *HUBER, "--output", str(target)]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    text = target.read_text()
    if suffix in ("svg", "graphml"):
        ET.fromstring(text)
    if suffix == "json":
        assert Graph.from_json(text).outputs


def test_draw_with_kernels(tmp_path: Path) -> None:
    target = tmp_path / "graph.svg"
    assert main(["draw", *HUBER, "--grad", "--kernels", "--output", str(target)]) == 0
    assert "kernel huber_0" in target.read_text()


def test_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *HUBER, "--grad", "--backend", "c"]) == 0
    assert "1 kernel, run by c" in capsys.readouterr().out
    target = tmp_path / "page.html"
    assert main(["explain", *HUBER, "--grad", "--output", str(target)]) == 0
    assert target.read_text().startswith("<!doctype html>")


def test_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kernels", *HUBER, "--target", "triton"]) == 0
    assert "@triton.jit" in capsys.readouterr().out
    assert main(["kernels", *HUBER, "--backend", "c"]) == 0
    assert "graphir_run" in capsys.readouterr().out


def test_a_function_that_does_not_trace_gets_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "page.html"
    assert main(["explain", f"{MODELS}:refused", *ARGS, "--output", str(target)]) == 1
    assert "TraceError" in capsys.readouterr().err
    assert "does not trace" in target.read_text()


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "backend c" in out
    assert "cache" in out


def test_doctor_without_a_compiler(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from graphir.errors import BackendError

    def missing() -> None:
        raise BackendError("there is no C compiler", hint="install gcc")

    monkeypatch.setattr("graphir.runtime.toolchain.find_compiler", missing)
    main(["doctor"])
    assert "install gcc" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["trace", "model.py"], "does not name a function"),
        (["trace", "no_such.py:loss"], "no file no_such.py"),
        (["trace", f"{MODELS}:hubber", *ARGS], "no function hubber"),
        (["trace", f"{MODELS}:huber", "--arg", "x=f32[2]"], "no form for params, y"),
        (["trace", *HUBER, "--arg", "z=1"], "no argument z"),
        (["trace", *HUBER, "--arg", "f32[3]"], "has no name"),
        (["trace", *HUBER, "--arg", "x=f33[3]"], "no element type 'f33'"),
        (["trace", *HUBER, "--arg", "x=f32[3"], "cannot read"),
        (["draw", *HUBER, "--output", "graph.png"], "cannot be written as .png"),
        (["draw", *HUBER, "--output", "/proc/none/graph.svg"], "cannot write"),
        (["trace", f"{MODELS}:huber", *ARGS[:2], "--arg", "x=f32[64,4]", "--arg", "y=f32[64]"],
         "inner sizes"),
    ],
)  # fmt: skip
def test_bad_input(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 1
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_file_that_does_not_run(tmp_path: Path) -> None:
    broken = tmp_path / "broken_model.py"
    broken.write_text("import no_such_module\n")
    with pytest.raises(GraphirError, match=r"broken_model\.py does not run"):
        load_function(f"{broken}:f")


def test_forms() -> None:
    rng = np.random.default_rng(0)
    w, (b, n), lr = parse_form("(f64[2, 3], (i64[], 4), 1e-3)", rng, torch=False)
    assert (w.shape, w.dtype) == ((2, 3), np.float64)
    assert (b.shape, b.dtype) == ((), np.int64)
    assert (n, lr) == (4, 1e-3)
    assert parse_form("()", rng, torch=False) == ()
    tensor = parse_form("float32[5]", rng, torch=True)
    assert tuple(tensor.shape) == (5,)
    for bad in ("(f32[2]", "(f32[2] f32[2])", "f32[2]]", "x", ""):
        with pytest.raises(GraphirError, match="cannot read"):
            parse_form(bad, rng, torch=False)


def test_arguments_with_defaults_may_be_left_out() -> None:
    def f(x: object, scale: float = 2.0) -> object:
        return x

    assert len(make_arguments(f, ["x=f32[3]"], torch=False)) == 1
    assert make_arguments(f, ["x=f32[3]", "scale=0.5"], torch=False)[1] == 0.5


def test_as_a_module() -> None:
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "graphir", "trace", *HUBER], cwd=root, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "contract(" in done.stdout
