"""The command ``hwdse``: its subcommands put together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hwdse.names import visible
from hwdse.passwords import masked

from . import accelerator_commands, model_commands, run_commands
from .options import examples


class Commands(TyperGroup):
    """Usage errors repeat what was typed: without passwords, and with nothing that steers the terminal."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """See :class:`typer.core.TyperGroup`."""
        with _said_safely():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        """See :class:`typer.core.TyperGroup`."""
        with _said_safely():
            return super().invoke(ctx)


@contextlib.contextmanager
def _said_safely() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = visible(masked(message), keep="\n")  # type: ignore[attr-defined]  # of the parser's errors
        raise


app = typer.Typer(
    name="hwdse",
    cls=Commands,
    help="Explore mixed-precision quantisation for real hardware: measured accuracy against BitOPs, memory, latency and energy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog=examples("hwdse profile digits -a mpic", 'hwdse allocate digits -a mpic -b "latency <= 70% of w8a8"', "hwdse COMMAND --help"),
)
app.add_typer(model_commands.app)
app.add_typer(run_commands.app)
app.add_typer(accelerator_commands.accelerators, name="accelerators")


def _version(value: bool) -> None:
    if value:
        from hwdse import __version__

        typer.echo(f"hwdse {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    del version  # handled by its callback, before anything else
