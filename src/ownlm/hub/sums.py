"""The files of a model folder against what its ``SHA256SUMS`` records."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from ownlm.errors import CorruptModel, NotFound

SUMS = "SHA256SUMS"


def verify(folder: Path, leave_out: Collection[str] = ()) -> list[str]:
    """Compare every file that ``SHA256SUMS`` records, but those to leave out, with its bytes; return their names.

    Raises NotFound if the folder records nothing, CorruptModel naming the first file that differs or is missing.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise NotFound(f"{folder} has no {SUMS}: there is nothing to verify it against")
    checked = []
    for line in sums.read_text("utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        path = PurePosixPath(name)
        if len(digest) != 64 or not name or path.is_absolute() or ".." in path.parts:
            raise CorruptModel(f"{sums} is damaged at {line!r}: get the folder again")
        if name in leave_out:
            continue
        if not (folder / path).is_file():
            raise CorruptModel(f"{folder / path} is missing: get the folder again")
        with (folder / path).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise CorruptModel(f"{folder / path} is not the file that {SUMS} records: get the folder again")
        checked.append(name)
    if not checked and not leave_out:
        raise CorruptModel(f"{sums} is empty: get the folder again")
    return checked
