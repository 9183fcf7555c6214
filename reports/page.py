"""The report of a run: one page that needs nothing else, its figures as files, and two tables as CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..errors import UnknownName
from ..records import SweepRecord
from ..registry import find, names
from ..storage import write
from . import style
from .export import front_csv, trials_csv
from .section import AnySection, Drawing, Fragment
from .sections import GROUP, SECTIONS

STYLES = ("page.css", "page.explorer.css")
# One closure. SVG of our own and not plotly.js: that is 4.8 MB against 45 kB, its marks cannot be walked through by keyboard, and it
# builds functions from text, which the page's policy forbids.
PARTS = ("numbers", "dom", "limits", "tables", "axes", "plot", "points", "panel", "controls", "explorer")
SCRIPTS = (*(f"page.{name}.js" for name in PARTS), "page.js")


def write_report(run: Path, *, record: SweepRecord | None = None, formats: Sequence[str] = style.FORMATS) -> Path:
    """Writes ``report.html``, ``figures/``, ``front.csv`` and ``trials.csv`` into a run folder.

    Runs nothing and loads nothing from the network; the same record gives the same bytes.

    Args:
        run: the run folder. record: the run, where it is already in memory; else it is read from the folder.
        formats: of the figure files, ``"png"`` and ``"svg"``; the page itself always holds its figures as SVG.

    Returns:
        The path of ``report.html``.

    Raises:
        UnknownName: another format. StorageError: no record, or the folder cannot be written.
        FileFormatError: the record cannot be read.
    """
    for name in formats:
        if name not in style.FORMATS:
            raise UnknownName("figure format", name, style.FORMATS)
    run = Path(run)
    if record is None:
        record = SweepRecord.load(run)
    sections, taken = [], set[str]()
    for name in names(SECTIONS, GROUP):
        section: AnySection = find("section", SECTIONS, name, GROUP)
        fragment = section.draw(section.facts(record))
        sections.append({"name": slug(name), "title": section.title, "blocks": _blocks(fragment, run, formats, taken)})
    page = run / "report.html"
    write(run / "front.csv", front_csv(record))
    write(run / "trials.csv", trials_csv(record))
    write(page, _render(record, sections))
    return page


def slug(text: str) -> str:
    """A name of letters, digits and dashes, safe as a file name whatever an accelerator is called."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"


def _blocks(fragment: Fragment, run: Path, formats: Sequence[str], taken: set[str]) -> list[dict[str, Any]]:
    """Markup and figures in order; figures that follow one another stand side by side."""
    blocks: list[dict[str, Any]] = []
    for part in fragment.parts:
        if isinstance(part, Drawing):
            figure = _figure(part, run, formats, taken)
            if blocks and blocks[-1]["figures"] and not part.wide and not blocks[-1]["wide"]:
                blocks[-1]["figures"].append(figure)
            else:
                blocks.append({"html": "", "figures": [figure], "wide": part.wide})
        else:
            blocks.append({"html": part, "figures": [], "wide": False})
    return blocks


def _figure(drawing: Drawing, run: Path, formats: Sequence[str], taken: set[str]) -> dict[str, Any]:
    base = name = slug(drawing.name)
    number = 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name)
    vector = style.svg(drawing.figure, name)
    if "svg" in formats:
        write(run / "figures" / f"{name}.svg", vector)
    if "png" in formats:
        write(run / "figures" / f"{name}.png", style.png(drawing.figure))
    return {"svg": Markup(style.inline(vector, drawing.caption, name)), "caption": drawing.caption}


def _render(record: SweepRecord, sections: list[dict[str, Any]]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_read("page.html")).render(
        title=f"Mixed-precision report: {record.task}",
        css=Markup("".join(map(_read, STYLES))),
        js=Markup('"use strict";\n(() => {\n%s})();\n') % Markup("".join(map(_read, SCRIPTS))),
        sections=sections,
    )


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
