"""How long a report takes and how large its page is, for runs of 60 to 2,000 trials of a 12-layer network.

Run: ``python benchmarks/report.py``. The runs are made up by ``tests/reports/conftest.py``; nothing is trained.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from hwdse.records import SweepRecord
from hwdse.reports import pick, write_report

_BUILDER = Path(__file__).resolve().parent.parent / "tests" / "reports" / "conftest.py"


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_runs", _BUILDER)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_BUILDER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(record: SweepRecord, formats: tuple[str, ...]) -> tuple[float, float]:
    """Seconds, and megabytes of the page."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        page = write_report(Path(folder), record=record, formats=formats)
        return time.perf_counter() - began, page.stat().st_size / 1e6


def main(sizes: list[int]) -> None:
    make = builder().make_record
    measure(make(4), ())  # imports and the font cache are not what is measured
    print(f"{'trials':>7} {'page':>9} {'page + png + svg':>17} {'size':>9} {'pick':>9}")
    for size in sizes:
        record = make(size)
        page_only, megabytes = measure(record, ())
        everything, _ = measure(record, ("png", "svg"))
        began = time.perf_counter()
        pick(record, ["latency@t4 <= 1.3 ms"])
        picking = time.perf_counter() - began
        print(f"{size:>7} {page_only:>7.2f} s {everything:>15.2f} s {megabytes:>6.2f} MB {picking * 1e3:>6.1f} ms")


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [60, 500, 2000])
