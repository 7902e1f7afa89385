"""Streams of text to documents of bounded length: at a separator, and where a text is too long at a paragraph."""

from __future__ import annotations

from collections.abc import Iterator

LONGEST = 1 << 24
"""Characters of a document. A longer text is read as several, so that memory stays bounded."""


def cut(text: str, longest: int | None = None) -> Iterator[str]:
    """The text in parts of at most ``longest`` characters, which joined are the text again.

    >>> list(cut("one two\\n\\nthree four", 14))
    ['one two\\n\\n', 'three four']
    """
    longest = longest or LONGEST
    start = 0
    while len(text) - start > longest:
        end = _place(text, start, start + longest)
        yield text[start:end]
        start = end
    yield text[start:] if start else text


def split_documents(
    pieces: Iterator[str], separator: str | None, longest: int | None = None
) -> Iterator[tuple[str, int]]:
    """Documents of a stream that comes in pieces: (text, 0 for a document's first part and 1 for a further one).

    >>> list(split_documents(iter(["one<", "end>two", "<end>"]), "<end>"))
    [('one', 0), ('two', 0)]
    """
    longest = longest or LONGEST
    overlap = len(separator or "")
    held: list[str] = []
    size = further = 0
    tail = ""
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        near = tail + piece
        tail = near[-overlap:] if overlap else ""
        if size <= longest + overlap and (separator is None or separator not in near):
            continue
        text = "".join(held)
        if separator is not None:
            *whole, text = text.split(separator)
            tail = text[-overlap:]
            for document in whole:
                for part in cut(document, longest):
                    yield part, further
                    further = 1
                further = 0
        while len(text) > longest + overlap:  # what may begin a separator is not cut
            end = _place(text, 0, longest)
            yield text[:end], further
            text, further = text[end:], 1
        held, size = [text], len(text)
    rest = "".join(held)
    if rest:
        for part in cut(rest, longest):
            yield part, further
            further = 1


def _place(text: str, start: int, end: int) -> int:
    """Where to cut in the second half: after a blank line, a line, a space; else at the end."""
    middle = (start + end) // 2
    for mark in ("\n\n", "\n", " "):
        found = text.rfind(mark, middle, end)
        if found >= 0:
            return found + len(mark)
    return end
