"""The command line. The only part that knows all the others; nobody imports it.

Exit status: 0 done; 1 failed (an infeasible budget, a diverged training, a full disk, the task's own code); 2 usage (malformed text,
unknown names, broken files); 130 interrupted (143 by SIGTERM). A user's mistake gives a sentence, never a traceback.
"""

from __future__ import annotations

import sys

_STOPPED = "interrupted; what has been written is whole. A sweep, or a training of more than half a minute, goes on with the same command."


def main() -> None:
    """Entry point of the ``hwdse`` command."""
    from hwdse.interrupts import handled

    with handled():
        sys.exit(_run())


def _run() -> int | str | None:
    """Runs the command, says what went wrong, and returns its exit status."""
    from hwdse.errors import HwdseError, UsageError
    from hwdse.interrupts import requested, settled, status

    try:
        from .app import app

        _hold_passwords(sys.argv[1:])
        try:
            app()
        finally:
            opened = sys.modules.get(f"{__name__}.opened")  # loaded by the commands that read a run
            if opened is not None:
                opened.say_damage()
    except SystemExit as stop:
        if stop.code != 130 and not requested():
            return 1 if _of_the_task(stop) else stop.code
    except KeyboardInterrupt:
        pass
    except HwdseError as error:
        if not requested() or isinstance(error, OSError):  # else it may be of what was stopped, such as a solver's process
            from .blame import place

            where = place(error.__cause__)
            _say(str(error), *([f"  at {where}"] if where else []))
            return 2 if isinstance(error, UsageError) else 1
    except BaseException as error:  # whatever the task's own code raises
        if not requested():
            if not _of_the_task(error):
                _say("this is a fault of hwdse itself, please report it with the lines below.")
                print(_traceback(), file=sys.stderr)  # noqa: T201  # the command's own voice
            return 1
    else:
        return 0
    settled()
    _say(_STOPPED)
    return status()


def _of_the_task(error: BaseException) -> bool:
    """Says so where the task's own code, its model or its data, raised it."""
    from .blame import sentence

    said = sentence(error)
    if said is not None:
        _say(*said.split("\n"))
    return said is not None


def _hold_passwords(arguments: list[str]) -> None:
    """Whatever can be a database URL, in its place or in another, shows its password in no message."""
    import itertools
    import os

    from hwdse.passwords import hold

    for text in (os.environ.get("HWDSE_STORAGE", ""), *arguments):
        name, sign, value = text.partition("=")
        url = value if sign and name.startswith("-") else text
        if "@" in url and (":" in url or "/" in url) and " <= " not in url:
            hold(url)
    for name, after in itertools.pairwise(arguments):
        if name == "--storage":
            hold(after)


def _traceback() -> str:
    import traceback

    from hwdse.names import visible
    from hwdse.passwords import masked

    return visible(masked(traceback.format_exc()), keep="\n\t")


def _say(*lines: str) -> None:
    from hwdse.names import visible
    from hwdse.passwords import masked

    text = "\n".join(visible(masked(" ".join(line.split("\n")))) for line in lines)
    print(f"hwdse: {text}", file=sys.stderr)  # noqa: T201  # the command's own voice
