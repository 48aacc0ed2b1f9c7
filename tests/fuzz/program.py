"""A random program: arguments and lines of Python, which print, run and are kept as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch.nn import functional as F

import graphir

NAMES = re.compile(r"\b[xcv]\d+\b")
# How near to 0 a guarded expression may come: at least so far, and so many units of rounding.
MARGIN, UNITS = 1e-3, 16
# Beyond this a value's derivatives are mostly rounding.
LARGEST = 1e3
FLOATS = ("float16", "bfloat16", "float32", "float64")
HALVES = FLOATS[:2]
BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
# What torch and NumPy raise for what they do not take.
REFUSALS = (
    RuntimeError, TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class Argument:
    """An array that a program starts from.

    Attributes:
        name: `x0` for an argument, `c0` for an array that the function closes over.
        shape: at the first sizes.
        dtype: as NumPy calls it.
        seed, low, high: its elements are drawn from [low, high).
        dynamic: the axes whose size varies from call to call.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    seed: int = 0
    low: float = -2.0
    high: float = 2.0
    dynamic: tuple[int, ...] = ()

    def at(self, sizes: Mapping[int, int]) -> tuple[int, ...]:
        """The shape with other sizes along the axes that vary."""
        return tuple(sizes.get(s, s) if i in self.dynamic else s for i, s in enumerate(self.shape))

    def array(self, sizes: Mapping[int, int]) -> np.ndarray[Any, Any]:
        """Its elements; the floating ones are rounded from the same numbers of float32."""
        rng = np.random.default_rng(self.seed)
        shape = self.at(sizes)
        if self.dtype in FLOATS:
            drawn = rng.uniform(self.low, self.high, shape).astype(np.float32)
            return drawn.astype(dtype_of(self.dtype))
        return np.asarray(rng.integers(int(self.low), int(self.high), shape), self.dtype)

    def text(self, flavour: str) -> str:
        """A line of Python that makes it at the first sizes."""
        rng = f"np.random.default_rng({self.seed})"
        if self.dtype in FLOATS:
            made = f"{rng}.uniform({self.low}, {self.high}, {self.shape}).astype('float32')"
        else:
            made = f"{rng}.integers({int(self.low)}, {int(self.high)}, {self.shape})"
        if flavour == "torch":
            return f"{self.name} = torch.tensor({made}).to(torch.{self.dtype})"
        return f"{self.name} = np.asarray({made}, '{self.dtype}')"


@dataclass(frozen=True)
class Step:
    """`name = text`, an expression over earlier names.

    Attributes:
        what: the function of the catalogue that drew it, for counting.
        guards: expressions that stay away from 0 where the step is smooth.
    """

    name: str
    text: str
    what: str = ""
    guards: tuple[str, ...] = ()

    @property
    def operands(self) -> list[str]:
        """The names that it reads."""
        return list(dict.fromkeys(NAMES.findall(self.text)))


