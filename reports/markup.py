"""Pieces of HTML from text. Everything that is not markup already is escaped, so no name in a record can break the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

from ..names import HIDDEN, visible

Text = str | Markup


def paragraph(*sentences: Text) -> Markup:
    """``<p>`` of several sentences."""
    return Markup("<p>{}</p>").format(Markup(" ").join(sentences))


def note(*sentences: Text) -> Markup:
    """A paragraph in small type: how to read what stands above it."""
    return Markup('<p class="note">{}</p>').format(Markup(" ").join(sentences))


def heading(text: Text) -> Markup:
    """A heading inside a section."""
    return Markup("<h3>{}</h3>").format(text)


def bullets(items: Iterable[Text]) -> Markup:
    """An unordered list."""
    return Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(item) for item in items))


def folded(summary: Text, body: Markup) -> Markup:
    """A part that opens on a click, and in print."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, body)


def table(head: Sequence[Text], rows: Iterable[Sequence[Text]], words: int = 1) -> Markup:
    """A table; the first ``words`` columns hold words (left-aligned), the others numbers. Its box scrolls, by keyboard too."""

    def cell(tag: str, index: int, content: Text) -> Markup:
        number = "" if index < words else ' class="n"'
        return Markup(f"<{tag}{number}>{escape(content)}</{tag}>")

    def line(tag: str, cells: Sequence[Text]) -> Markup:
        return Markup("<tr>{}</tr>").format(Markup("").join(cell(tag, i, c) for i, c in enumerate(cells)))

    body = Markup("\n").join(line("td", row) for row in rows)
    box = Markup('<div class="scroll" tabindex="0" role="group" aria-label="Table by {}">').format(head[0])
    return box + Markup("<table><thead>{}</thead><tbody>{}</tbody></table></div>").format(line("th", head), body)


def data_block(identifier: str, data: Any) -> Markup:
    """JSON for the page's script, in a block that is never run. No name in it can end the block: ``<``, ``>`` and ``&`` are escaped."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    text = HIDDEN.sub(lambda found: "\\" + visible(found[0]), text)  # shown by its code, as everywhere
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup('<script type="application/json" id="{}">{}</script>').format(identifier, Markup(text))
