"""What comes with the package is documented, credited, and runs."""

from __future__ import annotations

import contextlib
import csv
import re
import runpy
import sys
import tomllib
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from hwdse.costmodels import accelerator_names, load_accelerator
from hwdse.costmodels.json_schema import accelerator_schema, table_schema
from hwdse.costmodels.table_columns import KNOWN

ROOT = Path(__file__).parents[2]


def test_the_documentation_has_every_key_and_no_other() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_keys.py"))
    text = (ROOT / "docs" / "accelerator-files.md").read_text()
    assert made["documented"](text) == text, "run: python docs/make_keys.py"
    for name, content in made["schemas"]().items():
        assert (ROOT / "docs" / "schema" / name).read_text() == content, "run: python docs/make_keys.py"


@pytest.mark.parametrize("name", accelerator_names())
def test_shipped_files_satisfy_the_published_schema(name: str) -> None:
    validator = Draft202012Validator(accelerator_schema())
    assert not list(validator.iter_errors(tomllib.loads(load_accelerator(name).file.read_text())))


def test_the_published_schema_refuses_what_the_reader_refuses() -> None:
    data = tomllib.loads(load_accelerator("npu").file.read_text())
    validator = Draft202012Validator(accelerator_schema())
    for broken in ({**data, "clok": 1}, {k: v for k, v in data.items() if k != "precision"}, {**data, "clock": {"hz": -1}}):
        assert list(validator.iter_errors(broken))


@pytest.mark.parametrize("name", [n for n in accelerator_names() if load_accelerator(n).rows])
def test_shipped_tables_satisfy_the_published_schema(name: str) -> None:
    validator, accelerator = Draft202012Validator(table_schema()), load_accelerator(name)
    for table in accelerator.keys.table:
        lines = [line for line in (accelerator.file.parent / table.file).read_text().splitlines() if not line.startswith("#")]
        rows = [{k: number(v) for k, v in row.items() if v} for row in csv.DictReader(lines)]
        assert len(rows) > 100
        for row in rows[::20]:
            assert not list(validator.iter_errors(row)), row


def number(text: str) -> float | int | str:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


@pytest.mark.parametrize("column", KNOWN)
def test_every_column_is_documented(column: str) -> None:
    text = (ROOT / "docs" / "accelerator-files.md").read_text()
    known = column.replace("latency_std_ms", "latency_std_s").replace("latency_std_us", "latency_std_s")
    known = known.replace("latency_std_ns", "latency_std_s").replace("latency_std_cycles", "latency_std_s")
    assert f"`{known}`" in text


@pytest.mark.parametrize("name", accelerator_names())
def test_every_shipped_file_is_credited(name: str) -> None:
    notice = (ROOT / "NOTICE").read_text()
    if load_accelerator(name).keys.provenance.kind != "analytic":  # assumptions of our own
        assert f"costmodels/accelerators/{name}.toml" in notice
    for table in load_accelerator(name).keys.table:
        assert f"costmodels/tables/{Path(table.file).name}" in notice


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "my_cost_model.py"), run_name="__main__")
    shown = capsys.readouterr().out
    assert "uniform w8a8: 770.7 KiB" in shown


def test_the_smallest_documented_files_load(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "accelerator-files.md").read_text()
    blocks = [re.sub(r"^    ", "", b, flags=re.MULTILINE) for b in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)]
    measured = next(b for b in blocks if "schema = " in b)
    analytic = next(b for b in blocks if "[compute]" in b)
    (tmp_path / "mine.csv").write_text("op,batch,in_channels,out_channels,w_bits,a_bits,latency_s\nlinear,1,3,5,4,8,1e-6\n")
    (tmp_path / "mine.toml").write_text(measured)
    assert [m.metric.key for m in load_accelerator(tmp_path / "mine.toml").cost_models()] == ["latency@mine", "weights@mine"]
    (tmp_path / "mine.toml").write_text(measured.split("[[table]]")[0] + analytic)
    assert load_accelerator(tmp_path / "mine.toml").cost_models()[0].metric.key == "latency@mine"


def test_importing_cost_models_loads_no_pydantic_and_no_torch() -> None:
    import subprocess

    code = "import sys, hwdse.costmodels; print([m for m in ('torch', 'pydantic', 'pandas', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
