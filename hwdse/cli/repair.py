"""``hwdse repair``: what of a damaged run can be made again, and what is left to do."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from hwdse.reports import write_report
from hwdse.reports.commands import reproduction
from hwdse.reports.style import FORMATS
from hwdse.sweeps.repairing import repair

from .opened import open_run
from .show import print_json, print_table, print_text, telling


def run(folder: Path, json: bool) -> None:
    """Repairs it; the exit status is 1 where something is left to do."""
    record, found = repair(folder)
    again = {}
    for number in dict.fromkeys(f.trial for f in found if f.left and f.trial is not None):
        again[number] = reproduction(record, next(t for t in record.trials if t.number == number)).command
    left = any(f.left for f in found)
    tables = any(f.file.startswith("tables") for f in found)
    pages = (folder / "report.html").exists() and not tables
    if pages:
        with telling(json) as say:
            say("report", 0, 1)
            formats = [kind for kind in FORMATS if any((folder / "figures").glob(f"*.{kind}"))]
            write_report(folder, record=open_run(folder), formats=formats)
    if json:
        said = [asdict(f) for f in found]
        print_json({"run": str(folder), "trials": len(record.trials), "found": said, "again": again, "report": pages})
    else:
        if not found:
            print_text(f"{folder}: every file on record is as it was written.")
        else:
            print_table(["file", "what is wrong ", "done ", "left "], [[f.file, f.wrong, f.done or "-", f.left or "-"] for f in found])
        for number, command in again.items():
            print_text(f"Trial {number} is measured again by: {command}")
        if pages:
            print_text("The report, its figures and its tables are made anew from the record.")
        elif tables:
            print_text("The report needs the tables, and is as it was.")
    if left:
        sys.exit(1)
