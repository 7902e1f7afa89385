"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


def atomic_json(path: Path, value: Any, **spelling: Any) -> None:
    """Write a value as JSON, a line end behind it, as ``atomic_write`` does; ``spelling`` as in ``json.dumps``."""
    with atomic_write(path) as file:
        file.write((json.dumps(value, **{"indent": 2, **spelling}) + "\n").encode())


@contextlib.contextmanager
def atomic_write(path: Path, *, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` and rename it there when the block ends well.

    With ``durable`` the bytes reach the disk before the rename. On any exception, Ctrl-C included, the
    temporary file is removed and ``path`` is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
