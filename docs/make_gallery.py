"""The gallery: real runs, their figures and what the commands say of them. Runs, or goes on with, the sweeps that it shows.

python docs/make_gallery.py [--runs runs]     # or: make gallery
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from hwdse.records import SweepRecord
from hwdse.reports import write_report

HERE = Path(__file__).parent
ROOT = HERE.parent
IMAGES = HERE / "images" / "gallery"
HWDSE = [sys.executable, "-c", "from hwdse.cli import main; main()"]
# run -> (what it is, figures, commands on it)
SHOWN = {
    "demo": (
        "Handwritten digits, a small residual network, on three accelerators: the run of `make demo`.",
        ["front-latency-mpic", "price-latency-mpic", "widths", "search-progress"],
        [
            'pick {run} --max "latency@mpic = 800 us"',
            'pick {run} --sure "accuracy >= 95 %" --knee latency@mpic',
            'pick {run} --what-if "latency@mpic <= 700 us"',
        ],
    ),
    "vit": (
        "The same images, a small vision transformer, on a roofline model of an NPU and on a systolic array: `examples/vit.toml`.",
        ["front-energy-npu", "price-energy-npu", "breakdown-systolic"],
        ['pick {run} --max "energy@npu = 9 uJ" --max "weights@npu = 30 KiB"'],
    ),
}


def main() -> None:
    """Everything."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--runs", type=Path, default=Path("runs"), help="where the runs are, or shall be")
    runs = asked.parse_args().runs
    IMAGES.mkdir(parents=True, exist_ok=True)
    old = set(IMAGES.iterdir())
    parts = [
        "# Gallery\n\nReal runs, with what the commands say of them; made by `make gallery`. Scores are of 450 validation images: one is "
        "0.22 points, and most differences may be chance. The accelerators' numbers are those of their files, assumptions included.\n"
    ]
    for name, (about, figures, commands) in SHOWN.items():
        run = runs / name
        subprocess.run([*HWDSE, "sweep", str(ROOT / "examples" / f"{name}.toml"), "--output", str(run), "--no-report"], check=True)
        page, record = write_report(run, formats=("png",)), SweepRecord.load(run)
        parts.append(f"## {name}\n\n{about} {len(record.complete)} measured trials.\n")
        if picture(page, IMAGES / f"{name}-page.png"):
            parts.append(
                f"![The page of points](images/gallery/{name}-page.png)\n\n*Points of `report.html`: limits filter plot and table alike.*\n"
            )
        captions = dict(line.split(": ", 1) for line in (run / "figures" / "captions.txt").read_text().splitlines() if line)
        for figure in figures:
            shutil.copy(run / "figures" / f"{figure}.png", IMAGES / f"{name}-{figure}.png")
            parts.append(f"![{figure}](images/gallery/{name}-{figure}.png)\n\n*{captions[figure]}*\n")
        for command in commands:
            said = command.format(run=f"runs/{name}")
            done = subprocess.run([*HWDSE, *shlex.split(command.format(run=run))], check=True, capture_output=True, text=True)
            parts.append(f"```sh\nhwdse {said}\n```\n\n```text\n{done.stdout.replace(str(run), f'runs/{name}').strip()}\n```\n")
    whole = "\n".join(parts)
    (HERE / "gallery.md").write_text(whole)
    for path in old:
        if path.name not in whole:
            path.unlink()


def picture(page: Path, to: Path) -> bool:
    """The section of points, as a browser shows it; False without Playwright or Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return False
    browser_path = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
    if browser_path is None:
        return False
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        view = browser.new_page(viewport={"width": 1280, "height": 900})
        view.goto(page.resolve().as_uri())
        view.locator("#section-points").screenshot(path=to)
        browser.close()
    return True


if __name__ == "__main__":
    main()
