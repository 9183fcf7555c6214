"""Names that people gave to tasks, layers, metrics, files and studies, and texts with such names: always text, whatever they hold.

A name may hold escape sequences, direction marks, new lines, half characters, a formula of a spreadsheet or a path. On a screen, in a
page and in a figure it is shown by :func:`visible`; in a CSV file it stands as :func:`cell`; in the name of a file as :func:`file_name`.
"""

from __future__ import annotations

import re

from .numerals import number

_LONGEST = 80  # bytes of a name in a file's name; systems allow 255 in all
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # what a spreadsheet reads as more than text
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)  # files that Windows takes for devices
# Controls, direction marks and other formats, halves of characters, private ones, separators of lines: Cc, Cf, Cs, Co, Zl, Zp of Unicode.
HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\uf8ff"
    r"\ufeff\ufff9-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)


def visible(text: str, keep: str = "") -> str:
    """``text`` on one line, its controls, direction marks and half characters written as codes: ``\\x1b``, ``\\u202e``.

    Args:
        text: any. keep: controls that stay, such as a new line in a text of several.
    """
    if text.isprintable():
        return text
    return HIDDEN.sub(lambda found: found[0] if found[0] in keep else _code(found[0]), text)


def _code(character: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    point = ord(character)
    return short or (f"\\x{point:02x}" if point < 0x100 else f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}")


def clipped(text: str, most: int) -> str:
    """``text``, its middle left out where it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    head = (most - 3) * 2 // 3
    return f"{text[:head]}...{text[len(text) - (most - 3 - head) :]}"


def file_name(text: str, otherwise: str) -> str:
    """``text`` as a part of a file's name: letters, digits, ``_``, ``.`` and ``-``, never a path, a hidden file or a device.

    Args:
        text: any. otherwise: the name where nothing is left of it.
    """
    short = re.sub(r"[^\w.-]+|\.{2,}", "-", text[: 4 * _LONGEST]).encode()[:_LONGEST].decode(errors="ignore")
    name = short.strip("-.") or otherwise
    return f"_{name}" if _RESERVED.match(name) else name


def cell(text: str) -> str:
    """``text`` as a cell of a CSV file that a spreadsheet shows as text: ``'`` before what it would take for a formula.

    Numbers stay as they are. :func:`cell_text` is the inverse.
    """
    plain = visible(text, keep="\n\t\r")
    risky = plain.lstrip("'").startswith(_FORMULA)
    return f"'{plain}" if risky and number(plain) is None else plain


def cell_text(text: str) -> str:
    """What :func:`cell` was made of."""
    return text[1:] if text.startswith("'") and text.lstrip("'").startswith(_FORMULA) else text
