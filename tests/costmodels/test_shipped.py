"""What comes with the package is documented, credited, and runs."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from hwdse.costmodels import accelerator_names, load_accelerator
from hwdse.costmodels.accelerator_file import _models
from hwdse.costmodels.accelerator_format import AcceleratorKeys
from hwdse.costmodels.table_file import KNOWN

ROOT = Path(__file__).parents[2]


def keys(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for name, field in model.model_fields.items():
        inner = _models(field.annotation)
        for one in inner:
            found += keys(one, f"{prefix}{name}.")
        if not inner and name != "model":
            found.append((f"{prefix}{field.alias or name}", str(field.description)))
    return found


@pytest.mark.parametrize(("key", "about"), keys(AcceleratorKeys))
def test_every_key_is_documented_with_its_description(key: str, about: str) -> None:
    assert f"| `{key}` | {about}" in (ROOT / "docs" / "accelerator-files.md").read_text()


def test_the_documentation_has_no_key_that_the_format_lacks() -> None:
    text = (ROOT / "docs" / "accelerator-files.md").read_text()
    section = text[text.index("### Top level") : text.index("`precision.semantics` says")]
    assert {m[1] for m in re.finditer(r"^\| `([\w.]+)` \|", section, re.MULTILINE)} == {key for key, _ in keys(AcceleratorKeys)}


@pytest.mark.parametrize("column", KNOWN)
def test_every_column_is_documented(column: str) -> None:
    text = (ROOT / "docs" / "accelerator-files.md").read_text()
    known = column.replace("latency_std_ms", "latency_std_s").replace("latency_std_us", "latency_std_s")
    known = known.replace("latency_std_ns", "latency_std_s").replace("latency_std_cycles", "latency_std_s")
    assert f"`{known}`" in text


@pytest.mark.parametrize("name", accelerator_names())
def test_every_shipped_file_is_credited(name: str) -> None:
    notice = (ROOT / "NOTICE").read_text()
    if name != "npu":  # assumptions of our own
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
