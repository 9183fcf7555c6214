"""The report of a run: one page that needs nothing else, its figures as files, and tables as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..errors import UnknownName
from ..names import visible
from ..records import SweepRecord
from ..registry import find, names
from ..storage import write
from . import style
from .export import front_csv, trials_csv
from .figures import named, slug, write_figures
from .paper_tables import paper_tables
from .section import AnySection, Drawing, Fragment
from .sections import GROUP, SECTIONS

STYLES = ("page.css", "page.explorer.css")
# One closure. SVG of our own and not plotly.js: that is 4.8 MB against 45 kB, its marks cannot be walked through by keyboard, and it
# builds functions from text, which the page's policy forbids.
PARTS = ("numbers", "dom", "limits", "tables", "axes", "plot", "points", "panel", "controls", "explorer")
SCRIPTS = (*(f"page.{name}.js" for name in PARTS), "page.js")


def write_report(run: Path, *, record: SweepRecord | None = None, formats: Sequence[str] = ("png", "svg"), look: str = style.PAGE) -> Path:
    """Writes ``report.html``, ``figures/`` with ``captions.txt``, and tables into a run folder.

    The tables: ``front.csv`` and ``trials.csv`` in stored units; for papers ``budgets.csv``, ``budgets.tex`` and ``fronts.tex``, as shown.
    Runs nothing and loads nothing from the network; the same record gives the same bytes.

    Args:
        run: the run folder. record: the run, where it is already in memory; else it is read from the folder.
        formats: of the figure files, ``"pdf"``, ``"png"`` and ``"svg"``; the page itself always holds its figures as SVG.
        look: of the figure files, a name in :data:`~hwdse.reports.style.LOOKS`: ``"page"``, ``"paper"`` (a column wide), ``"slides"``.

    Returns:
        The path of ``report.html``.

    Raises:
        UnknownName: another format or look. StorageError: no record, or the folder cannot be written.
        FileFormatError: the record cannot be read.
    """
    for name in formats:
        if name not in style.FORMATS:
            raise UnknownName("figure format", name, style.FORMATS)
    if look not in style.LOOKS:
        raise UnknownName("style of figures", look, style.LOOKS)
    run = Path(run)
    if record is None:
        record = SweepRecord.load(run)
    drawn = _drawn(record)
    figures = {id(drawing): name for name, drawing in named(_drawings(drawn))}
    sections = [{"name": slug(name), "title": title, "blocks": _blocks(fragment, figures)} for name, title, fragment in drawn]
    page = run / "report.html"
    for file, text in {"front.csv": front_csv(record), "trials.csv": trials_csv(record), **paper_tables(record)}.items():
        write(run / file, text)
    write(page, _render(record, sections))
    with style.looking(look):
        write_figures(_drawings(drawn if look == style.PAGE or not formats else _drawn(record)), run / "figures", formats)
    return page


Drawn = list[tuple[str, str, Fragment]]  # name and title of a section, and what it draws


def _drawn(record: SweepRecord) -> Drawn:
    found = []
    for name in names(SECTIONS, GROUP):
        section: AnySection = find("section", SECTIONS, name, GROUP)
        found.append((name, section.title, section.draw(section.facts(record))))
    return found


def _drawings(drawn: Drawn) -> list[Drawing]:
    return [drawing for _, _, fragment in drawn for drawing in fragment.drawings]


def _blocks(fragment: Fragment, figures: Mapping[int, str]) -> list[dict[str, Any]]:
    """Markup and figures in order; figures that follow one another stand side by side."""
    blocks: list[dict[str, Any]] = []
    for part in fragment.parts:
        if isinstance(part, Drawing):
            name = figures[id(part)]
            figure = {"svg": Markup(style.inline(style.svg(part.figure, name), part.caption, name)), "caption": part.caption}
            if blocks and blocks[-1]["figures"] and not part.wide and not blocks[-1]["wide"]:
                blocks[-1]["figures"].append(figure)
            else:
                blocks.append({"html": "", "figures": [figure], "wide": part.wide})
        else:
            blocks.append({"html": part, "figures": [], "wide": False})
    return blocks


def _render(record: SweepRecord, sections: list[dict[str, Any]]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(_read("page.html")).render(
        title=f"Mixed-precision report: {record.task}",
        css=Markup("".join(map(_read, STYLES))),
        js=Markup('"use strict";\n(() => {\n%s})();\n') % Markup("".join(map(_read, SCRIPTS))),
        sections=sections,
        damage=record.damage,
    )
    return visible(text, keep="\n\t")  # no name turns the direction of what stands around it


def _read(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")
