"""Files of JSON lines, plain or packed (gzip, xz, zstd), in which every object knows its file and line."""

from __future__ import annotations

import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidData
from ownlm.train.data.readers import unpacked


@dataclass(frozen=True, slots=True)
class Line:
    """One object of a file; ``number`` counts from 1."""

    path: Path
    number: int
    value: dict[str, Any]

    def invalid(self, problem: str, remedy: str) -> InvalidData:
        """The error that names this line."""
        return InvalidData(self.path, problem, remedy, line=self.number)


def objects(path: Path) -> Iterator[Line]:
    """The objects of a file in order; empty lines are none. Raises InvalidData, MissingExtra for zstd without it."""
    number = 0
    try:
        with path.open("rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            with unpacked(raw, start) as file:
                for number, text in enumerate(file, 1):
                    if text.strip():
                        yield Line(path, number, _object(path, number, text))
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
        raise InvalidData(path, problem, "give a file of JSON lines", line=number or None) from None
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise InvalidData(path, f"is damaged or ends too early ({error})", "get the file again") from None


def _object(path: Path, number: int, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidData(path, f"is no JSON ({error})", "give one object a line", line=number) from None
    if not isinstance(value, dict):
        raise InvalidData(path, "is no object", 'give {"messages": [...]}', line=number)
    return value
