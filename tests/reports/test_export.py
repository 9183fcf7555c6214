"""CSV files: every trial, units in the header, infinity and blanks told apart."""

import csv
import io

from hwdse.reports.export import front_csv, trials_csv


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_every_trial_with_si_units(tiny):
    rows = _rows(trials_csv(tiny))
    assert [r["trial"] for r in rows] == [str(n) for n in range(8)]
    good = rows[2]
    assert float(good["latency@x [s]"]) == 3e-3
    assert float(good["weights [B]"]) == 250
    assert float(good["accuracy [fraction]"]) == 0.93
    assert float(good["test accuracy [fraction]"]) == 0.92
    assert (good["knob.budget"], good["knob.allocator"], good["slack: weights <= 300 B"]) == ("weights <= 75% of w8a8", "qbitopt", "50.0")
    assert good["allocation"] == "a=w8a8 b=w4a4"
    assert rows[5]["latency@x [s]"] == "inf"
    assert (rows[4]["state"], rows[4]["latency@x [s]"], rows[4]["error"]) == ("failed", "", "TrainingDiverged: loss is nan at step 7")


def test_fronts_of_every_cost(tiny):
    rows = _rows(front_csv(tiny))
    assert [(r["front"], r["place"], r["trial"]) for r in rows] == [
        ("weights", "1", "5"), ("weights", "2", "2"), ("weights", "3", "0"),
        ("latency@x", "1", "1"), ("latency@x", "2", "2"), ("latency@x", "3", "0"),
    ]  # fmt: skip
    assert float(rows[1]["95% low"]) < 0.93 < float(rows[1]["95% high"])


def test_an_empty_run_has_headers_only(tiny):
    empty = tiny.with_trials(())
    assert len(trials_csv(empty).splitlines()) == len(front_csv(empty).splitlines()) == 1
