"""What parent and worker say to each other: length-prefixed JSON, and one length-prefixed run of bytes.

    request    u32 length | JSON {"name", "limits": {...}, "size"} | size bytes of the document
    response   u32 length | JSON {"text", "title", "media_type", "marks", "notes"} or {"error", "reason", "last"}

A worker parses untrusted input, so the parent believes nothing it says: lengths are bounded before memory is
given to them, and the text and every mark are checked against the rules of ``Extracted``.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any, get_args

from ownlm.errors import DocumentError, DocumentTooLarge, UnreadableDocument
from ownlm.rag.readers.clean import FORBIDDEN, one_line
from ownlm.rag.readers.limits import MIB, Limits
from ownlm.rag.types import Extracted, Mark, MarkKind
from ownlm.worker.frames import BrokenWorker as BrokenWorker
from ownlm.worker.frames import frame as frame

MAX_REQUEST = 64 * 1024
ERRORS: dict[str, type[DocumentError]] = {
    "UnreadableDocument": UnreadableDocument,
    "DocumentTooLarge": DocumentTooLarge,
}
KINDS = frozenset(get_args(MarkKind))
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]{1,100}")
_SENTENCE = 2000  # characters of a reason or note that are passed on


def max_response(limits: Limits) -> int:
    """The most bytes a response of a text within the limits can have: 4 a character, and as many for marks."""
    return 8 * limits.characters + 16 * MIB


def request(name: str, data: bytes, limits: Limits) -> bytes:
    """The message that precedes the document's bytes."""
    return frame({"name": name[-1000:], "limits": asdict(limits), "size": len(data)})


def success(extracted: Extracted) -> bytes:
    marks = [[mark.kind, mark.start, mark.end, mark.level, mark.label] for mark in extracted.marks]
    return frame(
        {
            "text": extracted.text,
            "title": extracted.title,
            "media_type": extracted.media_type,
            "marks": marks,
            "notes": list(extracted.notes),
        }
    )


def failure(error: DocumentError, *, last: bool = False) -> bytes:
    """``last``: the worker ends after this, because what happened may have left it unsound."""
    return frame({"error": type(error).__name__, "reason": str(error), "last": last})


def outcome(message: dict[str, Any], limits: Limits) -> Extracted:
    """The document that a response holds, checked. Raises what it reports, or BrokenWorker."""
    if "error" in message:
        kind = ERRORS.get(_text(message["error"]))
        if kind is None:
            raise BrokenWorker("an error of no known kind")
        raise kind(one_line(_text(message.get("reason")))[:_SENTENCE])
    text = _text(message.get("text"))
    if len(text) > limits.characters:
        raise BrokenWorker("more text than the limit")
    if FORBIDDEN.search(text):
        raise BrokenWorker("control characters in the text")
    media_type = _text(message.get("media_type"))
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise BrokenWorker("a media type that is none")
    marks = tuple(_mark(item, len(text)) for item in _list(message.get("marks")))
    notes = tuple(one_line(_text(note))[:_SENTENCE] for note in _list(message.get("notes"))[:100])
    return Extracted(text, one_line(_text(message.get("title")))[:_SENTENCE], media_type, marks, notes)


def _mark(item: Any, length: int) -> Mark:
    match item:
        case [str(kind), int(start), int(end), int(level), str(label)] if kind in KINDS:
            if 0 <= start <= end <= length and 0 <= level <= 9:
                return Mark(kind, start, end, level, one_line(label)[:_SENTENCE])  # type: ignore[arg-type]
    raise BrokenWorker("a mark outside the text")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BrokenWorker("something else where text belongs")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BrokenWorker("something else where a list belongs")
    return value
