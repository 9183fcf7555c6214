"""The figures of a report as files, for papers and slides, with their captions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnknownName
from ..names import file_name
from ..storage import write
from . import style
from .section import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def slug(text: str) -> str:
    """A name of small letters, digits and dashes, safe as a file name and in a page whatever an accelerator is called."""
    return file_name(re.sub(r"[^a-z0-9]+", "-", text.lower()), "figure")


def named(drawings: Iterable[Drawing]) -> list[tuple[str, Drawing]]:
    """Each with the name of its files; no name twice."""
    found: dict[str, Drawing] = {}
    for drawing in drawings:
        base = name = slug(drawing.name)
        number = 2
        while name in found:
            name, number = f"{base}-{number}", number + 1
        found[name] = drawing
    return list(found.items())


def figure_format(path: Path) -> str:
    """By the ending of a file's name.

    Raises:
        UnknownName: none of :data:`~hwdse.reports.style.FORMATS`.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in style.FORMATS:
        raise UnknownName("figure format", kind, style.FORMATS, f"Give a file such as {path.stem}.png.")
    return kind


def save_figure(figure: Figure, path: Path) -> None:
    """In the format of the name's ending.

    Raises:
        UnknownName: another ending. StorageError: it cannot be written.
    """
    write(path, style.RENDERED[figure_format(path)](figure, path.stem))


def write_figures(drawings: Iterable[Drawing], folder: Path, formats: Sequence[str]) -> None:
    """``NAME.FORMAT`` for each, and ``captions.txt``: a paragraph a figure, its name first. Without formats nothing is written.

    What an earlier report left there, as its captions say, is removed: it may show another state of the run.

    Raises:
        StorageError: the folder cannot be written.
    """
    captions, said, made = [], folder / "captions.txt", set()
    earlier = [line.partition(":")[0] for line in said.read_text(encoding="utf-8", errors="replace").splitlines()] if said.exists() else []
    for name, drawing in named(drawings) if formats else ():
        captions.append(f"{name}: {drawing.caption}\n")
        for kind in formats:
            made.add(folder / f"{name}.{kind}")
            write(folder / f"{name}.{kind}", style.RENDERED[kind](drawing.figure, name))
    for path in {folder / f"{name}.{kind}" for name in earlier if name and slug(name) == name for kind in style.FORMATS} - made:
        path.unlink(missing_ok=True)
    if not formats:
        said.unlink(missing_ok=True)
        return
    write(folder / "captions.txt", "\n".join(captions))
