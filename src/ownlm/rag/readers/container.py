"""Zip containers (office files, EPUB) without the ways in which a zip can be a bomb."""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO

from ownlm.errors import DocumentTooLarge, UnreadableDocument
from ownlm.rag.readers.limits import MIB, Limits, size_in_words

_RATIO_FROM = 16 * MIB
_XML_SUFFIXES = (".xml", ".rels", ".opf", ".ncx")
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, KeyError, ValueError)


def names_of(data: bytes) -> tuple[set[str], str]:
    """The names in a zip, and what its ``mimetype`` member says (EPUB and OpenDocument have one)."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = set(archive.namelist())
            mimetype = ""
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                mimetype = archive.read("mimetype").decode("ascii", "replace").strip()
            return names, mimetype
    except _DAMAGED:
        raise UnreadableDocument("is a damaged or truncated zip container (DOCX, PPTX, XLSX, EPUB)") from None


class Container:
    """A zip that was checked as a whole; members are read up to what it declared and what the limits leave.

    ``zipfile`` never yields more than a member's declared size, so the sums of the table of contents bind any
    library that opens the same bytes afterwards.
    """

    def __init__(self, data: bytes, limits: Limits) -> None:
        self.data = data
        try:
            self.archive = zipfile.ZipFile(BytesIO(data))
        except _DAMAGED:
            raise UnreadableDocument("is a damaged or truncated zip container") from None
        members = self.archive.infolist()
        if len(members) > limits.members:
            raise DocumentTooLarge(f"holds {len(members):,} parts, more than {limits.members:,}: it may be a zip bomb")
        unpacked = sum(member.file_size for member in members)
        if unpacked > limits.unpacked_bytes or unpacked > max(_RATIO_FROM, limits.unpacked_ratio * len(data)):
            raise DocumentTooLarge(
                f"unpacks from {size_in_words(len(data))} to {size_in_words(unpacked)}: it may be a zip bomb"
            )
        if any(member.flag_bits & 1 for member in members):
            raise UnreadableDocument("is encrypted with a password: save a copy without one")
        self.names = {member.filename for member in members}
        self._left = limits.unpacked_bytes

    def read(self, name: str) -> bytes:
        """A member's bytes. Raises UnreadableDocument when it is missing or damaged."""
        try:
            data = self.archive.read(name)
        except _DAMAGED:
            raise UnreadableDocument(f"is damaged: its part {name[:200]!r} cannot be read") from None
        self._left -= len(data)
        if self._left < 0:
            raise DocumentTooLarge("unpacks to more than the limit: it may be a zip bomb")
        return data

    def refuse_entities(self) -> None:
        """Office formats forbid document type declarations; who has one means to expand entities."""
        for name in self.names:
            if name.endswith(_XML_SUFFIXES) and not plain_xml(self.read(name)):
                raise UnreadableDocument(f"declares XML entities in {name[:200]!r}, which no office file may")
        self._left = max(self._left, 1 << 62)


def plain_xml(data: bytes) -> bool:
    """Whether XML is free of document type declarations, in any encoding that XML parsers accept."""
    if b"\x00" in data[:4] or data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.replace(b"\x00", b"")
    return b"<!DOCTYPE" not in data and b"<!ENTITY" not in data
