"""Public sets under ``OWNLM_DATA``: JSON lines packed with xz. docs/data.md says where each comes from."""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from ownlm.errors import InvalidData, InvalidSetting, NotFound

Row = dict[str, Any]
T = TypeVar("T")
_REMEDY = "get the file again (docs/data.md says where it comes from)"


def data_folder(given: Path | None = None) -> Path:
    """``given``, or what ``OWNLM_DATA`` names. Raises InvalidSetting if it is not set, or no folder."""
    name, value = ("--data", str(given)) if given is not None else ("OWNLM_DATA", os.environ.get("OWNLM_DATA", ""))
    if not value:
        raise InvalidSetting(
            name, value, "set it to the folder of the public sets that are measured on (docs/data.md lists them)"
        )
    if not Path(value).is_dir():
        raise InvalidSetting(name, value, "there is no such folder; docs/data.md says what belongs into it")
    return Path(value)


def rows(folder: Path, name: str, fields: Iterable[str]) -> Iterator[Row]:
    """The rows of ``folder/name.jsonl.xz`` in their order, all of which have ``fields``.

    Raises NotFound, or InvalidData naming file and line.
    """
    path = folder / f"{name}.jsonl.xz"
    if not path.is_file():
        raise NotFound(f"{path} is not there: docs/data.md says where the set comes from")
    wanted = list(fields)
    number = 0
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield _row(path, number, line, wanted)
    except (lzma.LZMAError, EOFError, UnicodeDecodeError, OSError) as error:
        raise InvalidData(path, f"cannot be read ({error})", _REMEDY, line=number + 1) from None
    if not number:
        raise InvalidData(path, "has no rows", _REMEDY)


def digest(*parts: str) -> str:
    """A name for a row by what it says.

    >>> digest("a", "b") == digest("a", "b") != digest("ab")
    True
    """
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _row(path: Path, number: int, line: str, fields: list[str]) -> Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidData(path, "is no JSON", _REMEDY, line=number) from None
    if not isinstance(found, dict):
        raise InvalidData(path, "is no JSON object", _REMEDY, line=number)
    for field in fields:
        if field not in found:
            raise InvalidData(path, f"has no field {field!r}", _REMEDY, line=number)
    return found
