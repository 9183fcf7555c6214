"""Numbers as people and tools write them: one grammar for options, limits, tables, profiles and files.

ASCII digits with an optional sign, point and exponent: ``12``, ``-0.5``, ``1e-3``. Not taken: ``5_0``, ``0x10``, ``nan``, ``inf``, digits
of other scripts, a zero with a minus (a sign error, or a number that was rounded away), what overflows (``1e400``), and what is lost below
the smallest normal float (``1e-320``): no quantity is that small, and its last digits are wrong.
"""

from __future__ import annotations

import math
import re
import sys

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOTHING = re.compile(r"[0.]+(?:[eE]|$)")  # digits that are all 0
LONGEST = 400  # signs: more than any float needs


def number(text: str) -> float | None:
    """The number that ``text`` is, blanks around it left out; None where it is none of the grammar."""
    text = text.strip(" \t")
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        return None
    return sound(float(text), zero=bool(_NOTHING.match(text.lstrip("+"))))


def sound(value: float, zero: bool = True) -> float | None:
    """``value`` where it is a finite number of full precision; None for NaN, infinities, -0.0 and what is almost 0.

    Args:
        zero: whether 0 was meant, and is not what is left of a smaller number.
    """
    if value == 0:
        return value if zero and math.copysign(1.0, value) > 0 else None
    return value if sys.float_info.min <= abs(value) < math.inf else None


def whole(text: str, most: int = 2**53) -> int | None:
    """The whole number that ``text`` is, from 0 to ``most``, in ASCII digits; None where it is none."""
    text = text.strip(" \t")
    if not 0 < len(text) <= 16 or not (text.isascii() and text.isdigit()):
        return None
    return value if (value := int(text)) <= most else None
