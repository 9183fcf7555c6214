"""From a match to a look-up table, ``hwdse.table/1``: one row per layer that has a cost of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import UsageError
from ...formats import LayerFormat
from ...reading import read_bytes
from ..signature import signature_of
from ..table_writing import number_cell, shape_cells, table_file_text
from .matching import LeftRow, Match, Pair
from .profile import Profile


def at_widths(found: Match, asked: Callable[[str], LayerFormat | None]) -> tuple[Match, Mapping[str, LayerFormat]]:
    """The widths of every matched layer; pairs whose file says other widths than asked for are moved to the rows left over.

    Args:
        found: the join. asked: widths that the user says a layer ran at; None where the file must say it.

    Raises:
        UsageError: neither the user nor the file says it; or the file contradicts the user everywhere.
    """
    widths: dict[str, LayerFormat] = {}
    kept, refused = [], []
    for pair in found.pairs:
        said, want = pair.row.widths, asked(pair.layer.name)
        if said is None and want is None:
            raise UsageError(f"the file does not say at which widths '{pair.layer.name}' ran; give --widths, such as --widths w8a8.")
        if said is not None and want is not None and said != want:
            refused.append((pair, f"it ran at {said}, not at {want}"))
            continue
        kept.append(pair)
        widths[pair.layer.name] = want or said or LayerFormat.of(8, 8)
    if not kept:
        raise UsageError(f"no row ran at the given widths: '{refused[0][0].row.label}': {refused[0][1]}.")
    rows = [*found.rows, *(LeftRow(pair.row, "refused", reason, (pair.layer.name,)) for pair, reason in refused)]
    layers = [*found.layers, *((pair.layer, f"refused: {reason}") for pair, reason in refused)]
    total = sum(pair.layer.macs for pair in found.pairs)
    share = found.share * (sum(pair.layer.macs for pair in kept) / total if total else 0.0)
    return replace(found, pairs=tuple(kept), rows=tuple(rows), layers=tuple(layers), share=share), widths


def table_text(profile: Profile, pairs: Sequence[Pair], widths: Mapping[str, LayerFormat], about: Sequence[str] = ()) -> str:
    """The CSV file, with comments that say where it comes from.

    Args:
        profile: whose rows are all in seconds. pairs: layers with their rows. widths: by layer name. about: further comments.
    """
    tool = " ".join(filter(None, (profile.tool, profile.version)))
    cells = [_cells(pair, widths[pair.layer.name], f"{tool}; {pair.row.where}; by {pair.how}") for pair in pairs]
    files = [f"{path.name}, SHA-256 {_digest(path)}" for path in profile.files]
    return table_file_text([f"From {tool}: {profile.about}.", *about, *files], cells)


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()


def _cells(pair: Pair, widths: LayerFormat, source: str) -> dict[str, object]:
    signature, row = signature_of(pair.layer), pair.row
    if signature is None or not (row.seconds or row.joules):
        raise UsageError(f"layer '{pair.layer.name}' cannot be in a table: it has no signature, or no cost in seconds or joules.")
    return {
        **shape_cells(signature),
        "w_bits": widths.weight.bits,
        "a_bits": widths.activation.bits,
        "instance": pair.layer.name,
        "latency_s": number_cell(row.seconds),
        "latency_std_s": number_cell(row.spread),
        "runs": row.runs,
        "energy_j": number_cell(row.joules),
        "source": " ".join(source.split()),
    }
