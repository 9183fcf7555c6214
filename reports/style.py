"""One look for all figures: calm, light, told apart without colour. Object API only; no global state of matplotlib is kept."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from ..names import clipped, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POWER = re.compile(r"\$\\mathdefault\{[-−0-9.^{}]*(\\times[0-9.^{}−-]*)?\}\$")  # what a logarithmic axis writes at its ticks
INK, MUTED, GRID, PAPER = "#1f2933", "#66727f", "#e3e8ec", "#ffffff"
LIMIT, REFERENCE = "#9a6700", "#66727f"


@dataclass(frozen=True)
class Mark:
    """How an allocator is drawn: colour and shape both tell it apart."""

    colour: str
    shape: str


# Okabe and Ito's colours, safe for the colour-blind
ALLOCATORS = {
    "adaqat": Mark("#0072b2", "o"),
    "qbitopt": Mark("#d55e00", "^"),
    "adq": Mark("#009e73", "D"),
    "uniform": Mark("#333333", "s"),
}
_SPARE = (Mark("#cc79a7", "v"), Mark("#e69f00", "P"), Mark("#56b4e9", "X"), Mark("#8c6d1f", "<"), Mark("#7a7a7a", ">"))
SOURCES = {
    "computed": ("#4c78a8", ""),
    "exact": ("#0072b2", ""),
    "signature": ("#56b4e9", ""),
    "rounded": ("#e69f00", "///"),
    "interpolated": ("#cc79a7", "..."),
    "analytic": ("#bdbdbd", "xxx"),
    "unsupported": ("#000000", ""),
    "fixed": ("#66727f", ""),
}
_PARAMETERS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#b5bec6",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "path",  # the same letters on every machine
    "figure.facecolor": PAPER,
}


@dataclass(frozen=True)
class Look:
    """For whom figures are made: a factor on their inches, and settings over the common ones."""

    scale: float = 1.0
    parameters: Mapping[str, Any] = field(default_factory=dict)


PAGE = "page"
LOOKS: Mapping[str, Look] = {
    PAGE: Look(),
    # a column of 3.5 inches, where text of the usual size would be 5 points high
    "paper": Look(0.55, {"font.size": 7, "legend.fontsize": 6.5, "axes.titlesize": 7.5, "lines.markersize": 4, "axes.linewidth": 0.6}),
    # enlarged with the slide; its text is half as large again against the rest, to be read from the last row
    "slides": Look(1.0, {"font.size": 13.5, "legend.fontsize": 12.5, "axes.titlesize": 14, "lines.markersize": 8, "axes.linewidth": 1.2}),
}
_look: ContextVar[Look] = ContextVar("look", default=LOOKS[PAGE])


@contextmanager
def looking(name: str) -> Iterator[None]:
    """Figures made and saved inside have that look."""
    token = _look.set(LOOKS[name])
    try:
        yield
    finally:
        _look.reset(token)


def columns(entries: int) -> int:
    """Columns of a legend beside the axes: all entries in one row, or in two where the text is large against the figure."""
    return entries if _look.get() is LOOKS[PAGE] else -(-entries // 2)


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """A mark for each allocator: the known ones have their own, others take the spare ones in alphabetical order."""
    known = list(dict.fromkeys(names))
    others = sorted(set(known) - set(ALLOCATORS))
    spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(others)}
    return {name: ALLOCATORS.get(name) or spare[name] for name in known}


@contextmanager
def styled(**more: Any) -> Iterator[None]:
    """The look, while a figure is made or saved. Texts stand in it as they are: no name is read as mathematics, or ends the drawing."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    parameters: Any = {**_PARAMETERS, **_look.get().parameters, **more}
    set_text = Text.set_text
    with rc_context(parameters), warnings.catch_warnings(), patch.object(Text, "set_text", lambda self, s: set_text(self, literal(s))):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of scripts that the font lacks: a box is drawn
        yield


def literal(text: object) -> str:
    """``text`` as matplotlib draws it sign by sign: no mathematics but the powers on axes, no controls, lines of bearable length."""
    plain = "" if text is None else str(text)
    if _POWER.fullmatch(plain):
        return plain
    lines = visible(plain, keep="\n").split("\n")
    return "\n".join(clipped(line, 120) for line in lines[:8]).replace("\\$", "$").replace("$", "\\$")


def blank(width: float, height: float) -> Figure:
    """An empty figure of that many inches (times the look's scale), laid out so that nothing is cut off. Call it in :func:`styled`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    scale = _look.get().scale
    figure = Figure(figsize=(width * scale, height * scale), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def grid(axes: Axes, axis: str = "both") -> None:
    """Thin grid lines behind the data."""
    axes.grid(visible=True, axis=axis, linewidth=0.8)  # type: ignore[arg-type]
    axes.tick_params(length=0)


def png(figure: Figure) -> bytes:
    """The figure as PNG, without date or version."""
    with styled():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160, metadata={"Software": None})
        return buffer.getvalue()


def svg(figure: Figure, salt: str) -> str:
    """The figure as SVG; the same figure and salt give the same bytes."""
    with styled(**{"svg.hashsalt": salt}):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return buffer.getvalue().decode()


def pdf(figure: Figure) -> bytes:
    """The figure as PDF, with its letters as letters, without date or version."""
    with styled(**{"pdf.fonttype": 42}):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
        return buffer.getvalue()


RENDERED: Mapping[str, Callable[..., bytes | str]] = {
    "pdf": lambda figure, name: pdf(figure),
    "png": lambda figure, name: png(figure),
    "svg": svg,
}
FORMATS = tuple(RENDERED)


def inline(text: str, label: str, name: str) -> str:
    """An SVG document as an element of an HTML page: named for screen readers, and no identifier twice on a page.

    Identifiers that something refers to get the figure's name in front; the others go.
    """
    import html

    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    used = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'(href="#|url\(#)', lambda m: f"{m[1]}{name}-", body)
    box = re.search(r'viewBox="[^"]*"', body)
    head = f'<svg role="img" aria-label="{html.escape(label)}" {box[0] if box else ""}>'
    return re.sub(r"<svg[^>]*>", lambda _: head, body, count=1).replace("xlink:href", "href")
