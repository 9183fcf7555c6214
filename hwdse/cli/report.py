"""``hwdse report``: from records alone."""

from __future__ import annotations

from pathlib import Path

from hwdse.reports import write_report

from .opened import open_run
from .show import print_json, print_text, telling


def run(folder: Path, figures: str, look: str, json: bool) -> None:
    """Writes the report."""
    formats = tuple(name for part in figures.split(",") if (name := part.strip().lower()) and name != "none")
    with telling(json) as say:
        say("report", 0, 1)
        page = write_report(folder, record=open_run(folder), formats=formats, look=look)
    if json:
        files = {"report": page, "figures": folder / "figures", "captions": folder / "figures" / "captions.txt"}
        files |= {name: folder / f"{name}.csv" for name in ("trials", "front", "budgets")}
        print_json({name: str(path) for name, path in files.items() if path.exists()})
        return
    print_text(f"Wrote {page}")
    print_text(f"  figures  {folder / 'figures'}, their captions in captions.txt" if formats else "  no figure files")
    print_text(f"  tables   {folder}/: trials.csv and front.csv (stored units), budgets.csv, budgets.tex, fronts.tex (as shown)")
