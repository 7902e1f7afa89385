"""Plain text, and formats that are read as plain text (JSON, YAML, TOML, logs, letters, licences)."""

from __future__ import annotations

from pathlib import PurePath

from ownlm.errors import UnreadableDocument
from ownlm.rag.readers.builder import check_length
from ownlm.rag.readers.clean import FORBIDDEN, clean
from ownlm.rag.readers.encoding import decode
from ownlm.rag.readers.limits import Limits
from ownlm.rag.types import Extracted


def own_text(data: bytes, limits: Limits) -> tuple[str, list[str]]:
    """The text of a file as it is (NFC, ``\\n`` line ends), and notes about its encoding."""
    text, note = decode(data)
    notes = [note] if note else []
    dropped = len(FORBIDDEN.findall(text)) - text.count("\r") - text.count("\x0b") - text.count("\x0c")
    dropped -= text.count("\x85")
    text = clean(text.removeprefix("\ufeff"))
    if dropped:
        notes.append(f"{dropped} control characters left out")
    check_length(len(text), limits.characters)
    if not text.strip():
        raise UnreadableDocument("has no text")
    return text, notes


def read(data: bytes, name: str, limits: Limits, media_type: str = "text/plain") -> Extracted:
    text, notes = own_text(data, limits)
    return Extracted(text, PurePath(name).stem, media_type, (), tuple(notes))
