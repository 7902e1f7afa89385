"""Where models are: the one that ships, or a folder.

A model is a folder in the Hugging Face layout. ``SHA256SUMS`` in it, where there is one, records its files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from ownlm.errors import CorruptModel, NotFound

DEFAULT = "all-MiniLM-L6-v2-q8_0"
SUMS = "SHA256SUMS"
_WEIGHTS = Path(__file__).parent / "weights"


def shipped() -> list[str]:
    """Names of the models inside this package."""
    return sorted(config.parent.name for config in _WEIGHTS.glob("*/config.json"))


def resolve(name: str | Path | None = None) -> Path:
    """The folder of a model: None is the encoder that ships; else a shipped model's name or a folder's path.

    Raises NotFound, listing what is there.
    """
    wanted = DEFAULT if name is None else str(name)
    if wanted in shipped():
        return _WEIGHTS / wanted
    folder = Path(wanted).expanduser()
    if (folder / "config.json").is_file():
        return folder
    there = ", ".join(shipped()) or "none"
    if folder.is_dir():
        raise NotFound(f"the folder {wanted} holds no model (no config.json); models that ship: {there}")
    raise NotFound(f"there is no model {wanted!r}: give a model folder or one that ships ({there})")


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