@dataclass(frozen=True)
class Program:
    """A function of arrays, and how it is to be run.

    Attributes:
        flavour: "torch" or "numpy".
        outputs: the names of the results.
        order: how often to differentiate, 0 to 2.
        wrt: the positions, among the arguments, of those to differentiate by.
        second: for each size that varies, the one of a second call.
        threads: of the C backend, and the programs of the interpreter.
    """

    flavour: str
    arguments: tuple[Argument, ...]
    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    order: int = 0
    wrt: tuple[int, ...] = ()
    second: tuple[tuple[int, int], ...] = ()
    threads: int = 1

    @property
    def passed(self) -> list[Argument]:
        """Those that are passed; the others are closed over."""
        return [a for a in self.arguments if a.name[0] == "x"]

    @property
    def dynamic(self) -> dict[str, tuple[int, ...]]:
        """As `graphir.compile` takes it."""
        return {a.name: a.dynamic for a in self.passed if a.dynamic}

    def calls(self) -> list[dict[int, int]]:
        """The sizes of each call."""
        return [{}, dict(self.second)] if self.second else [{}]

    def values(self, sizes: Mapping[int, int]) -> dict[str, Any]:
        """Every argument by its name, as a tensor or an array."""
        made = {a.name: a.array(sizes) for a in self.arguments}
        if self.flavour == "torch":
            return {name: as_tensor(x) for name, x in made.items()}
        return made

    def source(self) -> str:
        """The function, as text."""
        body = [f"    {s.name} = {s.text}" for s in self.steps]
        names = ", ".join(a.name for a in self.passed)
        result = "(" + ", ".join(self.outputs) + ("," if len(self.outputs) == 1 else "") + ")"
        return "\n".join([f"def fn({names}):", *body, f"    return {result}"]) + "\n"

    def function(self) -> Callable[..., Any]:
        """The function itself, closing over its captured arrays."""
        space = namespace()
        space |= {a.name: v for a, v in self._captured()}
        exec(compile(self.source(), "<program>", "exec"), space)
        made: Callable[..., Any] = space["fn"]
        return made

    def _captured(self) -> list[tuple[Argument, Any]]:
        values = self.values({})
        return [(a, values[a.name]) for a in self.arguments if a.name[0] == "c"]

    def script(self) -> str:
        """Python that runs it by itself."""
        passed = ", ".join(a.name for a in self.passed)
        head = ["import numpy as np", "import torch", "from torch.nn import functional as F"]
        head += ["import graphir", "from tests.fuzz.program import drawn, own_tanh, wrote", ""]
        head += [a.text(self.flavour) for a in self.arguments]
        tail = [f"places = {self.wrt}", f"dynamic = {self.dynamic}"]
        return "\n".join(
            [*head, "", self.source(), *tail, f"args = ({passed},)", _SCRIPT[self.order]]
        )

    def to_json(self) -> str:
        """One line, from which `from_json` makes an equal program."""
        return json.dumps(asdict(self), ensure_ascii=False)


_TOTAL = "total = lambda *a: sum(((y + 0.7) ** 2).sum() for y in fn(*a) if 'float' in str(y.dtype))"
_GRADIENT = "gradient = graphir.grad(total, places)"
_SECOND = (
    "second = graphir.grad(lambda *a: sum(((g + 0.3) ** 2).sum() for g in gradient(*a)), places)"
)
_RUN = (
    "for backend in ('reference', 'c', 'interpret'):\n"
    "    print(backend, graphir.compile({}, backend=backend, dynamic=dynamic)(*args))\n"
)
_SCRIPT = (
    _RUN.format("fn"),
    "\n".join([_TOTAL, _GRADIENT, _RUN.format("gradient")]),
    "\n".join([_TOTAL, _GRADIENT, _SECOND, _RUN.format("second")]),
)


def from_json(text: str) -> Program:
    """The program that `to_json` wrote."""
    fields = json.loads(text)
    arguments = [
        Argument(**{**a, "shape": tuple(a["shape"]), "dynamic": tuple(a["dynamic"])})
        for a in fields["arguments"]
    ]
    steps = [Step(**{**s, "guards": tuple(s["guards"])}) for s in fields["steps"]]
    fields |= {"arguments": tuple(arguments), "steps": tuple(steps)}
    fields["outputs"], fields["wrt"] = tuple(fields["outputs"]), tuple(fields["wrt"])
    fields["second"] = tuple((a, b) for a, b in fields["second"])
    return Program(**fields)


def drawn(x: Any, name: str, seed: int, call: int) -> Any:
    """`graphir.random.rand` or `randn` in the shape of `x`, traced or not."""
    draw = getattr(graphir.random, name)
    if not isinstance(x, (torch.Tensor, np.ndarray)):
        return draw(x.shape, seed=seed, call=call, dtype=x.dtype, like=x)
    dtype = str(x.dtype).removeprefix("torch.")
    made = np.asarray(draw(tuple(x.shape), seed=seed, call=call, dtype=dtype))
    return as_tensor(made) if isinstance(x, torch.Tensor) else made


def wrote(y: Any, at: Any, how: str, value: Any) -> Any:
    """`y`, with a value written, added, subtracted or multiplied in place at an index."""
    if how == "=":
        y[at] = value
    elif how == "+=":
        y[at] += value
    elif how == "-=":
        y[at] -= value
    else:
        y[at] *= value
    return y


@graphir.custom_vjp
def own_tanh(x: Any) -> Any:
    """torch.tanh with a rule of its own."""
    return torch.tanh(x)


