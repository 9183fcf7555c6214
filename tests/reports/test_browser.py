"""The page in a browser: what an architect does with it, by mouse and by keyboard, against what Python says of the same run."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hwdse.edges import Edges
from hwdse.formats import Allocation
from hwdse.metrics import Metric
from hwdse.reports import pick, write_report
from hwdse.reports.budgets import budget_results
from hwdse.reports.points import measured
from hwdse.reports.sections.breakdown import cost_part
from hwdse.reports.wording import cell, column

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here: the page is not tested in a browser", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: the page is not tested in a browser")

_QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
_NASTY = '</script><script>window.harm=1</script><img src=x onerror="window.harm=1">\u2028&\'"<!--'


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Opens a page; at the end it must have said nothing, and asked the network for nothing."""
    said, asked, pages = [], [], []

    def open_(path, **context):
        page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_
    for page in pages:
        page.context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def record(builder):
    """With an edge between two layers, a point in codebooks, and one that was costed by a table that is not there."""
    found = builder(48)
    latency = found.tables["latency@t4"]
    count = len(latency.options)
    activation = np.array([o.activation.bits for o in latency.options], float)
    cells = 3e-5 * (activation[:, None] != activation[None, :])
    edges = Edges(np.array([[0, 1], [4, 5]]), np.zeros(2, np.intp), np.broadcast_to(cells, (2, count, count)).copy())
    tables = {**found.tables, "latency@t4": replace(latency, edges=edges)}

    def again(t):
        if t.allocation is None:
            return t
        knobs = {**t.knobs, "scheme": "codebook+lsq@mse"} if t.number == 7 else t.knobs
        measures = {**t.measures, "latency@t4": tables["latency@t4"].total(t.allocation)}
        measures["bitops"] *= 1.01 if t.number == 6 else 1
        return replace(t, knobs=knobs, measures=measures)

    return replace(found, tables=tables).with_trials(tuple(map(again, found.trials)))


@pytest.fixture(scope="module")
def path(record, tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("run"), record=record, formats=())


@pytest.fixture
def page(opened, path):
    return opened(path)


def _place(page, label):
    """Number of the quantity with this label: limits and sliders are named after it."""
    return page.locator("#axis-x option", has_text=re.compile(f"^{re.escape(label)}$")).get_attribute("value")


def _settle(page):
    """The plot is drawn with the next frame, the table a little later."""
    page.locator("#explorer:not([aria-busy])").wait_for()


def _shown(page):
    _settle(page)
    return page.locator("#points tbody tr:visible").evaluate_all("rows => rows.map((r) => Number(r.cells[0].textContent.slice(1)))")


def _best(page):
    return [int(text[1:]) for text in page.locator("#points tr.best td:first-child").all_text_contents()]


def _open(page, number):
    row = page.locator("#points tbody tr", has=page.locator("td:first-child", has_text=re.compile(f"^#{number}$")))
    row.focus()
    row.press("Enter")
    return page.locator("#point")


def test_limits_choose_what_pick_chooses(page, record):
    cases = [
        (["latency@t4 = 1.3 ms"], []),
        (["weights = 200 KiB", "energy@npu = 0.6 mJ"], []),
        (["latency@npu = 1 ms"], ["accuracy = 96 %"]),
        (["latency@t4 = 0.1 ms"], []),
    ]
    for maxima, minima in cases:
        page.click("#clear", force=True) if page.locator("#clear").is_enabled() else None
        for text in (*maxima, *minima):
            key, _, amount = text.partition(" = ")
            metric = record.metric(key)
            place = _place(page, "validation accuracy" if key == "accuracy" else key)
            unit = page.locator(".limit", has=page.locator(f"#limit-{place}")).locator(".unit").inner_text()
            factor = metric.scale(metric.parse(f"1 {unit.replace('bit', '')}"))[0]
            page.fill(f"#limit-{place}", repr(metric.parse(amount) / factor))
        inside = _shown(page)
        if not inside:
            assert (
                page.locator("#picked")
                .inner_text()
                .startswith("No measured point is inside these limits. latency@t4: the nearest of all is")
            )
            continue
        found = pick(record, maxima, minima)
        assert len(inside) == found.inside
        assert _best(page) == [found.trial.number]
        assert page.locator(".best-ring").count() == 1
        words = shlex.split(page.locator("#pick-command").inner_text().split("hwdse pick RUN ")[1])
        again = pick(record, [w for f, w in zip(words[::2], words[1::2], strict=True) if f == "--max"],
                     [w for f, w in zip(words[::2], words[1::2], strict=True) if f == "--min"])  # fmt: skip
        assert (again.trial.number, again.inside) == (found.trial.number, found.inside)


