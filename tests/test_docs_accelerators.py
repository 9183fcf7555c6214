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
TRAINED = ("allocate", "sweep", "pick", "compare", "explore-hardware")
"""What they find follows from a network's scores, which differ a little from processor to processor."""


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


def same(line: str) -> str:
    """The part of a line of scores that is the same on every machine: the words before its first number."""
    return " ".join(re.split(r"(?<![\w.])[+-]?\d", line)[0].split())


@pytest.mark.slow
def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    commands, printed, trained = 0, "", False
    for kind, content, said in blocks():
        if kind == "sh":
            printed, trained = "", False
            for line in content.replace("\\\n", "").splitlines():
                name, *arguments = shlex.split(line)
                assert name == "hwdse"
                ran = hwdse(*arguments, columns=110)
                assert ran.code == 0, (line, ran.err)
                commands, printed, trained = commands + 1, printed + ran.out, trained or arguments[0] in TRAINED
        elif kind == "text":
            found, whole = {" ".join(line.split()) for line in printed.splitlines()}, " ".join(printed.split())
            for line in filter("...".__ne__, content.splitlines()):
                held = same(line) in whole if trained else " ".join(line.split()) in found
                assert held, (line, printed)
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
