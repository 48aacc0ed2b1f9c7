"""The command line: `graphir trace|draw|explain|kernels FILE:FUNCTION` and `graphir doctor`."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from graphir.errors import GraphirError
from graphir.graph import Graph
from graphir.simplify import simplify
from graphir.tracing import trace_graph
from graphir.transforms import value_and_grad

from .arguments import load_function, make_arguments
from .backends import BACKENDS
from .compiled import Compiled
from .doctor import examine
from .page.document import write_failure, write_text

_EPILOG = """\
forms of --arg NAME=FORM:
  f32[1024,13]          an array (f16 f32 f64 i32 i64 u8 b1), drawn at random
  f32[]                 a scalar array
  0.5                   a number
  (f32[13], f32[])      a tuple of them

examples:
  graphir trace model.py:loss --arg 'params=(f32[13], f32[])' --arg x=f32[1024,13] --arg y=f32[1024]
  graphir explain model.py:loss --grad … --output loss.html
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 where it succeeded, 1 where the function or the machine is at fault."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except GraphirError as error:
        sys.stderr.write(f"graphir: {_told(error)}\n")
        return 1
    except BrokenPipeError:
        # `| head` has seen enough.
        sys.stderr.close()
        return 0


def _told(error: GraphirError) -> str:
    """The error as text; the script that runs this is no line of the user's."""
    at = error.location
    if at is not None and Path(at.file).suffix not in (".py", ".ipynb"):
        hint = f"\ntry: {error.hint}" if error.hint else ""
        return f"{type(error).__name__}: {error.message}{hint}"
    return f"{type(error).__name__}: {error}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphir", description="See what graphir makes of a function.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, says in (
        ("trace", _trace, "print the graph, a line a node"),
        ("draw", _draw, "draw the graph: SVG, or DOT, Mermaid, JSON, GraphML by the file's name"),
        ("explain", _explain, "say what was fused and why, and what it costs; .html for a page"),
        ("kernels", _kernels, "print the generated kernels"),
    ):
        command = commands.add_parser(
            name, help=says, description=says, epilog=_EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.set_defaults(run=run)
        command.add_argument("function", metavar="FILE:FUNCTION")
        command.add_argument("--arg", action="append", default=[], metavar="NAME=FORM")
        command.add_argument("--output", metavar="PATH", help="write a file instead")
        command.add_argument("--grad", action="store_true",
                             help="differentiate by the first argument")  # fmt: skip
        command.add_argument("--numpy", action="store_true",
                             help="NumPy arrays instead of tensors")  # fmt: skip
        if name in ("explain", "kernels"):
            command.add_argument("--backend", default="auto", choices=("auto", *BACKENDS))
        if name in ("trace", "draw"):
            command.add_argument("--raw", action="store_true", help="before simplification")
        if name == "draw":
            command.add_argument("--fold", default="auto", choices=("auto", "line", "none"))
            command.add_argument("--kernels", action="store_true", help="kernels as frames")
        if name == "kernels":
            command.add_argument("--target", choices=("c", "triton"),
                                 help="by default what the backend runs")  # fmt: skip
    doctor = commands.add_parser("doctor", help="which backends work here, and what to install")
    doctor.set_defaults(run=_doctor)
    return parser


def _function(args: argparse.Namespace) -> tuple[Any, tuple[Any, ...]]:
    fn = load_function(args.function)
    fn = inspect.unwrap(fn) if isinstance(fn, Compiled) else fn
    given = make_arguments(fn, args.arg, torch=not args.numpy)
    return value_and_grad(fn) if args.grad else fn, given


def _graph(args: argparse.Namespace) -> Graph:
    fn, given = _function(args)
    graph = trace_graph(fn, *given)
    return graph if args.raw else simplify(graph)


def _write(args: argparse.Namespace, text: str) -> int:
    if args.output is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        sys.stdout.write(f"{write_text(args.output, text)}\n")
    return 0


def _trace(args: argparse.Namespace) -> int:
    return _write(args, str(_graph(args)))


def _draw(args: argparse.Namespace) -> int:
    program = None
    if args.kernels:
        fn, given = _function(args)
        program = Compiled(fn).explain(*given).program
    graph = _graph(args)
    options = {"fold": args.fold, "program": program}
    kind = Path(args.output).suffix if args.output else ".svg"
    match kind:
        case ".svg":
            text = graph.to_svg(**options)
        case ".dot" | ".gv":
            text = graph.to_dot(**options)
        case ".mmd" | ".mermaid":
            text = graph.to_mermaid(**options)
        case ".json":
            text = graph.to_json()
        case ".graphml":
            text = graph.to_graphml()
        case _:
            raise GraphirError(f"a graph cannot be written as {kind or args.output}",
                               hint="use .svg, .dot, .mmd, .json or .graphml")  # fmt: skip
    return _write(args, text)


def _explain(args: argparse.Namespace) -> int:
    fn, given = _function(args)
    page = args.output is not None and Path(args.output).suffix in (".html", ".htm")
    try:
        explanation = Compiled(fn, backend=args.backend).explain(*given)
    except GraphirError as error:
        if page:
            # A function that does not trace gets a page too, up to the failing line.
            sys.stdout.write(f"{write_failure(error, args.function, args.output)}\n")
        raise
    if page:
        sys.stdout.write(f"{explanation.to_html(args.output)}\n")
        return 0
    if args.output is None and sys.stdout.isatty():
        Console().print(explanation)
        return 0
    return _write(args, str(explanation))


def _kernels(args: argparse.Namespace) -> int:
    fn, given = _function(args)
    kernels = Compiled(fn, backend=args.backend).kernels(*given)
    # All kernels of a program stand in one text.
    text = "".join(dict.fromkeys(getattr(k, args.target or "source") for k in kernels))
    return _write(args, text)


def _doctor(args: argparse.Namespace) -> int:
    findings = examine()
    table = Table(title="graphir on this machine", title_justify="left", show_lines=False)
    for heading in ("", "what", "found", "to do"):
        table.add_column(heading, overflow="fold")
    for f in findings:
        mark = {True: "works", False: "no", None: ""}[f.works]
        table.add_row(mark, *map(Text, (f.what, f.says, f.hint)))
    Console(width=None if sys.stdout.isatty() else 110).print(table)
    usable = {f.what for f in findings if f.works}
    return 0 if usable & {"backend c", "backend triton"} else 1
