"""Functions at shapes of no axes, of five, of one element and of none: torch's value, gradient and
second gradient; an error of graphir's where torch has one."""

from __future__ import annotations

import pytest
import torch
from comparison import assert_alike, check_together, graphirs, torchs
from edge_shapes import SHAPES, at
from operations import Operation

import graphir

pytestmark = pytest.mark.filterwarnings("ignore")
# Many in one function: it compiles once.
TOGETHER = 60


def taken(shape: str) -> tuple[list[Operation], list[Operation]]:
    """Those that torch takes at this shape, and those that it refuses."""
    good, bad = [], []
    for operation in at(SHAPES[shape]):
        try:
            operation.fn(*operation.arguments())
        except (RuntimeError, IndexError, ValueError, TypeError):
            bad.append(operation)
        else:
            good.append(operation)
    return good, bad


# The interpreter takes longest, and sees a scalar, a vector and a matrix of one element alike.
WAYS = [
    *((backend, shape) for backend in ("reference", "c") for shape in SHAPES),
    *(("interpret", shape) for shape in ("ones", "empty", "5-d")),
]


@pytest.mark.parametrize(("backend", "shape"), WAYS)
def test_value_and_gradients(backend: str, shape: str) -> None:
    every = taken(shape)[0]
    assert len(every) > 100
    for start in range(0, len(every), TOGETHER):
        part = every[start : start + TOGETHER]
        check_together(part, backend, what=f"of {SHAPES[shape]}")


@pytest.mark.parametrize("shape", SHAPES)
def test_what_torch_refuses_is_refused(shape: str) -> None:
    for operation in taken(shape)[1]:
        with pytest.raises(graphir.GraphirError):
            graphirs([operation])(*operation.arguments())


LAYOUTS = {
    "a transpose": lambda x: x.permute(4, 2, 0, 3, 1).contiguous().permute(2, 4, 1, 3, 0),
    "every other element": lambda x: torch.stack([x, -x], -1).flatten(-2)[..., ::2],
    "an offset": lambda x: torch.cat([x[:1], x], 0)[1:],
    "repeats": lambda x: x[:1, :1, :, :1].expand(2, 1, 3, 1, 2),
}


@pytest.mark.parametrize(
    ("backend", "layout"), [*(("c", layout) for layout in LAYOUTS), ("interpret", "a transpose")]
)
def test_arguments_that_are_not_contiguous(backend: str, layout: str) -> None:
    every = [o for o in taken("5-d")[0] if not o.name.startswith("elementwise")]
    every += [o for o in taken("5-d")[0] if len(o.shapes) > 1]
    lay = LAYOUTS[layout]
    for start in range(0, len(every), TOGETHER):
        part = every[start : start + TOGETHER]
        args = [lay(x) for o in part for x in o.arguments()]
        assert layout == "an offset" or not args[0].is_contiguous()
        found = graphirs(part, backend)(*args)
        for operation, ours, theirs in zip(part, found, torchs(part, args), strict=True):
            try:
                assert_alike(ours, theirs, max(operation.loose, 2000))
            except AssertionError as error:
                error.add_note(f"{operation} of {layout} on {backend}")
                raise
