"""The command line. The only part that knows all the others; nobody imports it.

Exit status: 0 done; 1 failed (an infeasible budget, a diverged training, a full disk); 2 usage (malformed text, unknown names,
broken files); 130 interrupted. A user's mistake gives a sentence, never a traceback.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``hwdse`` command."""
    from hwdse.errors import HwdseError, UsageError

    from .app import app

    try:
        app()
    except SystemExit as stop:
        if stop.code == 130:
            _say("interrupted; what has been written is whole. A sweep goes on with the same command.")
        raise
    except UsageError as error:
        _say(str(error))
        sys.exit(2)
    except HwdseError as error:
        _say(str(error))
        sys.exit(1)


def _say(text: str) -> None:
    print(f"hwdse: {text}", file=sys.stderr)  # noqa: T201  # the command's own voice
