"""A stop request as a flag: Ctrl-C, or SIGTERM as cluster managers send it, is remembered and looked at between steps.

An exception that a signal's handler raises lands wherever the program happens to be: in a callback of a library, which may swallow it, or
in the task's code, whose failure would go on record. So the handler sets a flag, and :func:`check` raises where that is safe: between
batches, trials and solutions, and in waiting loops. Where none of these comes within :data:`PATIENCE`, the exception is raised where the
program is, again and again until it is dealt with. A second request ends the process at once; so does the first before any step was
begun, while libraries are loaded that do not survive an exception there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

PARENT = "HWDSE_PARENT"  # set for a process that another one of hwdse's started, watches and stops: the process id of that
PATIENCE, AGAIN = 2.0, 0.5  # seconds to the next safe place; and between two exceptions where there is none
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_asked: list[int] = []  # the signals that have come
_begun: list[bool] = []  # whether there was a first step
_last_words: list[Callable[[], None]] = []


def requested() -> int:
    """The signal that asked this process to stop; 0: none has."""
    return _asked[0] if _asked else 0


def check() -> None:
    """A safe place to stop.

    Raises:
        KeyboardInterrupt: this process was asked to stop.
    """
    if _asked:
        raise KeyboardInterrupt
    if not _begun:
        _begun.append(True)


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """While open, stop requests are handled so; outside of the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _asked.clear()
    _begun.clear()
    owner, before = os.getpid(), {number: signal.getsignal(number) for number in (*SIGNALS, signal.SIGALRM)}

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a process forked from this one, such as a DataLoader's worker: as if nothing were handled
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _asked.append(number)
        if not _begun:
            _end("interrupted")
        if len(_asked) == 1:
            signal.signal(signal.SIGALRM, _insist)
            signal.setitimer(signal.ITIMER_REAL, PATIENCE, AGAIN)
            _say("\nhwdse: stopping. Once more stops at once.\n")
        elif PARENT not in os.environ:  # else its parent decides when it has waited for long enough
            _end("stopped at once")

    for number in SIGNALS:
        signal.signal(number, stop)
    try:
        yield
    finally:
        if _asked:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            if handler is not None:  # None: one that Python does not know
                signal.signal(number, handler)


@contextlib.contextmanager
def last_words(action: Callable[[], None]) -> Iterator[None]:
    """While open, ``action`` is what is still done when a second request ends the process at once."""
    _last_words.append(action)
    try:
        yield
    finally:
        _last_words.remove(action)


def settled() -> None:
    """Raises no more exceptions: the program has dealt with the request."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def status() -> int:
    """Exit status of a process that was asked to stop: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (requested() or signal.SIGINT)


def _insist(number: int, frame: FrameType | None) -> None:
    """Raises, unless that was done and what it left is being put in order."""
    error = sys.exc_info()[1]
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return
        error = error.__context__
    raise KeyboardInterrupt


def _end(how: str) -> None:
    for action in _last_words:
        with contextlib.suppress(Exception):
            action()
    cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress line may have hidden it
    _say(f"{cursor}hwdse: {how}; what has been written is whole.\n")
    os._exit(status())


def _say(text: str) -> None:
    """Without buffers, which the interrupted code may be writing to."""
    if PARENT not in os.environ:
        with contextlib.suppress(OSError):
            os.write(2, text.encode())
