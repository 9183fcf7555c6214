"""The command line. The only part that knows all the others; nobody imports it.

Exit status: 0 done; 1 failed (an infeasible budget, a diverged training, a full disk, the task's own code); 2 usage (malformed text,
unknown names, broken files); 130 interrupted. A user's mistake gives a sentence, never a traceback.
"""

from __future__ import annotations

import sys

_STOPPED = "interrupted; what has been written is whole. A sweep, or a training of more than half a minute, goes on with the same command."


def main() -> None:
    """Entry point of the ``hwdse`` command."""
    from hwdse.errors import HwdseError, UsageError

    try:
        from .app import app

        app()
    except SystemExit as stop:
        if stop.code == 130:
            _say(_STOPPED)
        raise
    except KeyboardInterrupt:
        _say(_STOPPED)
        sys.exit(130)
    except HwdseError as error:
        from .blame import place

        where = place(error.__cause__)
        _say(f"{error}\n  at {where}" if where else str(error))
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except Exception as error:
        from .blame import sentence

        said = sentence(error)
        if said is None:
            _say("this is a fault of hwdse itself, please report it with the lines below.")
            raise
        _say(said)
        sys.exit(1)


def _say(text: str) -> None:
    print(f"hwdse: {text}", file=sys.stderr)  # noqa: T201  # the command's own voice
