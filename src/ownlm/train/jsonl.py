"""Files of JSON lines, plain or packed (.gz, .xz), in which every object knows its file and line."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ownlm.errors import InvalidData


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
    """The objects of a file in order; empty lines are none. Raises InvalidData."""
    number = 0
    try:
        with _open(path) as file:
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield Line(path, number, _object(path, number, text))
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise InvalidData(path, f"cannot be read ({error})", "give a file of JSON lines", line=number or None) from None


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.open(path)  # type: ignore[return-value]  # an IO[bytes] in all that is used here
    return lzma.open(path) if path.suffix == ".xz" else path.open("rb")


def _object(path: Path, number: int, text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidData(path, f"is no JSON ({error})", "give one object a line", line=number) from None
    if not isinstance(value, dict):
        raise InvalidData(path, "is no object", 'give {"messages": [...]}', line=number)
    return value
