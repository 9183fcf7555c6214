"""The hand-kept package list against the disk, and what the wheel holds."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def folder_of(package: str) -> Path:
    for name, folder in sorted(CONFIG["package-dir"].items(), key=lambda item: -len(item[0])):
        if package == name or package.startswith(name + "."):
            return ROOT / folder / "/".join(package.removeprefix(name).strip(".").split("."))
    raise AssertionError(package)


def test_every_package_on_disk_is_listed_and_the_other_way_round() -> None:
    on_disk = set()
    for name, folder in CONFIG["package-dir"].items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            on_disk.add(".".join([name, *inner]))
    assert set(CONFIG["packages"]) == on_disk
    assert all(folder_of(p).is_dir() for p in CONFIG["packages"])


def test_the_wheel_holds_one_top_level_with_its_data(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--disable-pip-version-check", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("hwdse-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == {"hwdse"}
    for folder, pattern in (("costmodels/accelerators", "*.toml"), ("costmodels/tables", "*.csv")):
        for path in (ROOT / folder).glob(pattern):
            assert f"hwdse/{folder}/{path.name}" in names
    for path in (ROOT / "hwdse" / "tasks").glob("*.pt"):
        assert f"hwdse/tasks/{path.name}" in names
    for path in (ROOT / "reports").glob("page.*"):
        assert f"hwdse/reports/{path.name}" in names
    assert "hwdse/py.typed" in names
    (licence,) = [n for n in names if n.endswith("licenses/LICENSE")]
    assert zipfile.ZipFile(wheel).read(licence) == (ROOT / "LICENSE").read_bytes()
    assert any(n.endswith("licenses/NOTICE") for n in names)


APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # https://www.apache.org/licenses/LICENSE-2.0.txt


def test_the_licence_is_the_whole_text_that_the_metadata_names() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_constraints_pin_the_torch_of_the_makefile_and_every_dependency() -> None:
    pins = [line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        name = "".join(c for c in requirement.split(">")[0].split("<")[0].split("[")[0] if c not in " =").lower()
        assert name in pins, f"{name} is not pinned"
