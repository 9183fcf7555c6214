"""Passwords stay where they were given: no text that hwdse prints or keeps holds one, however its URL is mistyped.

Two ways to know one. :func:`hold` takes a database URL that a user gave, and what in it can be a password is left out of every text from
then on, also where only a piece of it comes back in a message of the database. :func:`masked` sees them by itself in what looks like a URL.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

HIDDEN = "***"
_LEAST = 3  # characters of a piece that is left out wherever it stands; a shorter one only in its URL
_DATABASES = "postgres|psycopg|mysql|maria|mssql|oracle|sqlite"
# of a scheme its last character alone, so that long text without any takes time in proportion to its length
_SCHEME = re.compile(rf"[a-z0-9+.\-](?::[/\\]+|[/\\]{{2,}})|(?:{_DATABASES})[a-z0-9+.\-]{{0,40}}:", re.IGNORECASE)
_KEYWORD = re.compile(r"\b([a-z_]*(?:password|passwd|passphrase|pwd))(\s*=\s*)('[^']*'|[^\s&;,'\"]+)", re.IGNORECASE)
_TOKEN = re.compile(r"[^\s\"'<>()`]+")
_WORDS = ("postgres", "postgresql", "localhost", "hwdse", "password", "database", "server")  # part of many a sentence, and no secret
_known: set[str] = set()


def hold(url: str) -> None:
    """From here on, what can be a password in this database URL, whole or in pieces, is in no masked text."""
    for start, end in _spans(url):
        found = url[start:end]
        for text in (found, unquote(found), quote(found, safe=""), quote(unquote(found), safe="")):
            pieces = (text, *re.split(r"[@:/?#&,;\\\s]", text))
            _known.update(piece for piece in pieces if len(piece) >= _LEAST and not piece.isdigit() and piece.lower() not in _WORDS)


def masked(text: str, pieces: bool = True) -> str:
    """``text`` with ``***`` for every password in it.

    Args:
        text: any. pieces: whether those that are held go out wherever they stand; else only what stands in a URL goes.
    """
    for piece in sorted(_known, key=len, reverse=True) if pieces else ():
        text = text.replace(piece, HIDDEN)
    if "@" in text or "=" in text:
        text = _TOKEN.sub(lambda found: masked_url(found[0]) if _SCHEME.search(found[0]) else found[0], text)
        text = _KEYWORD.sub(lambda found: f"{found[1]}{found[2]}{HIDDEN}", text)
    return text


def masked_url(url: str) -> str:
    """The same of one database URL, whatever its form."""
    for start, end in reversed(_spans(url)):
        url = url[:start] + HIDDEN + url[end:]
    return url


def _spans(url: str) -> list[tuple[int, int]]:
    """Where in a URL something stands that can be a password: before the last ``@``, in the place of a port, after ``password=``."""
    scheme = _SCHEME.search(url)
    begin = scheme.end() if scheme else 0
    begin += len(url[begin:]) - len(url[begin:].lstrip("/\\"))
    found = []
    at = url.rfind("@")
    host = begin
    if at >= begin:
        user = re.match(r"[\w.%+~\-]*", url[begin:at])
        assert user is not None  # it may be empty
        if begin + user.end() + 1 < at:
            found.append((begin + user.end() + 1, at))
        host = at + 1
    port = re.match(r"(?:\[[^\]]*\]|[^:/?#]*):([^/?#]*)", url[host:])
    if port and port[1] and not re.fullmatch(r"[0-9]{1,5}", port[1]):
        found.append((host + port.start(1), host + port.end(1)))
    found += [found_.span(3) for found_ in _KEYWORD.finditer(url, host)]
    return [span for i, span in enumerate(sorted(found)) if not any(a <= span[0] and span[1] <= b for a, b in sorted(found)[:i])]
