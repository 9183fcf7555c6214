"""Names of any kind in a record: the report is whole, and every page, figure, table and screen shows them as text."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import hwdse

from hwdse.formats import Allocation
from hwdse.names import HIDDEN, visible
from hwdse.records import SweepRecord
from hwdse.reports import write_report

PIECES = (
    '=HYPERLINK("http://x","y")',
    "\x1b]0;owned\x07\x1b[31mred",
    "a\u202egnp.exe\u2066",
    "[/] [red]x[/red] [link=x]",
    "$\\frac{1}{$ $x^2$ _a_ \\alpha $$",
    "</script><script>alert(1)</script><!-- &amp; \"'",
    "\\input{/etc/passwd} % # & ~ ^",
    "../../../etc/passwd\\..\\x",
    "\ud800 half \udfff",
    "a\0b\r\n\tc",
    "模型 نموذج 🙂",
)
NASTY = {"everything": " ".join(PIECES), "long": "x" * 20_000}


def renamed(record: SweepRecord, name: str) -> SweepRecord:
    """The record with that name in every place where people give one."""
    layer, scored = f"{name}.a", replace(record.score, name=f"{name} score")

    def widths(allocation: Allocation | None) -> Allocation | None:
        return None if allocation is None else Allocation({layer if n == "a" else n: w for n, w in allocation.items()})

    def measures(found: Mapping[str, float]) -> dict[str, float]:
        return {scored.key if key == record.score.key else key: value for key, value in found.items()}

    trials = tuple(
        replace(t, allocation=widths(t.allocation), measures=measures(t.measures), error=t.error and f"{name}: {t.error}", notes=(name,),
                knobs={**t.knobs, name: name, "allocator": name if t.number == 3 else t.knobs["allocator"]})
        for t in record.trials
    )  # fmt: skip
    layers = [{**one, "name": layer if one["name"] == "a" else one["name"]} for one in record.graph["layers"]]
    tables = {key: replace(t, layers=(layer, "b"), notes=(name,), convention=name) for key, t in record.tables.items()}
    return replace(
        record, task=name, score=scored, trials=trials, tables=tables,
        graph={**record.graph, "layers": layers, "left_out": [{"name": name, "reason": name}]},
        conventions={"weights": {"convention": name, "notes": [name], "accelerator": name}}, provenance={name: name, "command": name},
        config={"task": name, name: [name]},
    )  # fmt: skip


@pytest.fixture(scope="module", params=NASTY)
def run(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    from .conftest import make_tiny

    folder = tmp_path_factory.mktemp("run") / "inside"
    record = renamed(make_tiny(), NASTY[request.param])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record.save(folder)
        write_report(folder, record=SweepRecord.load(folder), formats=("svg",))
    return NASTY[request.param], folder


def test_the_record_is_read_back_as_it_was(run: tuple[str, Path]) -> None:
    name, folder = run
    record = SweepRecord.load(folder)
    assert record.task == name
    assert f"{name}.a" in next(t for t in record.trials if t.allocation).allocation


def test_no_file_lies_outside_and_every_text_shows_no_hidden_sign(run: tuple[str, Path]) -> None:
    _, folder = run
    assert [path.name for path in folder.parent.iterdir()] == ["inside"]
    for path in folder.rglob("*"):
        if path.suffix in (".html", ".csv", ".tex", ".txt", ".svg"):
            text = path.read_bytes().decode()
            found = set(HIDDEN.findall(text)) - {"\n", "\t", *("\r" * (path.suffix == ".csv"))}
            assert not found, (path.name, found)
        assert len(path.name.encode()) <= 120


def test_the_page_holds_the_name_and_no_more_markup(run: tuple[str, Path]) -> None:
    name, folder = run
    page = (folder / "report.html").read_text()
    assert page.count("<script") == page.count("</script>") == 4
    assert "alert(1)</script>" not in page
    assert visible(name, keep="\n\t") in html.unescape(page)
    block = re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert block
    assert json.loads(block[1])


def test_no_cell_is_a_formula(run: tuple[str, Path]) -> None:
    for file in ("trials.csv", "front.csv", "budgets.csv"):
        rows = list(csv.reader(io.StringIO((run[1] / file).read_text(), newline="")))
        assert len({len(row) for row in rows}) == 1
        for cell in (cell for row in rows for cell in row):
            assert not cell.startswith(("=", "@", "\t", "\r", "+"))
            assert not cell.startswith("-") or float(cell) <= 0


def test_latex_stays_inside_its_cells(run: tuple[str, Path]) -> None:
    for file in ("budgets.tex", "fronts.tex"):
        text = (run[1] / file).read_text()
        assert "\\input" not in text.replace("\\textbackslash{}input", "")
        assert text.count("\\begin{tabular}") == text.count("\\end{tabular}")
        assert re.sub(r"\\[{}]", "", text).count("{") == re.sub(r"\\[{}]", "", text).count("}")


@pytest.mark.parametrize("command", [["status"], ["explain"], ["pick"], ["pick", "--json"]])
def test_screens_show_text(run: tuple[str, Path], command: list[str]) -> None:
    _name, folder = run
    ran = hwdse(
        command[0],
        folder,
        *(["0"] if command[0] == "explain" else ["--max", "weights=1 MiB"] if command[0] == "pick" else []),
        *command[1:],
    )
    assert "fault of hwdse" not in ran.err, ran.err
    for text in (ran.out, ran.err):
        assert not set(HIDDEN.findall(text)) - {"\n"}, command
        text.encode()
