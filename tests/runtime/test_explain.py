"""`explain()`: costs, times, the page, and what stands in them."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import models_to_see as models
import numpy as np
import pytest
import torch

import graphir
from graphir.codegen.lines import c_lines
from graphir.codegen.triton_text import print_triton
from graphir.errors import GraphirError, TraceError
from graphir.runtime import roofline as roofline_module
from graphir.runtime.cache import DiskCache
from graphir.runtime.costs import duration, memory_plan, quantity
from graphir.runtime.explain import Explanation, shortest
from graphir.runtime.history import TrainResult
from graphir.runtime.page.document import failure_page, page, write_page
from graphir.runtime.roofline import Roofline, measure_cpu

ROOF = Roofline(threads=2, memory=1e10, cache=1e11, flops=1e11, cached=1 << 20)


@pytest.fixture(autouse=True)
def no_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixed machine."""
    monkeypatch.setattr("graphir.runtime.explain.measure_cpu", lambda threads: ROOF)


@pytest.fixture(scope="module")
def trained() -> TrainResult:
    return graphir.train(
        models.linear, models.linear_params(), models.data(2000), batch_size=256, epochs=3,
        optimizer=graphir.optim.SGD(lr=0.1), validation=models.data(100), progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def explained() -> Explanation:
    compiled = graphir.compile(graphir.value_and_grad(models.huber))
    return compiled.explain(models.linear_params(), *models.data(10_000))


def held(html: str) -> dict[str, Any]:
    """The data of a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    loaded: dict[str, Any] = json.loads(found.group(1))
    return loaded


def test_bytes_and_operations_of_a_call(explained: Explanation) -> None:
    (cost,) = explained.costs
    # x, y, w and b are read once; the loss and two gradients are written.
    assert cost.read == 4 * (10_000 * 3 + 10_000 + 3 + 1)
    assert cost.written == 4 * (1 + 3 + 1)
    assert cost.flops > 10_000 * 12
    assert cost.intensity == cost.flops / cost.bytes
    assert cost.least == max(cost.bytes / ROOF.cache, cost.flops / ROOF.flops)


def test_the_table_tells_it_all(explained: Explanation) -> None:
    text = str(explained)
    for word in ("huber_0", "contract ×2", "160 kB", "FLOP/byte", "roofline", "reached",
                 "the comparison has no derivative", "models_to_see.py:21"):  # fmt: skip
        assert word in " ".join(text.split()), word
    assert explained.seconds is not None
    assert explained.seconds > 0
    assert explained.least is not None


def test_a_training_step(trained: TrainResult) -> None:
    explanation = trained.explain()
    text = str(explanation)
    assert "Cost of a step" in text
    (cost,) = explanation.costs
    # One batch of 256 rows, through the order of the shuffle.
    assert 4 * 256 * 4 <= cost.read <= 4 * 256 * 4 + 8 * 256 + 64
    assert explanation.seconds == min(trained.history.seconds) / 8
    rows = {row.buffer.name: row for row in memory_plan(trained.program, explanation.sizes)}
    assert rows["x"].bytes == 2000 * 3 * 4
    assert "one batch of rows a step" in rows["x"].what
    assert "updated in place" in rows["params_0"].what
    assert rows["lr"].bytes is not None


def test_explanations_without_sizes_or_a_run(trained: TrainResult) -> None:
    bare = Explanation(trained.explain().build)
    assert bare.costs == []
    assert bare.seconds is None
    assert "1 kernel" in str(bare)
    assert "Memory" in page(bare)


def test_refusals_are_told() -> None:
    def standardised(x: torch.Tensor) -> Any:
        centred = x - x.mean()
        return centred / (centred * centred).mean()

    compiled = graphir.compile(standardised, dynamic=("x",))
    explanation = compiled.explain(torch.randn(10_000))
    assert len(explanation.kernels) > 1
    refused = [d for d in explanation.decisions if d.kind != "kernel"]
    assert refused
    assert all(d.reason for d in refused)
    assert " all " in str(explanation)


def test_the_page_is_one_file_that_asks_for_nothing(trained: TrainResult, tmp_path: Path) -> None:
    path = trained.explain().to_html(tmp_path / "new" / "page.html")
    html = path.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["'](?!#|data:)|@import|url\(""", html)
    data = held(html)
    assert list(data["stages"]) == ["traced", "differentiated", "pruned", "rewritten", "scheduled"]
    assert set(data["texts"]) == {"c", "triton"}
    sources = {row[1].strip() for s in data["sources"] for row in s["rows"]}
    assert "return ((x @ w + b - y) ** 2).mean()" in sources
    for tab in ("traced", "scheduled", "kernels", "training", "memory"):
        assert f'id="panel-{tab}"' in html


