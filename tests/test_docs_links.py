"""Every picture and file that a page of the repository links to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    p
    for p in (*ROOT.glob("*.md"), *ROOT.glob("*/**/*.md"))
    if not {"runs", "build", ".venv", "node_modules"} & set(p.relative_to(ROOT).parts)
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CHANGELOG.md"], ids=lambda p: p.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:docs|examples|benchmarks|hwdse|tests)/[\w./-]+)`", page.read_text(encoding="utf-8"))
    assert named
    assert [n for n in named if not (ROOT / n).exists()] == []
