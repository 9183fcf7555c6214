"""Options and arguments that several commands take."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hwdse.numerals import number, whole


def examples(*commands: str, last: str = "") -> str:
    """The end of a help page: one command a line (a blank line is what keeps lines apart there), brackets as they are."""
    return escape("\n\n".join(["Examples:", *commands, *([last] if last else [])]))


def whole_number(least: int = 0, most: int = 2**53) -> Callable[[str], int]:
    """Reads an option that is a whole number in ASCII digits; what it does not take is explained with its range."""

    def read(text: str) -> int:
        found = whole(str(text), most)
        if found is None or found < least:
            raise typer.BadParameter(
                f"must be a whole number, {least}{f' to {most}' if most < 2**53 else ' or more'}, got '{str(text)[:40]}'."
            )
        return found

    return read


def decimal(least: float = 0.0, most: float = math.inf) -> Callable[[str], float]:
    """Reads an option that is a number of :mod:`hwdse.numerals`."""

    def read(text: str) -> float:
        found = number(str(text))
        if found is None or not least <= found <= most:
            upto = f" to {most:g}" if most < math.inf else " or more"
            raise typer.BadParameter(f"must be a number, {least:g}{upto}, got '{str(text)[:40]}'.")
        return found

    return read


class Rounding(StrEnum):
    """How weights are rounded where nothing is trained."""

    adaptive = "adaptive"
    nearest = "nearest"


TaskName = Annotated[str, typer.Argument(metavar="TASK", help="Built-in task (digits) or my_package.my_module:MyTask.")]
Accelerators = Annotated[
    list[str] | None, typer.Option("--accelerator", "-a", help="Shipped name or path of an accelerator file; repeat for several.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, nothing else, on standard output.")]
Seed = Annotated[int, typer.Option(parser=whole_number(0, 2**32 - 1), metavar="INTEGER", help="Seed of initialisation and training.")]
Points = Annotated[int, typer.Option(parser=whole_number(2), metavar="INTEGER", help="Limits to solve for on each accelerator.")]
MeasureFront = Annotated[bool, typer.Option("--measure", help="Also score every point on the validation split, without training.")]
Decode = Annotated[
    int | None,
    typer.Option(
        parser=whole_number(1, 10**6),
        metavar="TOKENS",
        help="Cost of generating one token of a decoder with so many in its cache, not of the traced pass.",
    ),
]
Device = Annotated[str, typer.Option(help="Where to train and score: cpu, cuda, cuda:1.")]
Storage = Annotated[
    str | None,
    typer.Option(envvar="HWDSE_STORAGE", help="Keep the study on a server: postgresql://USER@HOST/DATABASE; default: in the run folder."),
]
Onnx = Annotated[bool, typer.Option(help="Write the network as ONNX too; needs pip install 'hwdse\\[onnx]'.")]  # not markup
Trust = Annotated[
    bool, typer.Option("--trust", help="Run the code of the task that the run names; needed, or asked, where the run is not your own.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as left by hwdse sweep.")]
Method = Annotated[str, typer.Option("--method", help="fit (Fisher trace, measured error), fit_noise, fit_exact, hessian or measured.")]
Formats = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help='Formats to choose from, such as "int2..int8, mxfp4, int4.g128:int8, nf4.toml:int8"; default: int2..int8.',
    ),
]
Budgets = Annotated[
    list[str] | None,
    typer.Option("--budget", "-b", help='Hard limit, such as "latency <= 3 ms" or "weights <= 50% of w8a8"; repeat for several.'),
]
