"""A model is made under a temporary name, judged there, and takes its own name only then."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ownlm.errors import DiskFull, InvalidSetting


@contextmanager
def staged(target: Path, setting: str = "--out") -> Iterator[Path]:
    """Where to make ``target``, a folder or a GGUF file: a place beside it, under its own name.

    When the block ends well, the model and the papers beside it are moved to ``target``; on any exception, Ctrl-C
    included, nothing is left. Raises InvalidSetting, naming ``setting``, if there is something already, and DiskFull.
    """
    if target.exists() or target.is_symlink():
        raise InvalidSetting(setting, str(target), "it is there already: remove it, or give another name")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise InvalidSetting(setting, str(target), f"nothing can be written there ({error.strerror})") from None
    try:
        made = scratch / target.name
        yield made
        allowed = target.parent.stat().st_mode  # as readable as its place; temporary files are their owner's alone
        for path in scratch.rglob("*"):
            path.chmod(allowed & (0o755 if path.is_dir() else 0o644))
        for path in sorted(scratch.iterdir(), key=lambda path: path == made):  # the model itself last
            path.replace(target.parent / path.name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(target) from None
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
