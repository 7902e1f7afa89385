"""Reads of the store: documents, their text, and passages. Each function sees one committed state."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from ownlm.errors import NotFound
from ownlm.rag.types import Document, Extracted, Mark, Passage

_DOCUMENT = "SELECT id, name, title, media_type, sha256, size, mtime_ns, chunks, characters, notes FROM documents "
_PASSAGE = (
    "SELECT chunks.id, chunks.document_id, name, title, chunks.start, chunks.stop, chunks.text, chunks.heading, "
    "chunks.page FROM chunks JOIN documents ON documents.id = chunks.document_id "
)


def documents(connection: sqlite3.Connection) -> list[Document]:
    """Every document, by name."""
    return [_document(row) for row in connection.execute(_DOCUMENT + "ORDER BY name")]


def as_text(key: str) -> str:
    """What a person typed, with bytes that are not UTF-8 replaced, as the database can take it."""
    return key.encode("utf-8", "replace").decode("utf-8")


def document(connection: sqlite3.Connection, key: str | int) -> Document:
    """One document by id, by name, or by an end of its name that no other shares. Raises NotFound."""
    text, rows = as_text(str(key)), []
    if isinstance(key, str):
        rows = connection.execute(_DOCUMENT + "WHERE name = ?", (text,)).fetchall()
    if not rows and text.isascii() and text.isdigit() and len(text) < 19:
        rows = connection.execute(_DOCUMENT + "WHERE id = ?", (int(text),)).fetchall()
    if not rows and text and isinstance(key, str):
        ends = connection.execute(_DOCUMENT + "WHERE substr(name, -length(?1)) = ?1 ORDER BY name", (text,)).fetchall()
        rows = [row for row in ends if row[1][-len(text) - 1] in "/\\"] or ends
    if not rows:
        raise NotFound(f"no document {text!r} in the index: ownlm index list shows all")
    if len(rows) > 1:
        names = ", ".join(row[1] for row in rows[:3]) + (", ..." if len(rows) > 3 else "")
        raise NotFound(f"{len(rows)} documents end in {text!r} ({names}): give more of the name, or the id")
    return _document(rows[0])


def extracted(connection: sqlite3.Connection, document_id: int) -> Extracted:
    """What the reader made of the file. Raises NotFound."""
    row = connection.execute(
        "SELECT title, media_type, marks, reader_notes, tail FROM documents WHERE id = ?", (document_id,)
    ).fetchone()
    if row is None:
        raise NotFound(f"no document with id {document_id} in the index: it was removed")
    title, media_type, marks, notes, tail = row
    pieces = connection.execute("SELECT lead, text FROM chunks WHERE document_id = ? ORDER BY ordinal", (document_id,))
    return Extracted(
        "".join(lead + piece for lead, piece in pieces) + tail,
        title,
        media_type,
        tuple(Mark(*mark) for mark in json.loads(marks)),
        tuple(json.loads(notes)),
    )


def passages(connection: sqlite3.Connection, chunk_ids: Sequence[int]) -> list[Passage]:
    """The chunks with these ids, in this order, with score 0; one that was removed since is left out."""
    rows = connection.execute(
        _PASSAGE + "WHERE chunks.id IN (SELECT value FROM json_each(?))", (json.dumps([int(id) for id in chunk_ids]),)
    )
    found = {row[0]: _passage(row) for row in rows}
    return [found[id] for id in chunk_ids if id in found]


def whole(connection: sqlite3.Connection, documents: Collection[int] | None, most: int) -> list[Passage]:
    """Every chunk of these documents, or of all, by name and place; none if they have more characters than ``most``."""
    listed = None if documents is None else json.dumps([int(id) for id in documents])
    among = "(?1 IS NULL OR documents.id IN (SELECT value FROM json_each(?1)))"
    (total,) = connection.execute(
        f"SELECT coalesce(sum(characters), 0) FROM documents WHERE {among}", (listed,)
    ).fetchone()
    if total > most:
        return []
    rows = connection.execute(f"{_PASSAGE} WHERE {among} ORDER BY documents.name, chunks.ordinal", (listed,))
    return [_passage(row) for row in rows]


def tags(connection: sqlite3.Connection, documents: Iterable[int]) -> dict[int, str]:
    """The owner's tag of each of these documents' present version."""
    return dict(
        connection.execute(
            "SELECT id, tag FROM documents WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps([int(id) for id in documents]),),
        ).fetchall()
    )


def neighbours(connection: sqlite3.Connection, chunk_id: int, before: int, after: int) -> list[Passage]:
    """A chunk with those around it in its document, in the document's order."""
    rows = connection.execute(
        _PASSAGE + "JOIN chunks AS middle ON middle.document_id = chunks.document_id WHERE middle.id = ? "
        "AND chunks.ordinal BETWEEN middle.ordinal - ? AND middle.ordinal + ? ORDER BY chunks.ordinal",
        (chunk_id, before, after),
    )
    return [_passage(row) for row in rows]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """How many documents, chunks and characters there are."""
    row = connection.execute("SELECT count(*), coalesce(sum(chunks), 0), coalesce(sum(characters), 0) FROM documents")
    return dict(zip(("documents", "chunks", "characters"), row.fetchone(), strict=True))


def _document(row: tuple[Any, ...]) -> Document:
    id, name, title, media_type, sha256, size, mtime_ns, chunks, characters, notes = row
    return Document(
        id, name, title, media_type, sha256, size, mtime_ns / 1e9, chunks, characters, tuple(json.loads(notes))
    )


def _passage(row: tuple[Any, ...]) -> Passage:
    _, document_id, name, title, start, stop, text, heading, page = row
    return Passage(document_id, name, title, start, stop, text, 0.0, tuple(json.loads(heading)), page)
