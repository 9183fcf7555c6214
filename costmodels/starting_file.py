"""A commented accelerator file to start from: a copy of another, under a new name, with its tables beside it."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UsageError
from ..reading import read_text
from ..storage import write
from .file_edits import confirmed, with_files, with_top_key
from .loading import accelerator_names, load_accelerator

_NAME = re.compile(r"[A-Za-z][\w.\-]*")


def new_accelerator(name: str, like: str | Path, folder: Path) -> list[Path]:
    """Writes ``folder/NAME.toml``, and the tables that it names.

    The copy says in its notes that its numbers are still another device's, and those notes are printed with every cost.

    Returns:
        The files written, the accelerator's first.

    Raises:
        UsageError: a name that is no name, a file that is there already, or one that cannot be copied by the line.
        UnknownName, FileFormatError: from ``like``.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"an accelerator's name begins with a letter and has letters, digits, '_', '-' and '.', got '{name}'.")
    if name in accelerator_names():
        raise UsageError(f"'{name}' is the name of an accelerator that comes with the package; choose another.")
    model = load_accelerator(like)
    if name == model.name:
        raise UsageError(f"'{name}' is the name of the file to copy; choose another, or results of the two cannot be told apart.")
    text = read_text(model.file)
    text = re.sub(r"\A(#.*\n)+", "", text)  # the opening comment speaks of the other device
    text = with_top_key(text, "description", f"{name}: a copy of {model.name}, to be filled in.")
    text = with_top_key(text, "name", name)
    warning = f'    "started as a copy of {model.name}: numbers that nobody has changed since are that device\'s.",'
    text, there = re.subn(r"^notes = \[\s*", f"notes = [\n{warning}\n    ", text, count=1, flags=re.MULTILINE)
    if not there:
        text = re.sub(r"^([ \t]*\[provenance\].*)$", lambda m: f"{m[1]}\nnotes = [\n{warning}\n]", text, count=1, flags=re.MULTILINE)
    files, named = {folder / f"{name}.toml": b""}, {}
    for number, table in enumerate(model.keys.table):
        beside = f"{name}.csv" if len(model.keys.table) == 1 else f"{name}-{number + 1}.csv"
        named[table.file] = beside
        files[folder / beside] = (model.file.parent / table.file).read_bytes()
    text = confirmed(with_files(text, named), model.file, name, [named[table.file] for table in model.keys.table])
    head = (
        f"# {name}: written as a copy of {model.name}. Replace its numbers and [provenance] by your own, then\n"
        f"#     hwdse accelerators check {name}.toml\n# Every key: docs/accelerator-files.md. Units: s, J, bytes, Hz, bits.\n"
    )
    files[folder / f"{name}.toml"] = (head + text).encode()
    for path in files:
        if path.exists():
            raise UsageError(f"{path} is there already, and is not overwritten; give another name or folder.")
    for path, content in reversed(files.items()):  # the file that names the others last
        write(path, content)
    return list(files)