def test_a_budget_of_the_sweep_has_the_best_point_of_the_report(page, record):
    results = [b for b in budget_results(record) if b.limits]
    for k, result in enumerate(results):
        page.select_option("#preset", str(k))
        assert len(_shown(page)) == result.inside
        assert _best(page) == ([result.best.number] if result.best else [])


def test_a_slider_stops_at_each_measured_value(page, record):
    slider = page.locator(f"#slider-{_place(page, 'latency@t4')}")
    costs = sorted(t.measures["latency@t4"] for t in measured(record))
    slider.focus()
    assert slider.get_attribute("aria-valuetext") == "no limit"
    slider.press("Home")
    assert len(_shown(page)) == costs.count(costs[0])
    slider.press("ArrowRight")
    assert len(_shown(page)) == sum(c <= costs[0] or c == min(x for x in costs if x > costs[0]) for c in costs)
    assert slider.get_attribute("aria-valuetext").endswith("ms")
    slider.press("End")
    assert len(_shown(page)) == len(costs)
    assert page.locator("#clear").is_disabled()


def test_axes_log_and_several_accelerators(page, record):
    title = page.locator("#plot .title")
    assert title.first.text_content().startswith("latency@t4 [ms]")
    page.select_option("#axis-x", label="latency, each accelerator")
    page.check("#log-x")
    _settle(page)
    assert page.locator("#plot .front").count() == 3
    assert "log" in title.first.text_content()
    page.click(".legend button:has-text('mpic')")
    _settle(page)
    assert page.locator("#plot .front").count() == 2
    page.select_option("#axis-x", label="bitops")
    page.select_option("#axis-y", label="expected loss")
    page.check("#log-y")
    _settle(page)
    assert page.locator("#plot .predicted").count() == 1
    for label in page.locator("#axis-x option").all_inner_texts():
        page.select_option("#axis-x", label=label)
        _settle(page)
        assert page.locator("#plot svg text").count() > 5
    assert "NaN" not in page.locator("#plot").inner_html()


def test_the_predicted_front_lies_on_the_measured_one(page):
    assert page.locator("#axis-x option:checked").text_content() == "latency@t4"  # which is no sum over layers here
    assert page.locator("#plot .predicted").count() == 0
    page.select_option("#axis-x", label="latency@mpic")
    _settle(page)
    assert page.locator("#plot .predicted").count() == page.locator("#plot .predicted-band").count() == 1
    assert "rank correlation" in page.locator("#omitted").text_content()
    straight = page.locator("#plot .predicted-band").get_attribute("d").count("L")
    page.check("#log-y")
    _settle(page)
    bent = page.locator("#plot .predicted-band").get_attribute("d")
    assert bent.count("L") > 5 * straight  # no corner is left out
    assert "NaN" not in bent
    assert "Infinity" not in bent
    page.uncheck("#log-y")
    page.select_option("#axis-x", label="latency, each accelerator")
    _settle(page)
    assert page.locator("#plot .predicted-band").count() == 2
    page.uncheck("#predicted")
    _settle(page)
    assert page.locator("#plot .predicted").count() == page.locator("#plot .predicted-band").count() == 0
    page.check("#predicted")
    page.select_option("#axis-y", label="test accuracy")  # of which nothing is predicted
    _settle(page)
    assert page.locator("#plot .predicted").count() == 0


