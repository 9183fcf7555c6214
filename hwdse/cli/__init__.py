"""The command line. The only part that knows all the others; nobody imports it.

Exit status: 0 done, 1 failed (an infeasible budget, a diverged training, a full disk), 2 usage (malformed text, unknown names, broken files),
130 interrupted. A user's mistake gives a sentence, never a traceback.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``hwdse`` command."""
    import click

    from hwdse.errors import HwdseError, UsageError

    from .app import app

    try:
        code = app(standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        code = _say("interrupted; what had been written is whole.", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        code = _say("interrupted; what had been written is whole. The same command goes on from there.", 130)
    except UsageError as error:
        code = _say(str(error), 2)
    except HwdseError as error:
        code = _say(str(error), 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone: nothing more to say
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _say(text: str, code: int) -> int:
    print(f"hwdse: {text}", file=sys.stderr)  # noqa: T201  # the command's own voice
    return code
