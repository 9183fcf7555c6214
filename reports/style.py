"""One look for all figures: calm, light, told apart without colour. Object API only; no global state of matplotlib is kept."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
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


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """A mark for each allocator: the known ones have their own, others take the spare ones in alphabetical order."""
    known = list(dict.fromkeys(names))
    others = sorted(set(known) - set(ALLOCATORS))
    spare = {name: _SPARE[i % len(_SPARE)] for i, name in enumerate(others)}
    return {name: ALLOCATORS.get(name) or spare[name] for name in known}


def styled(**more: Any) -> AbstractContextManager[None]:
    """The look, while a figure is made or saved."""
    from matplotlib import rc_context

    parameters: Any = {**_PARAMETERS, **more}
    return rc_context(parameters)


def blank(width: float, height: float) -> Figure:
    """An empty figure of that many inches, laid out so that nothing is cut off. Call it inside :func:`styled`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
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