def test_the_legend_hides_a_kind_of_point_everywhere(page, record):
    page.click(".legend button:has-text('uniform')")
    expected = [t.number for t in measured(record) if t.knobs["allocator"] != "uniform"]
    assert _shown(page) == expected
    assert page.locator(".legend button:has-text('uniform')").get_attribute("aria-pressed") == "false"
    assert page.evaluate("document.activeElement.textContent").startswith("uniform")


def _first_on_front(page):
    """Where the first point of the front is on the screen."""
    x, y = map(float, re.match(r"M([\d.]+) ([\d.]+)", page.locator("#plot .front").get_attribute("d")).groups())
    page.locator("#plot").scroll_into_view_if_needed()
    box = page.locator("#plot > svg").bounding_box()
    return box["x"] + x, box["y"] + y


def test_hover_click_and_keyboard_on_the_plot(page, record):
    from hwdse.pareto import ParetoFront

    first = ParetoFront.of(measured(record), (record.metric("latency@t4"), record.score)).trials[0]
    page.mouse.move(*_first_on_front(page))
    tip = page.locator("#tip")
    assert tip.locator("strong").inner_text().startswith(f"#{first.number} ")
    assert "latency@t4: " in tip.inner_text()
    bits = tip.locator(".strip tr").first.locator("td").all_inner_texts()
    assert [int(b) for b in bits] == [w.weight.bits for w in first.allocation.values()]
    page.mouse.click(*_first_on_front(page))
    assert page.locator("#point-title").inner_text().startswith(f"#{first.number} ")
    assert page.locator(".open-ring").count() >= 1
    page.keyboard.press("Escape")
    assert page.locator("#point").is_hidden()
    assert page.evaluate("document.activeElement.id") == "plot"
    page.keyboard.press("ArrowRight")
    assert tip.locator("strong").inner_text().startswith(f"#{first.number} ")
    page.keyboard.press("Enter")
    assert page.locator("#point-title").inner_text().startswith(f"#{first.number} ")


def test_rows_are_walked_and_opened_by_keyboard(page):
    page.locator("#points tbody tr[tabindex='0']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("#point-title").inner_text() == page.locator("#points tr[aria-current]").evaluate(
        "r => r.cells[0].textContent + ' ' + r.cells[1].textContent"
    )
    page.locator("#point .close").click()
    assert page.evaluate("document.activeElement.rowIndex") == 2


@pytest.mark.parametrize("number", [5, 18])
def test_the_breakdown_is_that_of_the_tables(page, record, number):
    trial = next(t for t in record.trials if t.number == number)
    panel = _open(page, number)
    totals = {r[0]: r for r in panel.locator("table", has_text="how it is known").last.locator("tbody tr").evaluate_all(
        "rows => rows.map((r) => [...r.cells].map((c) => c.textContent))")}  # fmt: skip
    for metric in record.costs:
        part = cost_part(record.tables[metric.key], trial.allocation)
        values = [t.measures[metric.key] for t in measured(record)]
        factor, unit = column(metric, values)
        if not np.isfinite(part.total):
            assert totals[metric.key][1] == "cannot run"
            continue
        assert totals[metric.key][1] == f"{cell(part.total, factor)} {unit}"
        shares = dict(text.rsplit(" ", 2)[0:2] for text in totals[metric.key][3].split(", "))
        assert {k: float(v) for k, v in shares.items() if v != "<"} == pytest.approx(
            {k: 100 * v for k, v in part.shares.items() if v >= 0.001}, abs=0.06
        )
        panel.locator("select").select_option(label=metric.key)
        rows = panel.locator(".layers tbody tr").evaluate_all("rows => rows.map((r) => [...r.cells].map((c) => c.textContent))")
        for row, name, value in zip(rows, record.tables[metric.key].layers, part.layers, strict=False):
            assert row[0] == name
            assert f"w{row[1]}a{row[2]}" == str(trial.allocation[name])
            if value:
                amount, _, said = row[3].partition(" ")
                assert (float(amount.replace(",", "")), said) == (pytest.approx(value / factor, rel=6e-4), unit)
            else:
                assert row[3] == "–"


