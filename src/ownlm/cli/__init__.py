"""The command ``ownlm``. Results go to stdout, progress and notes to stderr; bad input is one line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing a user can cause prints a traceback."""
    from ownlm.cli.app import Stopped, UsageFault, app
    from ownlm.errors import OwnLMError

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(words or ["--help"], prog_name="ownlm", standalone_mode=False)
    except OwnLMError as error:
        return _fail(str(error), error.exit_code)
    except UsageFault as error:
        context = getattr(error, "ctx", None)
        where = context.command_path if context else "ownlm"
        message = error.format_message().rstrip(".")
        if not message:  # a group named alone has shown its help
            return 0
        return _fail(f"{message} (see '{where} --help')", 2)
    except (KeyboardInterrupt, Stopped):
        code = INTERRUPTED
    if code == INTERRUPTED:
        return _fail("interrupted; what was finished is kept", INTERRUPTED)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    from ownlm.cli.output import note

    note(f"ownlm: {message}")
    return code


def entry() -> None:
    """The console script."""
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:  # before ``main`` could listen
        raise SystemExit(INTERRUPTED) from None
