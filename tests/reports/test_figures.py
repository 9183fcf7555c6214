"""Figures: files by format, known marks, nothing left behind in matplotlib's settings."""

import matplotlib
import pytest

from hwdse.errors import UnknownName
from hwdse.reports import draw_sensitivity, style, write_report


def test_draw_sensitivity_by_ending(tiny, tmp_path):
    assert draw_sensitivity(tiny.tables["loss"], tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in draw_sensitivity(tiny.tables["loss"], tmp_path / "s.svg").read_text()
    with pytest.raises(UnknownName, match=r"unknown figure format 'pdf'. Known: png, svg. Give a file such as s.png"):
        draw_sensitivity(tiny.tables["loss"], tmp_path / "s.pdf")


def test_marks_tell_allocators_apart_by_colour_and_by_shape():
    names = ["adaqat", "qbitopt", "adq", "uniform", "mine", "other", "third"]
    found = style.marks(names)
    assert len({m.colour for m in found.values()}) == len({m.shape for m in found.values()}) == len(names)
    assert style.marks(["other", "mine"]) == style.marks(["mine", "other"])


def test_settings_of_matplotlib_are_left_as_they_were(tiny, tmp_path):
    before = dict(matplotlib.rcParams)
    write_report(tmp_path, record=tiny)
    assert dict(matplotlib.rcParams) == before


def test_inline_keeps_only_identifiers_that_are_used():
    text = '<?xml?><svg xmlns="http://x" viewBox="0 0 1 1"><metadata>m</metadata><g id="a"/><path id="b"/><use xlink:href="#b"/></svg>'
    found = style.inline(text, 'a "label" <x>', "f")
    assert found == (
        '<svg role="img" aria-label="a &quot;label&quot; &lt;x&gt;" viewBox="0 0 1 1"><g/><path id="f-b"/><use href="#f-b"/></svg>'
    )
