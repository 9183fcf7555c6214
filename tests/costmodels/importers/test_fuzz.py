"""Whatever the bytes: an error of ours, or rows without a zero."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from profiler_files import SAMPLES, save

from hwdse.costmodels.importers import IMPORTERS, importer, in_seconds, match
from hwdse.errors import HwdseError
from hwdse.testing.graphs import small_graph

GRAPH = small_graph()
NASTY = (
    "0",
    "-1",
    "nan",
    "inf",
    "1e999",
    "1e-400",
    "9" * 400,
    "",
    "null",
    "[]",
    "{}",
    '"',
    ",",
    "\n",
    "\t",
    "true",
    "\x00",
    "\u2028",
    "é",
    "-0.0",
    "1e308",
)


def check(name: str, files: dict[str, bytes]) -> None:
    """Reads, times and joins; no error but ours, no cost but a finite one above 0."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(HwdseError):
        profile = importer(name)(save(Path(folder), files))
        costs = [c for row in profile.rows for c in (row.seconds, row.cycles, row.joules) if c is not None]
        assert all(math.isfinite(c) and c > 0 for c in costs)
        assert all(row.facts.macs is None or row.facts.macs > 0 for row in profile.rows)
        assert all(row.costed or row.lacks for row in profile.rows)
        with contextlib.suppress(HwdseError):
            match(GRAPH, profile, by_order=True)
        timed = in_seconds(profile, profile.clock or (1e9 if any(row.cycles for row in profile.rows) else None))
        found = match(GRAPH, timed)
        assert all(pair.row.seconds or pair.row.joules for pair in found.pairs)


@given(
    name=st.sampled_from(sorted(IMPORTERS)),
    content=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))),
)
def test_any_bytes(name: str, content: bytes) -> None:
    check(name, {"f": content})


@given(name=st.sampled_from(sorted(IMPORTERS)), data=st.data())
def test_damaged_samples(name: str, data: st.DataObject) -> None:
    files = {file: text.encode() for file, text in SAMPLES[name]().items()}
    file = data.draw(st.sampled_from(sorted(files)))
    text = files[file]
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.sampled_from((0, 1, 3, 20, len(text))))
        text = text[:start] + data.draw(st.sampled_from(NASTY)).encode() + text[start + length :]
    check(name, {**files, file: text})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(name=st.sampled_from(["trtexec", "onnxruntime", "zigzag"]), data=st.data())
def test_json_with_any_value_anywhere(name: str, data: st.DataObject) -> None:
    files = {file: text.encode() for file, text in SAMPLES[name]().items()}
    file = data.draw(st.sampled_from(sorted(files)))
    document = json.loads(files[file])
    place, key = {"": document}, ""
    for _ in range(data.draw(st.integers(0, 6))):
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner:
            break
        place, key = inner, data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
    place[key] = data.draw(JSON)
    check(name, {**files, file: json.dumps(place[key] if key == "" else document).encode()})


@given(name=st.sampled_from(["vela", "scalesim", "tflite"]), data=st.data())
def test_tables_with_any_cell(name: str, data: st.DataObject) -> None:
    files = {file: text.encode() for file, text in SAMPLES[name]().items()}
    file = data.draw(st.sampled_from(sorted(files)))
    lines = files[file].decode().splitlines()
    line = data.draw(st.integers(0, len(lines) - 1))
    cells = lines[line].split(",")
    cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(st.sampled_from(NASTY) | st.text(max_size=6))
    lines[line] = ",".join(cells)
    check(name, {**files, file: "\n".join(lines).encode("utf-8", "surrogatepass")})
