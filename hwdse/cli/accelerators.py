"""``hwdse accelerators``: list, show, check, new, schema."""

from __future__ import annotations

from pathlib import Path

import typer

from hwdse.costmodels import accelerator_names, check_accelerator, load_accelerator
from hwdse.costmodels.json_schema import accelerator_schema, table_schema
from hwdse.costmodels.starting_file import new_accelerator
from hwdse.reading import read_text

from .show import out, print_json, print_table, print_text


def run_list(json: bool) -> None:
    """One line per shipped accelerator."""
    found = [load_accelerator(name) for name in accelerator_names()]
    rows = [
        {
            "name": a.name,
            "description": a.description,
            "provenance": a.keys.provenance.kind,
            "metrics": [m.metric.key for m in a.cost_models()],
            "pairs": [str(p) for p in a.precision.native],
            "table_rows": len(a.rows),
            "codebooks": a.codebooks,
        }
        for a in found
    ]
    if json:
        print_json(rows)
        return
    print_table(
        ["name", "numbers are ", "runs ", "table rows", "what it is "],
        [[a.name, a.keys.provenance.kind, _pairs([str(p) for p in a.precision.native]), f"{len(a.rows):,}", a.description] for a in found],
    )
    print_text()
    print_text("hwdse accelerators show NAME says more; your own is a TOML file: hwdse accelerators check FILE")


def _pairs(pairs: list[str]) -> str:
    return ", ".join(pairs) if len(pairs) <= 4 else f"{pairs[0]} to {pairs[-1]} ({len(pairs)} pairs)"


def run_show(name: str, json: bool) -> None:
    """The file as it was read, its units in the key names."""
    accelerator = load_accelerator(name)
    keys = accelerator.keys.model_dump(mode="json", by_alias=True, exclude_none=True)
    if json:
        print_json({**keys, "file": str(accelerator.file), "table_rows": len(accelerator.rows)})
        return
    print_text(f"{accelerator.name}: {accelerator.description}", style="bold", indent=2)
    print_text(f"file: {accelerator.file}")
    print_text(f"gives {', '.join(model.metric.key for model in accelerator.cost_models())}", indent=2)
    pairs = ", ".join(str(p) for p in accelerator.precision.native)
    print_text(f"runs {pairs}; other widths: {accelerator.precision.unsupported}", indent=2)
    print_text(f"codebooks for weights (allocator adq): {'yes' if accelerator.codebooks else 'no'}")
    if accelerator.rows:
        print_text(f"look-up tables: {len(accelerator.rows):,} rows")
    print_text()
    out.print(read_text(accelerator.file), soft_wrap=True)


def run_check(file: Path, json: bool) -> None:
    """Every fault, a line each."""
    lines = check_accelerator(file)
    wrong = [line.removeprefix("problem: ") for line in lines if line.startswith("problem")]
    if json:
        print_json({"file": str(file), "ok": not wrong, "problems": wrong, "lines": lines})
    else:
        for line in lines:
            print_text(line, indent=2)
    if wrong:
        raise typer.Exit(2)


def run_new(name: str, like: str, folder: Path, json: bool) -> None:
    """A commented file to fill in."""
    written = new_accelerator(name, like, folder)
    if json:
        print_json({"files": [str(path) for path in written]})
        return
    for path in written:
        print_text(f"Wrote {path}", indent=2)
    print_text(f"Its numbers are those of {like}: change them and [provenance], then run: hwdse accelerators check {written[0]}", indent=2)


def run_schema(table: bool) -> None:
    """JSON Schema on standard output."""
    print_json(table_schema() if table else accelerator_schema())
