"""The text of a document as it grows, block by block, with its marks."""

from __future__ import annotations

import re

from ownlm.errors import DocumentTooLarge, UnreadableDocument
from ownlm.rag.readers.clean import clean, flowing, one_line
from ownlm.rag.types import Extracted, Mark, MarkKind

LABEL_LENGTH = 300  # characters of a heading that serve as its label
# What programs write where a title belongs.
_EMPTY_TITLES = {
    *("", "untitled", "(anonymous)", "anonymous", "document", "word document", "presentation", "slide 1", "title"),
    *("powerpoint presentation", "index", "home", "unknown", "none", "new document", "no title"),
}
_PROGRAM = re.compile(r"^Microsoft (?:Word|PowerPoint|Excel) - ")


class TextBuilder:
    """Collects blocks; a blank line goes between two. Stops at ``limit`` characters.

    Pages, tables and blocks of code are opened and closed around the blocks they hold.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.notes: list[str] = []
        self._parts: list[str] = []
        self._starts: list[int] = []
        self._length = 0
        self._marks: list[Mark] = []
        self._open: list[tuple[MarkKind, int, str]] = []
        self.first_heading = ""

    def __len__(self) -> int:
        return self._length

    def block(self, text: str, *, tight: bool = False) -> None:
        """Append a block of flowing text; ``tight`` puts it on the line below the block before."""
        self._append(flowing(text), "\n" if tight else "\n\n")

    def resume(self, text: str) -> None:
        """Go on with the paragraph before, which a page break divided; the new page begins at this text."""
        self._append(flowing(text), " ")

    def verbatim(self, text: str) -> None:
        """Append a block whose white space matters."""
        self._append("\n".join(line.rstrip() for line in clean(text).strip("\n").split("\n")), "\n\n")

    def heading(self, text: str, level: int) -> None:
        """Append a heading on its own line, marked."""
        text = one_line(text)
        if not text:
            return
        start = self._append(text, "\n\n")
        self._marks.append(Mark("heading", start, self._length, min(max(level, 1), 9), text[:LABEL_LENGTH]))
        self.first_heading = self.first_heading or text[:LABEL_LENGTH]

    def open(self, kind: MarkKind, label: str = "") -> None:
        """Begin a page, table or block of code: what is appended until ``close`` belongs to it."""
        self._open.append((kind, len(self._parts), one_line(label)[:LABEL_LENGTH]))

    def close(self) -> None:
        """End what was opened last; without text in it, no mark is left."""
        kind, part, label = self._open.pop()
        if part >= len(self._parts):
            return
        self._marks.append(Mark(kind, self._starts[part], self._length, 0, label))

    def note(self, text: str) -> None:
        """Say something to the user about how the document was read."""
        if text not in self.notes:
            self.notes.append(text)

    def _append(self, text: str, separator: str) -> int:
        if not text.strip():
            return self._length
        text = text.strip("\n")
        if not self._parts:
            separator = ""
        self._parts.append(separator + text)
        start = self._length + len(separator)
        self._starts.append(start)
        self._length = start + len(text)
        check_length(self._length, self.limit)
        return start

    def extracted(self, title: str, media_type: str) -> Extracted:
        """The document, titled by its first heading when its own title says nothing.

        Raises UnreadableDocument when there is no text.
        """
        text = "".join(self._parts)
        if not text.strip():
            raise UnreadableDocument("has no text")
        marks = tuple(sorted(self._marks, key=lambda mark: (mark.start, -mark.end)))
        title = _PROGRAM.sub("", one_line(title))
        if title.lower() in _EMPTY_TITLES:
            title = self.first_heading
        return Extracted(text, title[:LABEL_LENGTH], media_type, marks, tuple(self.notes))


def check_length(length: int, limit: int) -> None:
    """Raise DocumentTooLarge when a text has more characters than the limit."""
    if length > limit:
        raise DocumentTooLarge(f"has more than {limit:,} characters of text: split it, or raise the limit")
