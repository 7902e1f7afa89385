"""Search by words (BM25 over FTS5) and by trigrams, for languages that the encoder does not know."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence

from ownlm.errors import InvalidSetting

Weights = tuple[float, float, float]
WEIGHTS: Weights = (1.0, 1.0, 1.0)
"""BM25 weights of title, heading and text."""
_TRIGRAM = 3


def add(connection: sqlite3.Connection, document: int) -> None:
    """Enter a document's chunks into both indexes; the rows of ``chunks`` are there already."""
    for index, view in (("words", "chunk_words"), ("trigrams", "chunk_trigrams")):
        connection.execute(
            f"INSERT INTO {index} (rowid, title, heading, text) SELECT id, title, heading, text FROM {view} "
            "WHERE id IN (SELECT id FROM chunks WHERE document_id = ?)",
            (document,),
        )


def remove(connection: sqlite3.Connection, document: int) -> None:
    """Take a document's chunks out of both indexes, before their rows go: FTS5 needs the text it indexed."""
    for index, view in (("words", "chunk_words"), ("trigrams", "chunk_trigrams")):
        connection.execute(
            f"INSERT INTO {index} ({index}, rowid, title, heading, text) "
            f"SELECT 'delete', id, title, heading, text FROM {view} "
            "WHERE id IN (SELECT id FROM chunks WHERE document_id = ?)",
            (document,),
        )


def compact(connection: sqlite3.Connection) -> None:
    """Merge each index into one segment, which drops the last trace of removed text."""
    for index in ("words", "trigrams"):
        connection.execute(f"INSERT INTO {index} ({index}) VALUES ('optimize')")


def check(connection: sqlite3.Connection) -> None:
    """Compare both indexes with the chunks they stand for. Raises sqlite3.DatabaseError when they differ."""
    for index in ("words", "trigrams"):
        connection.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")


def any_of(terms: Sequence[str]) -> str:
    """The FTS5 expression that matches any of the terms; each is a word or a phrase, taken literally."""
    return " OR ".join('"' + term.replace("\0", " ").replace('"', '""') + '"' for term in terms)


def search(
    connection: sqlite3.Connection,
    match: str,
    limit: int,
    documents: Collection[int] | None = None,
    weights: Weights = WEIGHTS,
    *,
    index: str = "words",
) -> list[tuple[int, float]]:
    """``(chunk id, BM25)``, best first (higher is better), for an FTS5 expression."""
    if not match.strip() or limit <= 0:
        return []
    # "+rowid" keeps SQLite from running the match once for every chunk in scope.
    scope = (
        ""
        if documents is None
        else ("AND +rowid IN (SELECT id FROM chunks WHERE document_id IN (SELECT value FROM json_each(:documents))) ")
    )
    try:
        rows = connection.execute(
            f"SELECT rowid, -rank FROM {index} WHERE {index} MATCH :match AND rank MATCH :rank {scope}"
            "ORDER BY rank LIMIT :limit",
            {
                "match": match,
                "rank": "bm25({}, {}, {})".format(*map(float, weights)),
                "limit": limit,
                **({} if documents is None else {"documents": _json(documents)}),
            },
        )
        return [(int(chunk), float(score)) for chunk, score in rows]
    except sqlite3.OperationalError as error:
        if "fts5: syntax error" in str(error) or "no such column" in str(error):
            raise InvalidSetting("match", match, f"not an FTS5 expression ({error})") from error
        raise


def frequencies(connection: sqlite3.Connection, stems: Iterable[str]) -> dict[str, int]:
    """In how many chunks each stem stands (title and headings counted)."""
    connection.execute("CREATE VIRTUAL TABLE IF NOT EXISTS temp.vocabulary USING fts5vocab (main, words, row)")
    found = {}
    for stem in stems:
        row = connection.execute("SELECT doc FROM temp.vocabulary WHERE term = ?", (stem,)).fetchone()
        found[stem] = int(row[0]) if row else 0
    return found


def search_trigrams(
    connection: sqlite3.Connection, terms: Sequence[str], limit: int, documents: Collection[int] | None = None
) -> list[tuple[int, float]]:
    """``(chunk id, score)``, best first, of chunks in languages that the encoder does not know.

    A term of three characters or more matches by its trigrams, so that a part of a word is enough. When every
    term is shorter (often so in Chinese and Japanese), the chunks that hold most of them come first.
    """
    grams = {term[i : i + _TRIGRAM]: None for term in terms for i in range(len(term) - _TRIGRAM + 1)}
    if grams:
        return search(connection, any_of(list(grams)), limit, documents, index="trigrams")
    short = [term.lower() for term in dict.fromkeys(terms) if term.strip()]
    if not short or limit <= 0:
        return []
    scope = "" if documents is None else "AND document_id IN (SELECT value FROM json_each(:documents))"
    rows = connection.execute(
        "SELECT id, (SELECT count(*) FROM json_each(:terms) WHERE instr(lower(text), value)) AS hits "
        f"FROM chunks WHERE foreign_text = 1 AND hits > 0 {scope} ORDER BY hits DESC, id LIMIT :limit",
        {
            "terms": json.dumps(short),
            "limit": limit,
            **({} if documents is None else {"documents": _json(documents)}),
        },
    )
    return [(int(chunk), float(hits)) for chunk, hits in rows]


def _json(documents: Collection[int]) -> str:
    return json.dumps([int(document) for document in documents])
