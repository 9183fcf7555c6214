"""Figures: files by format, known marks, nothing left behind in matplotlib's settings."""

import io
import re
import shutil
import subprocess
from dataclasses import replace

import matplotlib
import pandas as pd
import pytest

from hwdse.errors import UnknownName
from hwdse.reports import draw_sensitivity, style, write_report
from hwdse.reports.paper_tables import paper_tables
from hwdse.reports.sections import SECTIONS


def test_draw_sensitivity_by_ending(tiny, tmp_path):
    assert draw_sensitivity(tiny.tables["loss"], tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in draw_sensitivity(tiny.tables["loss"], tmp_path / "s.svg").read_text()
    with pytest.raises(UnknownName, match=r"unknown figure format 'gif'. Known: pdf, png, svg. Give a file such as s.png"):
        draw_sensitivity(tiny.tables["loss"], tmp_path / "s.gif")


def test_marks_tell_allocators_apart_by_colour_and_by_shape():
    names = ["adaqat", "qbitopt", "adq", "uniform", "mine", "other", "third"]
    found = style.marks(names)
    assert len({m.colour for m in found.values()}) == len({m.shape for m in found.values()}) == len(names)
    assert style.marks(["other", "mine"]) == style.marks(["mine", "other"])


def test_settings_of_matplotlib_are_left_as_they_were(tiny, tmp_path):
    before = dict(matplotlib.rcParams)
    write_report(tmp_path, record=tiny, formats=("png",))
    assert dict(matplotlib.rcParams) == before


def test_inline_keeps_only_identifiers_that_are_used():
    text = '<?xml?><svg xmlns="http://x" viewBox="0 0 1 1"><metadata>m</metadata><g id="a"/><path id="b"/><use xlink:href="#b"/></svg>'
    found = style.inline(text, 'a "label" <x>', "f")
    assert found == (
        '<svg role="img" aria-label="a &quot;label&quot; &lt;x&gt;" viewBox="0 0 1 1"><g/><path id="f-b"/><use href="#f-b"/></svg>'
    )


@pytest.mark.parametrize("look", ["paper", *(pytest.param(look, marks=pytest.mark.slow) for look in ("page", "slides"))])
def test_figures_for_papers_and_slides(tiny, tmp_path, look):
    page = write_report(tmp_path / look, record=tiny, formats=("svg",), look=look).read_text()
    assert page == write_report(tmp_path / "plain", record=tiny, formats=()).read_text()  # the page has its own look
    folder = tmp_path / look / "figures"
    names = {p.stem for p in folder.glob("*.svg")}
    assert names >= {"front-weights", "price-latency-x", "widths", "search-progress"}
    captions = (folder / "captions.txt").read_text()
    assert {line.partition(":")[0] for line in captions.splitlines() if line} == names
    width = float(re.search(r'width="([\d.]+)pt"', (folder / "front-weights.svg").read_text())[1])
    assert width == pytest.approx({"page": 6.4, "paper": 3.52, "slides": 6.4}[look] * 72, rel=0.02)
    assert style.columns(7) == 7  # the look ends with the report


@pytest.mark.slow
def test_the_same_figures_are_the_same_bytes(tiny, tmp_path):
    first, again = (write_report(tmp_path / name, record=tiny, formats=("pdf", "svg"), look="paper").parent / "figures" for name in "ab")
    assert {p.stem for p in first.glob("*.pdf")} == {p.stem for p in first.glob("*.svg")}
    assert all(p.read_bytes().startswith(b"%PDF") for p in first.glob("*.pdf"))
    assert all((again / p.name).read_bytes() == p.read_bytes() for p in first.iterdir())


def test_unknown_looks_are_named(tiny, tmp_path):
    with pytest.raises(UnknownName, match=r"unknown style of figures 'poster'.*Known: page, paper, slides"):
        write_report(tmp_path, record=tiny, look="poster")


def test_tables_for_papers(tiny, tmp_path):
    odd = replace(tiny, task="a_b & 100% \\x")
    found = paper_tables(odd)
    assert r"(a\_b \& 100\% \textbackslash{}x; validation accuracy on 100 samples)" in found["budgets.tex"]
    assert r"latency@x $\leq$ 3 ms & \#2 qbitopt & 3 ms & 93.00 \% & 86.25 to 96.57 \% & 92.00 \% \\" in found["budgets.tex"]
    assert found["fronts.tex"].count(r"\begin{tabular}") == found["fronts.tex"].count(r"\end{tabular}") == 2
    front = pd.read_csv(io.StringIO(found["budgets.csv"]))
    assert list(front.columns) == ["budget", "point", "cost", "accuracy", "95 % interval", "test"]
    assert front["point"].tolist()[-1] == "none inside"
    assert paper_tables(tiny.with_trials(()))["fronts.tex"] == ""


def test_micro_is_a_sign_in_units_alone(tiny):
    micro = tiny.with_trials(
        tuple(replace(t, measures={k: v / 1000 if "latency" in k else v for k, v in t.measures.items()}) for t in tiny.trials)
    )
    found = paper_tables(replace(micro, task="u s", limits={**tiny.limits}))
    assert r"latency@x [$\mu$s]" in found["fronts.tex"]
    assert "(u s; " in found["fronts.tex"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no LaTeX here")
def test_latex_takes_the_tables_whatever_the_names(tiny, tmp_path):
    odd = replace(tiny, task="a_b & 100% \\x {$^~#} <i>")
    for name, text in paper_tables(odd).items():
        (tmp_path / name).write_text(text)
    whole = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{budgets.tex}\input{fronts.tex}\end{document}"
    (tmp_path / "whole.tex").write_text(whole)
    ran = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "whole.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert ran.returncode == 0, ran.stdout.decode()[-2000:]
    assert (tmp_path / "whole.pdf").stat().st_size > 1000


def test_figures_of_an_earlier_report_do_not_stay(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("hwdse.reports.page.SECTIONS", {name: SECTIONS[name] for name in ("fronts", "widths")})
    write_report(tmp_path, record=tiny, formats=("svg",), look="paper")
    figures = tmp_path / "figures"
    (figures / "mine.svg").write_text("of the user")
    before = {path.stem for path in figures.glob("*.svg")} - {"mine"}
    assert before
    (figures / "captions.txt").write_bytes((figures / "captions.txt").read_bytes() + b"\xff\xfe")
    write_report(tmp_path, record=tiny, formats=("png",))
    assert {path.name for path in figures.glob("*.svg")} == {"mine.svg"}
    assert {path.stem for path in figures.glob("*.png")} == before
    write_report(tmp_path, record=tiny, formats=())
    assert [path.name for path in figures.iterdir()] == ["mine.svg"]
