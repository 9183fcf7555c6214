"""From a measurement to a look-up table, and to the accelerator file that uses it."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence
from datetime import date

from ...errors import UsageError
from ...formats import LayerFormat
from ..loading import accelerator_names
from ..table_writing import number_cell, shape_cells, table_file_text
from .kernel import FP32, name_of
from .measure import Measured, Measurement

_NAME = re.compile(r"[A-Za-z][\w.\-]*")


def table_of(found: Measurement, about: Sequence[str] = ()) -> str:
    """The table, ``hwdse.table/1``: a row for each shape and pair that was measured, and none for what was not."""
    return table_file_text([*notes_of(found), *about], [_cells(found, row) for row in found.rows])


def notes_of(found: Measurement) -> list[str]:
    """How the numbers were made, a sentence each."""
    one = found.rows[0].timing
    calls = ", ".join(f"{empty.seconds * 1e6:.3g} us in {name_of(widths)}" for widths, empty in found.empty.items())
    return [
        f"{found.tool} on {_place(found)}, {platform.system()}, {date.today()}.",
        f"Each shape was run alone with random operands; latency is the median of {one.samples} samples, each the mean of several calls, "
        "taken in turn over all shapes; latency_std_s is 1.4826 times their median absolute deviation, runs the number of samples.",
        f"A call with a single product to do takes {calls}; that is part of every latency, and was not subtracted.",
        "Operands stay in the caches as far as they fit, so a layer may be slower inside a network.",
        *(f"{text[0].upper()}{text[1:]}." for text in found.about),
    ]


def _cells(found: Measurement, row: Measured) -> dict[str, object]:
    return {
        **shape_cells(row.signature),
        "w_bits": row.widths.weight.bits,
        "a_bits": row.widths.activation.bits,
        "o_bits": row.output_bits,
        "latency_s": number_cell(row.timing.seconds),
        "latency_std_s": number_cell(row.timing.spread),
        "runs": row.timing.samples,
        "source": f"{found.tool}; {row.ran}; {row.timing.calls} calls a sample",
    }


def check_name(name: str) -> str:
    """The same name, if an accelerator can have it.

    Raises:
        UsageError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"an accelerator's name begins with a letter and has letters, digits, '_', '-' and '.', got '{name}'.")
    if name in accelerator_names():
        raise UsageError(f"'{name}' is the name of an accelerator that comes with the package; choose another, or results are mixed up.")
    return name


def accelerator_text(name: str, found: Measurement, table: str, sha256: str, task: str) -> str:
    """The accelerator file.

    Times of shapes that are not in the table come from a roofline with the best rates that were measured, corrected by the table: where
    its operation was measured at these widths. Other operations are refused, until the user sets ``missing = "analytic"``.

    Args:
        name: of the accelerator. table: name of the CSV file beside it. sha256: of that file. task: whose layers they are.
    """
    pairs = found.widths
    other = FP32 if FP32 in pairs else pairs[-1]
    rates = {pair: found.best_rate(pair) for pair in pairs}
    listed = ", ".join(f"{pair} = {rate:.6g}" for pair, rate in rates.items() if rate)
    # without any arithmetic (embeddings alone) the rate plays no part
    rates_text = listed or f"{other} = 1e12"
    least = min(empty.seconds for empty in found.empty.values())
    notes = [*notes_of(found), *_gaps(found)]
    lines = [
        f"# {name}: written by `hwdse accelerators measure {task}`. Every key: docs/accelerator-files.md. Units: s, bytes, bits.",
        'schema = "hwdse.accelerator/1"',
        f"name = {_text(name)}",
        f"description = {_text(f'{found.device}, layers measured with {found.tool}.')}",
        'missing = "error"  # "analytic" estimates operations that were not measured at all; costs then say so',
        "",
        "[provenance]",
        'kind = "measured"',
        f"tool = {_text(found.tool)}",
        f"device = {_text(_place(found))}",
        f"source = {_text(f'hwdse accelerators measure {task}, on the device itself')}",
        f"date = {_text(str(date.today()))}",
        "notes = [",
        *(f"    {_text(note)}," for note in notes),
        "]",
        "",
        "[precision]",
        'semantics = "native"',
        f"weights = {_widths(pairs, 'weight')}",
        f"activations = {_widths(pairs, 'activation')}",
        f"pairs = [{', '.join(_text(str(pair)) for pair in pairs)}]",
        'unsupported = "round_up"  # this library computes 4 bits as 8',
        f'other = "{other}"  # layers that no widths are chosen for are not quantised',
        "",
        "[[table]]",
        f"file = {_text(table)}",
        f'sha256 = "{sha256}"',
        "",
        "[compute]  # for shapes that are not in the table: the best rate that any layer reached, corrected by the table",
        'model = "roofline"',
        'memory = "memory"',
        f"macs_per_s = {{{rates_text}}}",
        "",
        "[[memory]]",
        'name = "memory"',
        f"bytes_per_s = {found.copy_rate:.6g}  # read and written by a copy",
        "",
        "[overheads]",
        f"least_s = {least:.6g}  # a call with next to nothing to do; no estimate is below it",
    ]
    return "\n".join(lines) + "\n"


def _place(found: Measurement) -> str:
    return f"{found.device}, {found.threads} thread{'s' * (found.threads > 1)}"


def _gaps(found: Measurement) -> list[str]:
    said = []
    for left in found.left:
        layers = ", ".join(left.layers[:8]) + (" ..." if len(left.layers) > 8 else "")
        said.append(f"Not measured{f' at {left.widths}' if left.widths else ''}: {layers}: {left.reason}.")
    return said


def _widths(pairs: Sequence[LayerFormat], which: str) -> str:
    return str(sorted({getattr(pair, which).bits for pair in pairs}))


def _text(text: str) -> str:
    """A basic TOML string; JSON's escapes are a part of TOML's."""
    return json.dumps(text, ensure_ascii=False)
