"""docs/accelerators.md is followed to the letter: its files written, its commands run in their order, its output found in theirs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import hwdse

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "accelerators.md"
TRAINED = ("allocate", "sweep", "pick", "compare", "explore-hardware")  # their numbers depend on a trained network, a little


def blocks() -> Iterator[tuple[str, str, str]]:
    """(kind, content, the line of text before it) of each fenced block."""
    kind, content, said = "", "", ""
    for line in PAGE.read_text().splitlines(keepends=True):
        if line.startswith("```"):
            if kind:
                yield kind, content, said
                kind = ""
            else:
                kind, content = line[3:].strip(), ""
        elif kind:
            content += line
        elif line.strip():
            said = line.strip()


def plain(line: str, masked: bool) -> str:
    """Words apart by one space; numbers hidden where they may differ."""
    return " ".join(re.sub(r"[\d.]+(e-?\d+)?", "N", line).split() if masked else line.split())


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands, printed, masked = 0, "", False
    for kind, content, said in blocks():
        if kind == "sh":
            printed, masked = "", False
            for line in content.replace("\\\n", "").splitlines():
                name, *arguments = shlex.split(line)
                assert name == "hwdse"
                ran = hwdse(*arguments, columns=110)
                assert ran.code == 0, (line, ran.err)
                commands, printed, masked = commands + 1, printed + ran.out, masked or arguments[0] in TRAINED
        elif kind == "text":
            found = [plain(line, masked) for line in printed.splitlines()]
            for line in content.splitlines():
                assert line == "..." or plain(line, masked) in found, (line, printed)
        else:
            file = re.search(r"`([\w.]+)`:$", said)
            assert file, (kind, said)
            with (tmp_path / file[1]).open("a" if "dd to" in said else "w") as target:
                target.write(content)
    assert commands == 15
    assert (tmp_path / "runs" / "my_chip" / "report.html").stat().st_size > 50_000


def test_the_shipped_profile_is_the_one_that_its_script_writes() -> None:
    folder = ROOT / "examples" / "profiles"
    script: dict[str, object] = {"__name__": "make"}
    exec(compile((folder / "make.py").read_text(), "make.py", "exec"), script)
    made = script["trace"]
    assert callable(made)
    assert (folder / "digits_int8.json").read_text() == made()
