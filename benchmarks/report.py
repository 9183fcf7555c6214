"""How long a report takes, how large its page is, and how soon it can be used, for runs of 60 to 2,000 trials of a 12-layer network.

Run: ``python benchmarks/report.py``. The runs are made up by ``tests/reports/conftest.py``; nothing is trained. Opening and moving a
slider are timed in headless Chromium, where there is one, without an accelerator for drawing. Bounds: 15 s to write, 8 MB, 2 s to open.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from hwdse.records import SweepRecord
from hwdse.reports import pick, write_report

_BUILDER = Path(__file__).resolve().parent.parent / "tests" / "reports" / "conftest.py"
RESULT = Path(__file__).parent / "results" / "report.json"
_DRAG = """async () => {
  const slider = document.querySelector("#explorer input[type=range]"), began = performance.now();
  for (let k = 0; k < 20; k += 1) {
    slider.value = Math.round(slider.max * (1 - k / 25));
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  }
  return (performance.now() - began) / 20;
}"""


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("synthetic_runs", _BUILDER)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(_BUILDER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(record: SweepRecord, formats: tuple[str, ...], folder: Path) -> float:
    """Seconds to write it."""
    began = time.perf_counter()
    write_report(folder, record=record, formats=formats)
    return time.perf_counter() - began


def in_browser(page_file: Path) -> dict[str, float] | None:
    """Best of three: seconds until the page can be used, milliseconds from a move of a slider to the next frame. None: no browser."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    opened, moved = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            began = time.perf_counter()
            page.goto(page_file.as_uri())
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            opened.append(time.perf_counter() - began)
            moved.append(page.evaluate(_DRAG))
            page.close()
        browser.close()
    return {"open_s": round(min(opened), 2), "slider_ms": round(min(moved))}


def main(sizes: list[int]) -> None:
    make = builder().make_record
    with tempfile.TemporaryDirectory() as folder:
        written(make(4), (), Path(folder))  # imports and the font cache are not what is measured
    found = {}
    for size in sizes:
        record = make(size)
        with tempfile.TemporaryDirectory() as folder:
            figures = {"page_s": round(written(record, (), Path(folder)), 2)}
            figures["page_and_files_s"] = round(written(record, ("png", "svg"), Path(folder)), 2)
            figures["page_mb"] = round((Path(folder) / "report.html").stat().st_size / 1e6, 2)
            figures.update(in_browser(Path(folder) / "report.html") or {})
        began = time.perf_counter()
        pick(record, ["latency@t4 <= 1.3 ms"])
        found[size] = {**figures, "pick_ms": round((time.perf_counter() - began) * 1e3, 1)}
        print(f"{size:>6} trials:", ", ".join(f"{name} {value}" for name, value in found[size].items()))
    about = {"machine": f"{os.cpu_count()} cores, Python {platform.python_version()}"}
    RESULT.write_text(json.dumps({**about, "trials": found}, indent=2) + "\n")


if __name__ == "__main__":
    main([int(a) for a in sys.argv[1:]] or [60, 500, 2000])