def test_every_kernel_line_leads_to_a_line_of_the_source(explained: Explanation) -> None:
    data = held(page(explained))
    for text in data["texts"].values():
        assert len(text["nodes"]) == len(text["lines"])
        linked = {n for n in text["nodes"] if n is not None}
        assert len(linked) > 10
        assert all(str(n) in text["links"] for n in linked)


def test_line_maps_name_the_values_of_the_lines(explained: Explanation) -> None:
    build = explained.build
    module = print_triton(build._triton_program)
    lines = module.source.split("\n")
    assert len(module.lines) == len(lines) - 1
    for line, node in zip(lines, module.lines, strict=False):
        assigned = re.match(r"\s*t(\d+)(?:_\d+)? = ", line)
        if assigned and node is not None:
            assert node.id == int(assigned.group(1))
    text = build.kernels[0].c
    for line, node in zip(text.split("\n"), c_lines(text, build._c_program), strict=True):
        assigned = re.match(r"\s*t(\d+) = ", line)
        if assigned:
            assert node is not None
            assert node.id == int(assigned.group(1))


def test_the_page_tells_of_no_folders(explained: Explanation) -> None:
    html = page(explained)
    assert str(Path(models.__file__).parent.parent.parent) not in html
    assert str(Path.home()) not in html or Path.home() == Path("/")
    assert "support/models_to_see.py" in html


def test_text_from_the_user_cannot_break_the_page() -> None:
    namespace: dict[str, Any] = {}
    code = "def f(x):\n    return (x * 2).sum()  # </script><script>alert(1)</script>\n"
    import linecache

    file = "</script><b>.py"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    exec(compile(code, file, "exec"), namespace)
    html = page(graphir.compile(namespace["f"]).explain(torch.randn(8)))
    assert html.count("</script>") == 2
    assert "alert(1)</script>" not in html
    assert any(s["file"].endswith("<b>.py") for s in held(html)["sources"])


def test_a_function_that_does_not_trace_has_its_page() -> None:
    with pytest.raises(TraceError) as raised:
        graphir.compile(models.refused).explain(models.linear_params(), *models.data())
    html = failure_page(raised.value, "refused")
    data = held(html)
    source, first = inspect.getsourcelines(models.refused)
    branch = first + next(i for i, text in enumerate(source) if "if r.sum()" in text)
    assert data["failing"].endswith(f"models_to_see.py:{branch}")
    ops = {n["op"] for n in data["stages"]["traced"]["nodes"].values()}
    assert {"contract", "sub", "sum"} <= ops
    assert "torch.where" in html


def test_an_output_that_cannot_be_written(explained: Explanation, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(GraphirError, match="cannot write"):
        write_page(explained, blocked / "page.html")
    with pytest.raises(GraphirError, match="cannot write"):
        explained.to_html(tmp_path)


def test_the_roofline_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(tmp_path)
    first = measure_cpu(1, cache)
    assert 1e8 < first.memory <= first.cache
    assert first.flops > 1e8
    monkeypatch.setattr(roofline_module, "build_shared_library", None)
    assert measure_cpu(1, cache) == first


@pytest.mark.parametrize(
    ("bytes_moved", "flops", "bound"),
    [(1 << 30, 1, "memory"), (1000, 1, "cache"), (1000, 10**9, "arithmetic")],
)
def test_bounds(bytes_moved: int, flops: int, bound: str) -> None:
    assert ROOF.bound(bytes_moved, flops) == bound
    assert ROOF.seconds(bytes_moved, flops) > 0


def test_quantities() -> None:
    assert quantity(0, "B") == "0 B"
    assert quantity(1536, "B") == "1.54 kB"
    assert quantity(2.5e9, "FLOP") == "2.5 GFLOP"
    assert duration(1.234e-6) == "1.23 µs"
    assert duration(2) == "2 s"
    assert duration(3e-10) == "0.3 ns"


def test_the_shortest_of_several() -> None:
    calls: list[int] = []
    assert shortest(lambda: calls.append(1)) >= 0
    assert len(calls) >= 3


def test_numpy_and_the_reference_backend() -> None:
    compiled = graphir.compile(lambda x: np.exp(x).sum(), backend="reference")
    explanation = compiled.explain(np.ones(5, np.float32))
    assert "reference" in str(explanation)
    assert "exp" in page(explanation)
