"""The sweep over shapes: what it tries, and that a shape is checked and timed."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks.shapes import compared, main, shapes


def test_the_shapes_are_many_and_of_whole_batches() -> None:
    every = list(shapes())
    assert len({w.name for w in every}) == len(every) > 90
    assert all(w.rows % w.batch == 0 and w.rows * w.layers[0] <= 8_000_000 for w in every)
    assert {1, 2000} <= {w.layers[0] for w in every}
    assert {1, None} <= {w.batch if w.batch < w.rows else None for w in every}


def test_a_shape_is_checked_and_compared() -> None:
    (one,) = (w for w in shapes() if w.name == "softmax 2-2, batch 512")
    result = compared(one.smaller(20), rounds=1)
    assert not result.refused
    assert {"graphir", "NumPy"} <= result.times.keys()
    assert ("JAX scan" in result.times) == (importlib.util.find_spec("jax") is not None)
    assert result.ratio is not None


def test_a_name_that_no_shape_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "linear 3-3-3"])
    assert "no shape has linear 3-3-3 in its name" in capsys.readouterr().err
