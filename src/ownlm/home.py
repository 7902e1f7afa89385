"""Where OwnLM keeps what it owns: ``$OWNLM_HOME``, or the platform's folder for an application's data."""

from __future__ import annotations

import os
from pathlib import Path

from ownlm.errors import InvalidSetting


def data_home(explicit: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the index and the ledger, made if it is missing. Readable by its owner alone.

    Raises InvalidSetting when the path is a file or cannot be made.
    """
    chosen = explicit or os.environ.get("OWNLM_HOME")
    if chosen:
        home = Path(chosen).expanduser()
    else:
        from platformdirs import user_data_path

        home = user_data_path("ownlm", appauthor=False)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidSetting("OWNLM_HOME", str(home), f"{reason.lower()}; name a folder that can be written") from error
    return home.resolve()
