"""Importers: from the files of a profiler or simulator to a look-up table of the layers of one model.

An importer is a function in a file of its own and one line in :data:`IMPORTERS`; other packages add theirs through the entry point
group ``hwdse.importers``. It only reads. What its rows mean in the model is found out by :func:`match`, the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...registry import find, names
from . import onnxruntime, scalesim, tflite, timeloop, trtexec, vela, zigzag
from .facts import Facts
from .matching import LeftRow, Match, Pair, match
from .profile import Importer, Profile, ProfileRow, in_seconds
from .writing import at_widths, table_text

GROUP = "hwdse.importers"
IMPORTERS: Mapping[str, Importer] = {
    "trtexec": trtexec.read,
    "onnxruntime": onnxruntime.read,
    "tflite": tflite.read,
    "vela": vela.read,
    "scalesim": scalesim.read,
    "timeloop": timeloop.read,
    "zigzag": zigzag.read,
}

__all__ = [
    "IMPORTERS",
    "Facts",
    "Importer",
    "LeftRow",
    "Match",
    "Pair",
    "Profile",
    "ProfileRow",
    "at_widths",
    "importer",
    "importer_names",
    "in_seconds",
    "match",
    "table_text",
]


def importer_names() -> list[str]:
    """Every known format, plug-ins last."""
    return names(IMPORTERS, GROUP)


def importer(name: str) -> Importer:
    """The importer of a format.

    Raises:
        UnknownName: nobody provides it.
    """
    return find("profile format", IMPORTERS, name, GROUP)
