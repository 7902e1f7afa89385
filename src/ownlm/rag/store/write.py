"""Writes to the store. Each function runs inside one transaction that the store opens."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.errors import InvalidSetting
from ownlm.rag import ledger_redaction
from ownlm.rag.store import words as store_words
from ownlm.rag.store.vectors import Floats, quantize
from ownlm.rag.types import Chunk, Extracted


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells whether a file changed without opening it: bytes, nanoseconds, and the file system's number.

    Not ``settled``: it was changed so recently that a further change may leave all three as they are.
    """

    size: int
    mtime_ns: int
    inode: int
    settled: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One version of a document, whole: what the file was, its text, its chunks and their vectors.

    ``vectors`` is float32 [chunks, dimension] with unit rows; ``foreign`` tells for each chunk whether it is in
    a language that the encoder does not know (empty: none is). ``sentences`` holds each chunk's sentences as spans
    of the document, and ``sentence_vectors`` float32 [sentences, dimension] for each chunk (both empty: none kept).
    ``recipe`` names all that made chunks and vectors; ``fingerprint`` is the encoder's.
    """

    name: str
    state: FileState
    sha256: str
    extracted: Extracted
    chunks: Sequence[Chunk]
    vectors: Floats
    fingerprint: str
    recipe: str = ""
    foreign: Sequence[bool] = ()
    sentences: Sequence[Sequence[tuple[int, int]]] = ()
    sentence_vectors: Sequence[Floats] = ()
    notes: tuple[str, ...] = ()


def put(connection: sqlite3.Connection, version: Version) -> int:
    """Swap a document's version in and return its id, which it keeps for life.

    The same bytes made by the same recipe change nothing but the file's state: of two indexers on the same
    folder, the second does no harm.
    """
    _check(version)
    try:
        return _put(connection, version)
    except UnicodeEncodeError as error:
        raise InvalidSetting("text", error.object[error.start : error.end], "it holds half a character") from None


def _put(connection: sqlite3.Connection, version: Version) -> int:
    row = connection.execute("SELECT id, sha256, recipe FROM documents WHERE name = ?", (version.name,)).fetchone()
    connection.execute("DELETE FROM skipped WHERE name = ?", (version.name,))
    if row and row[1:] == (version.sha256, version.recipe):
        touch(connection, row[0], version.state)
        return int(row[0])
    if row:
        _disown(connection, row[0])
        _clear(connection, row[0])
    text, extracted = version.extracted.text, version.extracted
    tail = version.chunks[-1].end if version.chunks else 0
    values = {
        "id": row[0] if row else None,
        "name": version.name,
        "title": extracted.title,
        "media_type": extracted.media_type,
        "sha256": version.sha256,
        "size": version.state.size,
        "mtime_ns": version.state.mtime_ns,
        "inode": signed(version.state.inode),
        "settled": int(version.state.settled),
        "chunks": len(version.chunks),
        "characters": len(text),
        "notes": _json([*extracted.notes, *version.notes]),
        "reader_notes": _json(extracted.notes),
        "marks": _json([[m.kind, m.start, m.end, m.level, m.label] for m in extracted.marks]),
        "tail": text[tail:],
        "recipe": version.recipe,
        "tag": secrets.token_hex(16),
        "generation": bump(connection),
    }
    columns = list(values)
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns if column != "id")
    connection.execute(
        f"INSERT INTO documents ({', '.join(columns)}) VALUES ({', '.join(':' + c for c in columns)}) "
        f"ON CONFLICT (id) DO UPDATE SET {updates}",
        values,
    )
    (document,) = connection.execute("SELECT id FROM documents WHERE name = ?", (version.name,)).fetchone()
    _add_chunks(connection, document, version)
    return int(document)


def remove(connection: sqlite3.Connection, document: int) -> bool:
    """Take a document out; whether it was there."""
    row = connection.execute("SELECT name FROM documents WHERE id = ?", (document,)).fetchone()
    if row is None:
        return False
    _disown(connection, document)
    _clear(connection, document)
    ledger_redaction.redact(connection, row[0])
    connection.execute("DELETE FROM documents WHERE id = ?", (document,))
    connection.execute("UPDATE state SET purge_due = 1")
    bump(connection)
    return True


def touch(connection: sqlite3.Connection, document: int, state: FileState) -> None:
    """Note that the same bytes are now in a file with another state."""
    connection.execute(
        "UPDATE documents SET size = ?, mtime_ns = ?, inode = ?, settled = ? WHERE id = ?",
        (state.size, state.mtime_ns, signed(state.inode), int(state.settled), document),
    )


def bump(connection: sqlite3.Connection) -> int:
    """The next generation: every process that holds something derived makes it anew."""
    (generation,) = connection.execute("UPDATE state SET generation = generation + 1 RETURNING generation").fetchone()
    return int(generation)


def _add_chunks(connection: sqlite3.Connection, document: int, version: Version) -> None:
    text, foreign = version.extracted.text, version.foreign
    ends = [0, *(chunk.end for chunk in version.chunks)]
    connection.executemany(
        "INSERT INTO chunks (document_id, ordinal, start, stop, heading, page, lead, text, foreign_text) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                document,
                ordinal,
                chunk.start,
                chunk.end,
                _json(chunk.heading),
                chunk.page,
                text[ends[ordinal] : chunk.start],
                text[chunk.start : chunk.end],
                int(bool(foreign) and foreign[ordinal]),
            )
            for ordinal, chunk in enumerate(version.chunks)
        ),
    )
    codes, scales = quantize(np.ascontiguousarray(version.vectors, dtype=np.float32))
    connection.execute(
        "INSERT INTO vectors (document_id, fingerprint, dimension, codes, scales) VALUES (?, ?, ?, ?, ?)",
        (document, version.fingerprint, codes.shape[1], codes.tobytes(), scales.astype("<f4").tobytes()),
    )
    store_words.add(connection, document)
    if version.sentences:
        ids = connection.execute("SELECT id FROM chunks WHERE document_id = ? ORDER BY ordinal", (document,)).fetchall()
        connection.executemany(
            "INSERT INTO sentences (chunk_id, spans, codes, scales) VALUES (?, ?, ?, ?)",
            (
                (id, *_sentence_row(spans, vectors))
                for (id,), spans, vectors in zip(ids, version.sentences, version.sentence_vectors, strict=True)
            ),
        )


def _sentence_row(spans: Sequence[tuple[int, int]], vectors: Floats) -> tuple[bytes, bytes, bytes]:
    codes, scales = quantize(np.ascontiguousarray(vectors, dtype=np.float32))
    return np.array(spans, "<i4").tobytes(), codes.tobytes(), scales.astype("<f4").tobytes()


def _clear(connection: sqlite3.Connection, document: int) -> None:
    store_words.remove(connection, document)
    connection.execute("DELETE FROM chunks WHERE document_id = ?", (document,))
    connection.execute("DELETE FROM vectors WHERE document_id = ?", (document,))


def _disown(connection: sqlite3.Connection, document: int) -> None:
    """What models computed of a document's text is to go (``Store.purge``)."""
    connection.execute("INSERT OR IGNORE INTO purges SELECT tag FROM documents WHERE id = ?", (document,))