@own_tanh.defvjp
def _own_tanh_rule(residuals: Any, cotangent: Any) -> Any:
    (x,) = residuals
    return (cotangent / torch.cosh(x) ** 2,)


def namespace() -> dict[str, Any]:
    """What the text of a program may use."""
    return {
        "np": np, "torch": torch, "F": F, "graphir": graphir,
        "drawn": drawn, "own_tanh": own_tanh, "wrote": wrote,
    }  # fmt: skip


def as_numpy(x: Any) -> np.ndarray[Any, Any]:
    """A tensor, array or number as an array."""
    if not isinstance(x, torch.Tensor):
        return np.asarray(x)
    if x.dtype is torch.bfloat16:
        return x.detach().contiguous().view(torch.uint16).numpy(force=True).view(BFLOAT16)
    return x.numpy(force=True)


def as_tensor(x: np.ndarray[Any, Any]) -> torch.Tensor:
    """The tensor of an array's elements."""
    if x.dtype == BFLOAT16:
        return torch.from_numpy(x.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def dtype_of(name: str) -> np.dtype[Any]:
    """NumPy's dtype of that name, or that of bfloat16."""
    return BFLOAT16 if name == "bfloat16" else np.dtype(name)


def kind_of(x: np.ndarray[Any, Any]) -> str:
    """NumPy's letter of an array's kind, "f" for bfloat16 too."""
    return "f" if x.dtype == BFLOAT16 else x.dtype.kind


def margin_of(dtypes: Iterable[str]) -> float:
    """How near to 0 a guarded expression may come in a program of these types."""
    eps = [float(ml_dtypes.finfo(dtype_of(d)).eps) for d in dtypes if d in FLOATS]
    return max(MARGIN, UNITS * max(eps, default=0.0))


def is_moderate(x: np.ndarray[Any, Any]) -> bool:
    """Whether a value is finite, and of a size whose derivatives are more than rounding."""
    return bool(np.all(np.abs(x.astype(np.float64)) <= LARGEST)) if x.size else True


def is_clear(x: np.ndarray[Any, Any], margin: float) -> bool:
    """Whether a guarded expression keeps its distance from 0."""
    return bool(np.all(np.abs(x.astype(np.float64)) >= margin)) if x.size else True


def evaluated(text: str, space: dict[str, Any]) -> Any:
    """An expression's value, or None where the library refuses it."""
    try:
        with np.errstate(all="ignore"):
            return eval(compile(text, "<step>", "eval"), space)
    except REFUSALS:
        return None


def is_valid(program: Program) -> bool:
    """Whether every step runs at every size, stays finite and off its kinks."""
    margin = margin_of(a.dtype for a in program.arguments)
    for sizes in program.calls():
        space = namespace() | program.values(sizes)
        space |= {a.name: v for a, v in program._captured()}
        for step in program.steps:
            for guard in step.guards:
                found = evaluated(guard, space)
                if found is None or not is_clear(as_numpy(found), margin):
                    return False
            value = evaluated(step.text, space)
            if value is None or not is_moderate(as_numpy(value)):
                return False
            space[step.name] = value
    return True


def pruned(program: Program) -> Program:
    """Without the steps and arguments that the outputs do not need."""
    needed, steps = set(program.outputs), []
    for step in reversed(program.steps):
        if step.name in needed:
            steps.append(step)
            needed.update(step.operands)
    wanted = [program.passed[i].name for i in program.wrt]
    kept = [a for a in program.arguments if a.name in needed or a.name in wanted]
    return with_arguments(replace(program, steps=tuple(reversed(steps))), kept)


def with_arguments(program: Program, kept: Sequence[Argument]) -> Program:
    """With these arguments alone; those to differentiate by stay the same ones."""
    wanted = {program.passed[i].name for i in program.wrt}
    passed = [a.name for a in kept if a.name[0] == "x"]
    wrt = tuple(i for i, name in enumerate(passed) if name in wanted)
    sizes = {s for a in kept for i, s in enumerate(a.shape) if i in a.dynamic}
    second = tuple((a, b) for a, b in program.second if a in sizes)
    order = program.order if wrt else 0
    return replace(program, arguments=tuple(kept), wrt=wrt, second=second, order=order)
