"""The fuser derives everything from the graph: nothing in codegen knows a model, a loss or an
optimizer by name, in code, comments or texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[2] / "codegen").rglob("*.py"))
WORDS = """
linear regression|ridge|lasso|elastic|huber|logistic|logit|poisson|tweedie|student|cauchy|hinge|
focal|quantile|pinball|cosh loss|entropy|softmax|mlp|perceptron|neural|regression|regressor|
classif\\w*|loss|losses|mse|rmse|mae|bce|nll|squared error|residual|factorization|embedding|
attention|batch norm\\w*|layer norm\\w*|dropout|polynomial features|optimi[sz]er|sgd|adam\\w*|
momentum|
learning rate|weight decay|penalty|mnist|house|price
"""
PATTERN = re.compile(rf"\b(?:{WORDS.replace(chr(10), '')})\b", re.IGNORECASE)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.name)
def test_no_model_is_named(file: Path) -> None:
    lines = file.read_text("utf-8").splitlines()
    found = [f"{file.name}:{i}: {line.strip()}" for i, line in enumerate(lines, 1)
             if PATTERN.search(line)]  # fmt: skip
    assert not found


def test_the_list_finds_what_it_should() -> None:
    assert PATTERN.search("# as in Huber's loss")
    assert PATTERN.search("def fuse_mlp(): ...") is None  # words, not parts of names
    assert PATTERN.search("the MLP's weights")
    assert len(FILES) > 15