def test_codebook_points_have_no_breakdown_of_plain_weights(page):
    panel = _open(page, 7)
    assert "indices into codebooks" in panel.inner_text()
    assert panel.locator(".layers thead th").count() == 3  # layer and widths only


def test_a_point_that_another_table_costed_has_no_breakdown(page):
    panel = _open(page, 6)
    panel.locator("select").select_option(label="bitops")
    assert "by another table" in panel.inner_text()


def test_files(page, record):
    page.select_option("#preset", "0")
    shown = _shown(page)
    with page.expect_download() as caught:
        page.click("#csv")
    rows = list(csv.DictReader(io.StringIO(caught.value.path().read_text())))
    assert [int(r["trial"]) for r in rows] == shown
    trial = next(t for t in record.trials if t.number == shown[0])
    assert float(rows[0]["latency@t4 [s]"]) == trial.measures["latency@t4"]
    panel = _open(page, shown[0])
    with page.expect_download() as caught:
        panel.locator(".download").click()
    text = caught.value.path().read_text()
    assert Allocation.from_json(text) == trial.allocation
    assert json.loads(text)["measures"]["accuracy"] == trial.measures["accuracy"]


def test_names_do_no_harm(tiny, opened, tmp_path):
    layers = {"a": f"a{_NASTY}", "b": "b"}
    metric = Metric("latency", "s", on=f"x{_NASTY}")

    def renamed(t):
        measures = {metric.key if k == "latency@x" else k: v for k, v in t.measures.items()}
        allocation = t.allocation and Allocation({layers[k]: v for k, v in t.allocation.items()})
        return replace(
            t, measures=measures, allocation=allocation, knobs={**t.knobs, "allocator": _NASTY, "scheme": _NASTY, _NASTY: _NASTY}
        )

    tables = {metric.key if k == "latency@x" else k: replace(t, layers=tuple(layers.values())) for k, t in tiny.tables.items()}
    tables[metric.key] = replace(tables[metric.key], metric=metric)
    nasty = replace(tiny, task=_NASTY, trials=tuple(map(renamed, tiny.trials)), tables=tables, costs=(tiny.costs[0], metric), budgets=(),
                    config={"schema": "hwdse.sweep/1", "task": _NASTY})  # fmt: skip
    page = opened(write_report(tmp_path, record=nasty, formats=()))
    panel = _open(page, 2)
    page.locator("#plot").focus()
    page.keyboard.press("ArrowRight")
    assert _NASTY.replace("\u2028", "\\u2028") in panel.text_content()  # shown by its code
    assert _NASTY.replace("\u2028", "\\u2028") in page.locator("#tip").text_content()
    assert page.evaluate("window.harm") is None
    assert page.locator("#explorer img, #explorer script").count() == 0


@pytest.mark.parametrize("width", [600, pytest.param(1280, marks=pytest.mark.slow)])  # at 600 px every table is wider than its box
def test_axe_finds_nothing_serious(page, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    page.select_option("#preset", "0")
    _settle(page)
    _open(page, 5)
    found = axe.Axe().run(page).response["violations"]
    assert [(v["id"], [n["target"] for n in v["nodes"]][:3]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_without_script_figures_and_table_stand(opened, path, record):
    page = opened(path, java_script_enabled=False)
    assert page.locator("#explorer").is_hidden()
    assert page.locator("#points tbody tr:visible").count() == len(measured(record))
    assert page.locator("figure svg").count() > 5


@pytest.mark.parametrize("width", [600, 3840])
def test_nothing_makes_the_page_scroll_sideways(opened, path, width):
    page = opened(path)
    page.set_viewport_size({"width": width, "height": 900})
    _open(page, 5)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
