"""The page: complete, self-contained, escaped, the same bytes twice, and alive whatever the record lacks."""

import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from hwdse import registry
from hwdse.errors import FileFormatError, UnknownName
from hwdse.formats import Allocation
from hwdse.metrics import Metric
from hwdse.records import SweepRecord
from hwdse.reports import write_report
from hwdse.reports.figures import slug
from hwdse.reports.markup import paragraph
from hwdse.reports.section import Fragment
from hwdse.reports.sections import SECTIONS
from hwdse.storage import StorageError

_VOID = {"meta", "input", "br", "link", "img", "hr", "path", "use"}


class _Checked(HTMLParser):
    """Fails on a tag that is closed by another; collects text, identifiers and everything that could be loaded."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in _VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href") and not (value or "").startswith("#"):
                self.loads.append(f"{tag} {name}={value}")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def run(record, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    record.save(folder)
    write_report(folder)
    return folder


@pytest.fixture(scope="module")
def page(run):
    return (run / "report.html").read_text()


def test_everything_is_written(run, record):
    names = {p.name for p in (run / "figures").iterdir()}
    for stem in (*(slug(f"front-{m.key}") for m in record.costs), "widths", "sensitivity", "breakdown-t4", "breakdown-model"):
        assert {f"{stem}.png", f"{stem}.svg"} <= names
    assert {"report.html", "front.csv", "trials.csv"} <= {p.name for p in run.iterdir()}


def test_sections_are_there_in_order(page):
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == [section.title for section in SECTIONS.values()]


def test_self_contained_and_well_formed(page):
    checked = _Checked(page)
    assert checked.loads == []
    assert not {"link", "img", "iframe", "object", "embed"} & set(checked.tags)
    assert "http://" not in page.replace("http-equiv", "")
    assert "https://" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


def test_identifiers_are_unique_and_references_resolve(page):
    ids = _Checked(page).ids
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= set(ids)


def test_numbers_of_the_run_are_in_the_text(page):
    text = " ".join(_Checked(page).text)
    assert "The sweep ran 60 trials: 54 measured, 3 failed, 3 interrupted." in text
    assert "The FP32 model has 97.30 % (95 % interval 96.10 to 98.14 %)" in text
    assert "MACs x weight bits x activation bits; first and last layer at 8/8." in text
    assert "pool: pooling, counted as 0" in text


def test_the_same_record_gives_the_same_bytes(tiny, tmp_path):
    for name in ("one", "two"):
        write_report(tmp_path / name, record=tiny, formats=())
    first, second = ({p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two"))
    assert first == second


_NASTY = '<script>alert("x")</script>&\''


def test_names_are_escaped(tiny, tmp_path):
    layers = {"a": f"a{_NASTY}", "b": "b"}
    tables = {k: replace(t, layers=tuple(layers.values()), convention=_NASTY) for k, t in tiny.tables.items()}
    trials = tuple(
        replace(
            t,
            error=_NASTY if t.error else "",
            knobs={**t.knobs, "allocator": _NASTY, _NASTY: _NASTY},
            allocation=t.allocation and Allocation({layers[k]: v for k, v in t.allocation.items()}),
        )
        for t in tiny.trials
    )
    nasty = replace(
        tiny,
        task=_NASTY,
        trials=trials,
        tables=tables,
        budgets=((_NASTY,),),
        provenance={_NASTY: _NASTY},
        config={_NASTY: _NASTY},
        graph={"macs": 1, "left_out": [{"name": _NASTY, "reason": _NASTY}]},
        conventions={_NASTY: {"convention": _NASTY, "notes": [_NASTY], "accelerator": _NASTY}},
    )
    page = write_report(tmp_path, record=nasty, formats=()).read_text()
    assert "<script>alert" not in page
    assert _Checked(page).tags.count("script") == 4  # the data, the code, and two that hide the page until all of it is there
    assert _NASTY in " ".join(_Checked(page).text)


def test_an_accelerator_cannot_name_a_file_outside_the_folder(tiny, tmp_path):
    metric = Metric("latency", "s", on="../../x y")
    trials = tuple(replace(t, measures={**t.measures, metric.key: t.measures.get("weights", 1.0)}) for t in tiny.trials)
    table = replace(tiny.tables["weights"], metric=metric)
    odd = replace(tiny, costs=(metric, tiny.costs[0]), trials=trials, tables={metric.key: table}, budgets=())
    write_report(tmp_path / "run", record=odd, formats=("svg",))
    assert {p.name for p in tmp_path.iterdir()} == {"run"}
    assert "front-latency-x-y.svg" in {p.name for p in (tmp_path / "run" / "figures").iterdir()}


def _failed(t):
    return replace(t, state="failed", measures={}, allocation=None, error="RuntimeError: boom")


def _unsupported(t):
    return replace(t, measures={k: float("inf") if "@" in k else v for k, v in t.measures.items()})


_CASES = {
    "no trials": lambda r: r.with_trials(()),
    "one trial": lambda r: r.with_trials(r.trials[5:6]),
    "all failed": lambda r: r.with_trials(tuple(map(_failed, r.trials))),
    "no accelerator can run any": lambda r: r.with_trials(tuple(map(_unsupported, r.trials))),
    "all equal": lambda r: r.with_trials(tuple(replace(r.trials[3], number=t.number) for t in r.trials)),
    "nothing but trials": lambda r: replace(r, tables={}, graph={}, reference={}, conventions={}, provenance={}, config={}, budgets=()),
    "nothing at all": lambda r: SweepRecord("x", r.score, (), (), (), {}, {}, {}, {}, {}),
    "no allocations": lambda r: r.with_trials(tuple(replace(t, allocation=None) for t in r.trials)),
    "no knobs": lambda r: r.with_trials(tuple(replace(t, knobs={}, samples=0) for t in r.trials)),
}


@pytest.mark.parametrize("case", _CASES)
def test_it_survives(case, builder, record, tmp_path):
    few = builder(12, costs=(record.costs[0], record.costs[2], record.costs[-1]))  # one of each kind: plain, many rows, unsupported widths
    page = write_report(tmp_path, record=_CASES[case](few), formats=()).read_text()
    checked = _Checked(page)
    text = " ".join(checked.text)
    assert page.count("<h2>") == len(SECTIONS)
    assert "nan" not in re.findall(r"\bnan\b", text)
    assert "None" not in re.findall(r"\bNone\b(?! ran| recorded|: all)", text)


def test_scores_that_are_better_when_lower(tiny, tmp_path):
    score = Metric("perplexity", "", "lower")
    trials = tuple(replace(t, measures={**t.measures, "perplexity": 10 - 5 * t.measures.get("accuracy", 0)}) for t in tiny.trials)
    page = write_report(tmp_path, record=replace(tiny, score=score, trials=trials, reference={"validation": 5.0}), formats=()).read_text()
    assert "best measured point of all is #0 uniform w8a8 with 5.25, 0.25 worse than FP32." in page
    assert "95 % interval 9" not in page


def test_costs_that_are_better_when_higher(tiny, tmp_path):
    rate = Metric("throughput", "", "higher", on="x")
    trials = tuple(replace(t, measures={**t.measures, rate.key: 1 / t.measures.get("latency@x", 1.0)}) for t in tiny.trials)
    write_report(tmp_path, record=replace(tiny, costs=(rate,), trials=trials, budgets=()), formats=())
    lines = (tmp_path / "front.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in lines[1:4]] == ["1", "2", "0"]


@pytest.mark.slow
def test_two_thousand_trials_stay_under_eight_megabytes(builder, tmp_path):
    page = write_report(tmp_path, record=builder(2000), formats=())
    assert page.stat().st_size < 8e6


def test_a_plug_in_section_comes_last(tiny, tmp_path, monkeypatch):
    class Mine:
        title = "Mine"

        def facts(self, record):
            return len(record.trials)

        def draw(self, facts):
            return Fragment((paragraph(f"{facts} <trials>"),))

    class Entry:
        name = "mine"

        def load(self):
            return Mine()

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()] if group == "hwdse.sections" else [])
    page = write_report(tmp_path, record=tiny, formats=()).read_text()
    assert page.index("<h2>Mine</h2>") > page.index("<h2>Conventions")
    assert "8 &lt;trials&gt;" in page


def test_errors(tmp_path, tiny):
    with pytest.raises(UnknownName, match="unknown figure format 'pgn'; did you mean 'png'"):
        write_report(tmp_path, record=tiny, formats=("pgn",))
    with pytest.raises(StorageError):
        write_report(tmp_path / "nowhere")
    (tmp_path / "record.json").write_text("{")
    with pytest.raises(FileFormatError):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_importing_reports_is_light():
    code = "import sys, hwdse.reports; print([m for m in ('matplotlib', 'pandas', 'jinja2', 'torch', 'scipy') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