def _check(version: Version) -> None:
    """A version that is not whole never comes in."""
    end, length = 0, len(version.extracted.text)
    for chunk in version.chunks:
        if not end <= chunk.start < chunk.end <= length:
            raise InvalidSetting("chunks", (chunk.start, chunk.end), f"spans in order within 0..{length}")
        end = chunk.end
    if version.vectors.ndim != 2 or len(version.vectors) != len(version.chunks):
        raise InvalidSetting("vectors", version.vectors.shape, f"one row for each of {len(version.chunks)} chunks")
    if version.foreign and len(version.foreign) != len(version.chunks):
        raise InvalidSetting("foreign", len(version.foreign), f"one for each of {len(version.chunks)} chunks")
    if version.sentences or version.sentence_vectors:
        counts = [len(spans) for spans in version.sentences]
        rows = [len(vectors) for vectors in version.sentence_vectors]
        if len(counts) != len(version.chunks) or counts != rows:
            raise InvalidSetting("sentences", len(counts), "one list for each chunk, one vector for each sentence")


def _json(value: Sequence[object]) -> str:
    return json.dumps(list(value), ensure_ascii=False)


def signed(number: int) -> int:
    """An inode as SQLite's signed 64-bit integer."""
    return number - (1 << 64) if number >= 1 << 63 else number
