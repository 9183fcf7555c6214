"""``hwdse report``: from records alone."""

from __future__ import annotations

from pathlib import Path

from hwdse.reports import write_report

from .show import print_json, print_text, telling


def run(folder: Path, formats: tuple[str, ...], json: bool) -> None:
    """Writes the report."""
    with telling(json) as say:
        say("report", 0, 1)
        page = write_report(folder, formats=formats)
    if json:
        files = {"report": page, "figures": folder / "figures", "trials": folder / "trials.csv", "front": folder / "front.csv"}
        print_json({name: str(path) for name, path in files.items()})
        return
    print_text(f"Wrote {page}, {folder / 'figures'}, {folder / 'trials.csv'}, {folder / 'front.csv'}")
