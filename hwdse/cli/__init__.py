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
    from hwdse.interrupts import requested, status

    try:
        from .app import app

        app()
    except SystemExit as stop:
        if stop.code != 130 and not requested():
            return stop.code
    except KeyboardInterrupt:
        pass
    except HwdseError as error:
        if not requested() or isinstance(error, OSError):  # else it may be of what was stopped, such as a solver's process
            from .blame import place

            where = place(error.__cause__)
            _say(str(error), *([f"  at {where}"] if where else []))
            return 2 if isinstance(error, UsageError) else 1
    except Exception as error:
        if not requested():
            from .blame import sentence

            said = sentence(error)
            if said is None:
                _say("this is a fault of hwdse itself, please report it with the lines below.")
                raise
            _say(*said.split("\n"))
            return 1
    else:
        return 0
    _say(_STOPPED)
    return status()


def _say(*lines: str) -> None:
    from hwdse.names import visible

    text = "\n".join(visible(" ".join(line.split("\n"))) for line in lines)
    print(f"hwdse: {text}", file=sys.stderr)  # noqa: T201  # the command's own voice
