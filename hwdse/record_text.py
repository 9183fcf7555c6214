"""``record.json`` as text: a trial a line, each with its checksum, and at the end the checksum of all that stands before.

Whoever reads an unharmed record compares one checksum, which takes milliseconds for ten thousand trials; those of the trials tell, where
it fails, which of them are still as they were written.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .checksums import KEY, altered, digest, digest_of
from .errors import FileFormatError
from .reading import decode, json_object
from .run_files import REPAIR, read_own
from .storage import StorageError

NAME = "record.json"
SCHEMA, EARLIER = "hwdse.record/2", "hwdse.record/1"  # the earlier one holds no checksums
SUMS = "checksums"
_END = re.compile(rb'\{"head": "[0-9a-f]{64}", "content": "[0-9a-f]{64}"\}\n\}\n')
_MARK = f',\n "{SUMS}": '.encode()


def record_text(data: Mapping[str, Any]) -> str:
    """A record's content as text, with its checksums.

    Raises:
        ValueError: a number that JSON lacks.
    """
    head = {key: value for key, value in data.items() if key not in ("trials", SUMS)}
    lines = [_line(trial) for trial in data["trials"]]
    text = json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}") + ',\n "trials": ['
    text += ("\n  " + ",\n  ".join(lines) if lines else "") + "\n ]"
    sums = {"head": digest_of(head), "content": digest(text.encode())}
    return f"{text}{_MARK.decode()}{json.dumps(sums)}\n}}\n"


def _line(trial: Mapping[str, Any]) -> str:
    text = json.dumps(trial, sort_keys=True, allow_nan=False)  # as digest_of writes it
    return f'{text[:-1]}, "{KEY}": "{digest(text.encode())}"}}'


def read_record(run: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The content of ``record.json``, and what must be said of it: of trials that are not as they were written, which are left out.

    Raises:
        StorageError: no record there. FileFormatError: no JSON object, another schema, or changed in more than its trials.
    """
    path = run / NAME
    try:
        content = read_own(run, NAME)
    except FileNotFoundError:
        raise StorageError(f"cannot read {path}: No such file or directory.") from None
    before, mark, after = content.rpartition(_MARK)
    if mark and _END.fullmatch(after) and digest(before).encode() in after:
        data: dict[str, Any] = json.loads(content)  # by one who wrote it
        schema_of(data, path)
        return data, ()
    try:
        data = json_object(path, decode(path, content))
    except FileFormatError as error:
        raise FileFormatError(path, f"{error.problem} {REPAIR.format(run)}", error.where) from None
    if schema_of(data, path) == EARLIER and SUMS not in data:
        return data, (f"{path} is of an earlier version, which kept no checksums: nothing holds the files of this run",)
    return _sound_part(data, path)


def schema_of(data: Mapping[str, Any], path: Path) -> str:
    """The schema of a record.

    Raises:
        FileFormatError: one that this version does not read.
    """
    if data.get("schema") not in (SCHEMA, EARLIER):
        raise FileFormatError(path, f"must have schema '{SCHEMA}', got {data.get('schema')!r}.", "key 'schema'")
    return str(data["schema"])


def _sound_part(data: dict[str, Any], path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A changed record without the trials that were changed."""
    changed = "was changed since it was written"
    sums, head = data.get(SUMS), {key: value for key, value in data.items() if key not in ("trials", SUMS)}
    trials = data.get("trials")
    if not isinstance(sums, dict) or not isinstance(trials, list) or sums.get("head") != digest_of(head):
        raise FileFormatError(path, f"{changed}: its content is not that of its checksums. {REPAIR.format(path.parent)}")
    sound = [t for t in trials if isinstance(t, dict) and KEY in t and not altered(t)]
    times = Counter(t.get("number") for t in sound)
    sound = [t for t in sound if times[t.get("number")] == 1]
    left = f"{len(trials) - len(sound)} of {len(trials)} trials are not as they were written, and are left out"
    said = f"{path} {changed}; {left if len(sound) < len(trials) else 'those trials that are left are as they were'}"
    return {**data, "trials": sound}, (f"{said}. {REPAIR.format(path.parent)}",)
