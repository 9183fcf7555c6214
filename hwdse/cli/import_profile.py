"""``hwdse accelerators import``: a profiler's files to a look-up table, and everything that did not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hwdse.allocation_files import read_allocation
from hwdse.costmodels.importers import LeftRow, Match, Profile, at_widths, importer, in_seconds, match, table_text
from hwdse.costmodels.table_file import read_table
from hwdse.errors import UsageError
from hwdse.formats import LayerFormat
from hwdse.metrics import Metric
from hwdse.storage import write
from hwdse.tasks import load_task
from hwdse.workbench import Workbench

from .setup import writable
from .show import print_json, print_table, print_text, telling

LATENCY, ENERGY = Metric("latency", "s"), Metric("energy", "J")
_LEFT = {
    "Fused: one time for several layers, not in the table": ("fused",),
    "Refused": ("refused",),
    "Rows left over": ("no cost", "unmatched"),
}
SHOWN = 20  # rows left over are listed up to here; --json has them all


def run(
    format: str,  # noqa: A002  # the argument's name
    files: list[Path],
    task: str,
    widths: str | None,
    allocation: Path | None,
    clock: float | None,
    by_order: bool,
    output: Path,
    json: bool,
) -> None:
    """Writes the table and says what stands in it, what does not, and how to use it."""
    read, asked = importer(format), _asked(widths, allocation)
    if output.resolve() in [path.resolve() for path in files]:
        raise UsageError(f"{output} is one of the files to read; write the table elsewhere.")
    profile = in_seconds(read(files), clock)
    writable(output)
    with telling(json) as say:
        say("tracing", 0, 1)
        graph = Workbench(load_task(task), cache=None).graph
    found, at = at_widths(match(graph, profile, by_order), asked)
    about = [f"Layers of the task {task} (graph {graph.fingerprint}), matched by name, shape or order; {found.share:.1%} of its MACs."]
    if profile.times != type(profile).times:
        about.append(f"Times: {profile.times}.")
    if profile.clock:
        about.append(f"Cycles at {profile.clock:g} Hz.")
    text = table_text(profile, found.pairs, at, about)
    write(output, text)
    read_table(output)  # what cannot be read back is a fault of ours, and is said here
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    lines = ["[[table]]", f'file = "{output.name}"', f'sha256 = "{sha256}"']
    if json:
        print_json({"format": format, "task": task, **_facts(profile, found, at), "file": str(output), "sha256": sha256, "toml": lines})
        return
    _print(profile, found, at, task)
    if not by_order and any("more than one row or layer" in left.reason for left in found.rows):
        print_text()
        print_text("Rows that more than one layer could be: --by-order joins them, if the files list every layer in its order.")
    print_text()
    print_text(f"Wrote {output}: {len(found.pairs)} rows.")
    print_text(f"To use it, put these lines into an accelerator file in the same folder, whose [provenance] kind is '{profile.kind}':")
    for line in lines:
        print_text(f"  {line}")
    rest = ' Layers without a row need an analytic model ([compute]) there, or other rows; missing = "error" refuses them.'
    print_text(f"Then: hwdse accelerators check FILE.{rest if found.layers else ''}")


def _asked(widths: str | None, allocation: Path | None) -> Callable[[str], LayerFormat | None]:
    """Layer name -> the widths that the user says it ran at."""
    if widths is not None and allocation is not None:
        raise UsageError("--widths and --allocation both say the widths; give one of them.")
    if allocation is None:
        uniform = None if widths is None else LayerFormat.parse(widths)
        return lambda layer: uniform
    return read_allocation(allocation)[0].get


def _facts(profile: Profile, found: Match, at: Any) -> dict[str, Any]:
    return {
        "tool": profile.tool,
        "about": profile.about,
        "kind": profile.kind,
        "times": profile.times,
        "clock_hz": profile.clock,
        "macs_share": found.share,
        "time_share": found.time_share,
        "matched": [
            {
                "layer": pair.layer.name,
                "by": pair.how,
                "row": pair.row.label,
                "where": pair.row.where,
                "widths": str(at[pair.layer.name]),
                "latency_s": pair.row.seconds,
                "latency_std_s": pair.row.spread,
                "runs": pair.row.runs,
                "energy_j": pair.row.joules,
                "macs": pair.layer.macs,
            }
            for pair in found.pairs
        ],
        "rows_left": [{"row": x.row.label, "where": x.row.where, "why": x.why, "reason": x.reason, "layers": x.layers} for x in found.rows],
        "layers_left": [{"layer": layer.name, "reason": reason, "macs": layer.macs} for layer, reason in found.layers],
    }


def _print(profile: Profile, found: Match, at: Any, task: str) -> None:
    files = ", ".join(path.name for path in profile.files[:3]) + (f" and {len(profile.files) - 3} more" if len(profile.files) > 3 else "")
    total = len(found.pairs) + len(found.layers)
    print_text(f"{profile.tool} ({profile.about}; {files}) for {task}", style="bold")
    time = "" if found.time_share is None else f" and {found.time_share:.1%} of the {profile.times}"
    print_text(f"{len(found.pairs)} of {total} layers have a row of their own: {found.share:.1%} of the MACs{time}.")
    print_text()
    energy = any(pair.row.joules for pair in found.pairs)
    print_table(
        ["layer", "found by ", "widths ", "latency", *(["energy"] if energy else []), "row "],
        [
            [
                pair.layer.name,
                pair.how,
                str(at[pair.layer.name]),
                "-" if pair.row.seconds is None else LATENCY.format(pair.row.seconds),
                *([("-" if pair.row.joules is None else ENERGY.format(pair.row.joules))] if energy else []),
                pair.row.label,
            ]
            for pair in found.pairs
        ],
    )
    for title, kinds in _LEFT.items():
        _rows(title, [(x.row.label, _said(x)) for x in found.rows if x.why in kinds])
    _rows("Layers without a row", [(layer.name, reason) for layer, reason in found.layers])


def _said(left: LeftRow) -> str:
    """``body, skip: one time for 2 layers (3 us)``."""
    time = "" if left.row.seconds is None else f" ({LATENCY.format(left.row.seconds)})"
    return ": ".join(filter(None, (", ".join(left.layers), left.reason))) + time


def _rows(title: str, rows: list[tuple[str, str]]) -> None:
    if not rows:
        return
    print_text()
    print_text(f"{title} ({len(rows)})", style="bold")
    for name, reason in rows[:SHOWN]:
        print_text(f"  {name}: {reason}", indent=4)
    if len(rows) > SHOWN:
        print_text(f"  and {len(rows) - SHOWN} more; --json lists them all")
