"""The import rules, read from the source: one direction, no circles, nothing heavy at import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A file of the core imports only what stands left of it.
ORDER = [
    "__init__",
    "errors",
    "interrupts",
    "numerals",
    "names",
    "passwords",
    "reading",
    "checksums",
    "devices",
    "metrics",
    "margins",
    "formats",
    "graph",
    "choices",
    "edges",
    "costs",
    "constraints",
    "problem",
    "storage",
    "run_files",
    "record_text",
    "sample_scores",
    "soundness",
    "trial_result",
    "earlier_records",
    "intervals",
    "records",
    "allocation_files",
    "pareto",
    "registry",
    "solvers",
    "ladder",
    "quantizers",
    "decoding",
    "inputs",
    "trace",
    "recipe",
    "task",
    "contract",
    "quantized",
    "sensitivity",
    "proxies",
    "evaluation",
    "door",
    "norms",
    "objective",
    "bias_correction",
    "rounding",
    "checkpoint",
    "loop",
    "training",
    "allocators",
    "tasks",
    "workbench",
    "measure",
    "handoff",
    "testing",
    "api",
    "cli",
]
FOLDERS = {"costmodels": "hwdse.costmodels", "sweeps": "hwdse.sweeps", "reports": "hwdse.reports"}
PACKAGES = {ROOT / "hwdse": "hwdse", **{ROOT / folder: name for folder, name in FOLDERS.items()}}
HEAVY = {"torch", "scipy", "pulp", "optuna", "matplotlib", "pandas", "sklearn", "jinja2", "pydantic", "typer", "rich"}


def files() -> list[tuple[Path, str]]:
    found = []
    for folder, package in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            inner = path.relative_to(folder).with_suffix("").parts
            found.append((path, ".".join([package, *inner]).removesuffix(".__init__")))
    return found


def imports(path: Path, module: str) -> set[str]:
    """Absolute names of what a file imports at run time, wherever in the file."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


def core_part(name: str) -> str | None:
    parts = name.split(".")
    if parts[0] != "hwdse" or len(parts) < 2 or parts[1] in FOLDERS:
        return None
    return parts[1] if parts[1] in ORDER else None


ALL = files()


@pytest.mark.parametrize(("path", "module"), ALL, ids=[m for _, m in ALL])
def test_imports_go_one_way(path: Path, module: str) -> None:
    mine = module.split(".")
    area = mine[1] if len(mine) > 1 and mine[1] in FOLDERS else "core"
    part = mine[1] if area == "core" and len(mine) > 1 else "__init__"
    assert area != "core" or part in ORDER, f"{part} is not in the order of the core; say where it stands"
    for name in imports(path, module):
        other = name.split(".")
        if other[0] in FOLDERS:
            pytest.fail(f"{module} imports {name}: write hwdse.{name}")
        if other[0] != "hwdse" or len(other) < 2:
            continue
        if part in ("api", "cli"):
            continue  # they know all
        assert other[1] not in ("api", "cli"), f"{module} imports what stands above it"
        if other[1] in FOLDERS:
            assert area == other[1], f"{module} imports {name}: {area} must not know {other[1]}"
        elif area == "core" and core_part(name) and core_part(name) != part:
            assert ORDER.index(core_part(name) or "") < ORDER.index(part), f"{module} imports {name}, which stands right of it"


def test_no_circles() -> None:
    graph = {module: {n for n in imports(path, module) if n in {m for _, m in ALL} and n != module} for path, module in ALL}
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, "circle: " + " -> ".join([*above[above.index(module) :], module])
        if module in done:
            return
        for other in graph[module]:
            if not other.startswith(module + ".") and not module.startswith(other + "."):
                walk(other, (*above, module))
        done.add(module)

    for module in graph:
        walk(module, ())


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded("import hwdse") & HEAVY
    assert "numpy" not in loaded("import hwdse")


def test_help_loads_no_torch() -> None:
    code = "import sys; sys.argv = ['hwdse', '--help']\nfrom hwdse.cli import main\ntry:\n    main()\nexcept SystemExit: pass"
    done = subprocess.run(
        [sys.executable, "-c", f"import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()):\n    exec({code!r})\n"
         "import sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not set(done.stdout.split()) & {"torch", "scipy", "pulp", "optuna", "matplotlib", "pandas", "sklearn"}


@pytest.mark.parametrize("command", ["status", "pick", "explain", "report"])
def test_what_reads_a_run_loads_no_torch(command: str) -> None:
    """They are asked again and again, and importing torch takes longer than all that they do."""
    assert not loaded(f"import hwdse.cli.{command}") & {"torch", "optuna", "sklearn"}


@pytest.mark.parametrize("name", ["hwdse.costmodels", "hwdse.reports", "hwdse.sweeps"])
def test_folders_load_without_torch(name: str) -> None:
    assert not loaded(f"import {name}") & {"torch", "matplotlib", "optuna", "sklearn"}


def test_only_the_study_and_the_samplers_know_optuna() -> None:
    users = {module for path, module in ALL if any(n.split(".")[0] == "optuna" for n in imports(path, module))}
    assert users == {f"hwdse.sweeps.{name}" for name in ("database", "finding", "study", "space", "samplers")}


def test_there_is_no_utils() -> None:
    assert not [m for _, m in ALL if m.split(".")[-1] in {"utils", "util", "helpers", "common", "misc"}]
