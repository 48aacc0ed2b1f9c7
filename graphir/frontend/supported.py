"""The page of what is supported, from the tables: `python -m graphir.frontend.supported` writes it.

python -m graphir.frontend.supported docs/supported.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..dtypes import ALL
from ..opdef import OPS, Kind
from . import numpy_names, torch_names

_INTRODUCTION = """# What is supported

This page is made from graphir's tables by `python -m graphir.frontend.supported`; a test holds it
up to date. A name that is not here raises `UnsupportedError`, with the nearest one that is. Every
function has a derivative of any order wherever the mathematics has one, and runs on every backend.

Element types: {dtypes}.
Promotion is torch's in both front ends. The names are those of torch {torch} and NumPy {numpy}.
"""

_FORMS = """## Forms that are not supported

- Boolean masks as an index, and `where` with a condition alone: their size depends on the data.
  Writing to the elements is supported, of one value or of elements computed one by one from those
  of the same mask: `x[mask] = 0`, `x[mask] += v`, `x[mask] = torch.exp(y[mask])`.
- Writing in place (`x[0] = 1`, `x.add_(1)`, `x += y`, `out=`) is seen through every name and view
  of the traced value, but not by the caller: a compiled function has no side effects. Refused are
  writes to arrays that are not traced, to elements that share memory (`expand`) and through
  `detach()`, and reads of what may or may not be a view of what was written (`reshape`, `ravel`
  and `contiguous` of arrays whose strides decide it).
- `cumsum` and `cumprod` along an axis whose size is known only when the kernel runs.
- The spectral and the nuclear norm; `pad` in another mode than "constant".
- Random numbers without a seed: draw them under `with graphir.random.seed(key):`.
- Operands of torch's products must be of one dtype, as in torch; those of NumPy's are promoted.
"""

_RANDOM = """## Random numbers

Always from a seed, and the same on every backend: `graphir.random.rand(*shape, seed=key)` and
`graphir.random.randn(*shape, seed=key)`, and, under `with graphir.random.seed(key):`, torch's
`rand_like`, `randn_like`, `bernoulli` and `F.dropout`.
"""

_TITLES = {
    "elementwise": "Elementwise functions",
    "reductions": "Reductions",
    "products": "Products and matrices",
    "movement": "Movement",
    "selection and creation": "Selection and creation",
    "layers and losses": "Layers and losses",
}


def _torch_homes() -> dict[str, Any]:
    import torch

    return {
        "torch": torch,
        "F": torch.nn.functional,
        "torch.linalg": torch.linalg,
        "torch.special": torch.special,
    }


def _torch_spellings(name: str) -> list[str]:
    """Where users of torch find what the table calls `name`."""
    found = []
    for home, module in _torch_homes().items():
        short = name.removeprefix(home.removeprefix("torch.") + "_")
        own = home in ("torch", "F") or short != name
        if own and callable(getattr(module, short, None)):
            found.append(f"`{home}.{short}`")
    return found


def _method(name: str) -> list[str]:
    import torch

    special = name.startswith("__")
    return [f"`x.{name}`"] if not special and callable(getattr(torch.Tensor, name, None)) else []


def _numpy_spellings(name: str) -> list[str]:
    found = [f"`np.{name}`"] if hasattr(np, name) else []
    return found + ([f"`np.linalg.{name}`"] if name in numpy_names.LINALG else [])


def _rows(section: str) -> list[str]:
    theirs = torch_names.SECTIONS.get(section, {})
    others = numpy_names.SECTIONS.get(section, {})
    rows = []
    for name in sorted({*theirs, *others}):
        torch_names_ = _torch_spellings(name) + _method(name) if name in theirs else []
        numpy_names_ = _numpy_spellings(name) if name in others else []
        if name[0] != "_" and (torch_names_ or numpy_names_):
            rows.append(f"| {', '.join(torch_names_)} | {', '.join(numpy_names_)} |")
    return rows


def _public(module: Any) -> Iterable[str]:
    return (n for n in getattr(module, "__all__", dir(module)) if not n.startswith("_"))


def _missing_of_torch() -> dict[str, list[str]]:
    """The functions of torch that a tracer would be asked for, and has not."""
    import torch

    known = {*torch_names.TABLE, *torch_names.METHODS}
    out: dict[str, list[str]] = {}
    wanted = torch.overrides.get_overridable_functions()
    for home, module in _torch_homes().items():
        prefix = "" if home in ("torch", "F") else home.removeprefix("torch.") + "_"
        names = {f.__name__ for f in wanted.get(module, ()) if hasattr(f, "__name__")}
        names = {n.removeprefix(prefix) for n in names}
        out[home] = sorted(
            n
            for n in names & set(dir(module))
            if prefix + n not in known and n not in known and not n.startswith("_")
            and not n.endswith("_")
            # What torch has for itself is no method either.
            and (home != "torch" or hasattr(torch.Tensor, n))
        )  # fmt: skip
    return out


def _missing_of_numpy() -> list[str]:
    known = {*numpy_names.TABLE}
    return sorted(
        name
        for name in _public(np)
        if isinstance(getattr(np, name), np.ufunc) and name not in known
    )


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])


def page() -> str:
    """The text of docs/supported.md."""
    import torch

    versions = {"torch": _short(torch.__version__), "numpy": _short(np.__version__)}
    parts = [_INTRODUCTION.format(dtypes=", ".join(d.name for d in ALL), **versions)]
    for section, title in _TITLES.items():
        parts.append(
            f"## {title}\n\n| torch | NumPy |\n| --- | --- |\n" + "\n".join(_rows(section))
        )
    methods = [n for n in torch_names.METHODS if not n.startswith("_")]
    arrays = sorted(numpy_names.METHODS)
    parts.append(
        "## Methods\n\nOf tensors, beside those above: "
        + ", ".join(f"`{n}`" for n in sorted(methods))
        + ".\n\nOf arrays: "
        + ", ".join(f"`{n}`" for n in arrays)
        + ".\n\nOperators: `+ - * / // % ** @`, comparisons, `& | ^ ~` on bools and integers, "
        "`<< >>` on integers, and indexing by ints, slices, `None`, `...` and integer arrays. Item "
        "assignment by the same and by masks; `np.add.at` and `np.subtract.at`."
    )
    parts.append(
        "## Attributes\n\n`shape`, `ndim`, `device`; of tensors "
        + ", ".join(f"`{n}`" for n in sorted(torch_names.PROPERTIES))
        + "; of arrays "
        + ", ".join(f"`{n}`" for n in sorted(numpy_names.PROPERTIES))
        + "."
    )
    parts.append(_RANDOM.rstrip())
    parts.append(
        "## Primitives\n\nWhat all of it is made of:\n\n"
        + "\n".join(
            f"- {kind.value}: " + ", ".join(f"`{n}`" for n, op in OPS.items() if op.kind is kind)
            for kind in Kind
        )
    )
    parts.append(_FORMS.rstrip())
    missing = [f"`{home}`: {', '.join(names)}." for home, names in _missing_of_torch().items()]
    missing.append(f"NumPy's ufuncs: {', '.join(_missing_of_numpy())}.")
    parts.append("## Functions that are not supported\n\n" + "\n\n".join(missing))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def main() -> None:
    """Write the page to the file that is named, docs/supported.md by default."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/supported.md")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
