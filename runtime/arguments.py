"""Arguments given as text: `x=f32[1024,13]`, and the user's function they are for."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphir.dtypes import ALL
from graphir.errors import GraphirError

_NAMES = {**{d.short: d for d in ALL}, **{d.name: d for d in ALL}}
_ARRAY = re.compile(r"([A-Za-z]\w*)\[([\d\s,]*)\]")
_FORMS = "an array is f32[1024,13], a scalar array f32[], a number 0.5, a tuple (f32[13], f32[])"


def load_function(where: str) -> Callable[..., Any]:
    """The function that `FILE:FUNCTION` names; the file is run as a module of its own.

    Raises:
        GraphirError: where there is no such file or function, or the file does not run.
    """
    file, colon, name = where.rpartition(":")
    if not colon or not file or not name:
        raise GraphirError(f"{where!r} does not name a function",
                           hint="write FILE:FUNCTION, e.g. model.py:loss")  # fmt: skip
    path = Path(file)
    if not path.is_file():
        raise GraphirError(f"there is no file {file}", hint="check the path")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise GraphirError(f"{file} is not a Python file", hint="its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    # The file may import what lies beside it, as a script does.
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise GraphirError(
            f"{file} does not run: {type(error).__name__}: {error}",
            hint="put what trains or prints under `if __name__ == '__main__':`",
        ) from error
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        has = [n for n, f in vars(module).items()
               if inspect.isfunction(f) and f.__module__ == module.__name__]  # fmt: skip
        raise GraphirError(f"{file} has no function {name}",
                           hint=f"it has {', '.join(has) or 'none'}")  # fmt: skip
    result: Callable[..., Any] = found
    return result


def make_arguments(fn: Callable[..., Any], given: Sequence[str], *, torch: bool) -> tuple[Any, ...]:
    """Random arrays for the arguments of `fn`.

    Args:
        given: `name=form`, one for each argument without a default.
        torch: tensors instead of NumPy arrays.

    Raises:
        GraphirError: for an argument that is missing, unknown or of no known form.
    """
    forms = {}
    for text in given:
        name, equals, form = text.partition("=")
        if not equals or not name.strip():
            raise GraphirError(f"--arg {text!r} has no name", hint="write --arg x=f32[1024,13]")
        forms[name.strip()] = form.strip()
    names = [
        p.name
        for p in inspect.signature(fn).parameters.values()
        if p.name in forms or (p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD)
    ]
    missing = [n for n in names if n not in forms]
    unknown = [n for n in forms if n not in names]
    if missing or unknown:
        what = f"no form for {', '.join(missing)}" if missing else f"no argument {unknown[0]}"
        told = " ".join(f"--arg {n}=f32[…]" for n in missing or names)
        raise GraphirError(f"{getattr(fn, '__name__', fn)}: {what}", hint=told)
    rng = np.random.default_rng(0)
    return tuple(parse_form(forms[n], rng, torch=torch) for n in names)


def parse_form(form: str, rng: np.random.Generator, *, torch: bool) -> Any:
    """An array, number or tuple of the form; floats are normal, integers 0 or 1."""
    value, rest = _parse(form.strip(), rng, torch)
    if rest:
        raise _bad(form, rest)
    return value


def _parse(text: str, rng: np.random.Generator, torch: bool) -> tuple[Any, str]:
    if text.startswith("("):
        items: list[Any] = []
        rest = text[1:].lstrip()
        while not rest.startswith(")"):
            if not rest:
                raise _bad(text, "a closing parenthesis is missing")
            item, rest = _parse(rest, rng, torch)
            items.append(item)
            rest = rest.lstrip()
            if rest.startswith(","):
                rest = rest[1:].lstrip()
            elif not rest.startswith(")"):
                raise _bad(text, rest)
        return tuple(items), rest[1:].lstrip()
    array = _ARRAY.match(text)
    if array:
        return _array(array, rng, torch, text), text[array.end() :].lstrip()
    number = re.match(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text)
    if number:
        plain = number.group()
        is_int = re.fullmatch(r"[-+]?\d+", plain)
        return int(plain) if is_int else float(plain), text[number.end() :].lstrip()
    raise _bad(text, text)


def _array(match: re.Match[str], rng: np.random.Generator, torch: bool, text: str) -> Any:
    short, sizes = match.groups()
    dtype = _NAMES.get(short)
    if dtype is None:
        raise GraphirError(f"there is no element type {short!r} in {text!r}",
                           hint=f"use one of {', '.join(d.short for d in ALL)}")  # fmt: skip
    shape = tuple(int(s) for s in sizes.split(",") if s.strip())
    values = (
        rng.standard_normal(shape) if dtype.is_float else rng.integers(0, 2, shape)
    )  # fmt: skip
    array = np.asarray(values, dtype.numpy)
    if not torch:
        return array
    from graphir.frontend.torch_arrays import as_tensor

    return as_tensor(array)


def _bad(form: str, at: str) -> GraphirError:
    return GraphirError(f"cannot read {form!r} (at {at!r})", hint=_FORMS)
