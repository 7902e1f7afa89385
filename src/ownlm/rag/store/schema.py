"""The tables of the index. SQLite is the truth; everything in memory is rebuilt from it.

    documents 1 ── n chunks          a document's text is every chunk's lead + text in order, then its tail
    documents 1 ── 1 vectors         one row of int8 codes a chunk, in the chunks' order
    chunks    1 ── 1 sentences       their spans and their own vectors, read with the chunk around them
    chunks ──> words, trigrams       FTS5 with external content: the text is stored once
    skipped                          files that could not be read, so that they are not opened again
    roots                            folders indexed, and the device they were on
    ledger                           what was asked and what was read for it
    purges                           whose text is gone from here, and may be left in what models computed of it
    state                            the generation, which grows with every change that a reader must see

``PRAGMA user_version`` is the number of migrations applied. A migration that has shipped is never edited.
"""

from __future__ import annotations

import sqlite3

from ownlm.errors import StoreError

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        generation INTEGER NOT NULL,
        purge_due INTEGER NOT NULL              -- traces of removed documents: 1 in the word indexes, 2 in the log
    ) STRICT;
    INSERT INTO state VALUES (1, 0, 0);

    CREATE TABLE documents (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- kept when a new version of the file is swapped in
        name TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        media_type TEXT NOT NULL,
        sha256 TEXT NOT NULL,                   -- of the file's bytes
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        settled INTEGER NOT NULL,               -- 0: a later change may have left size and time as they were
        chunks INTEGER NOT NULL,
        characters INTEGER NOT NULL,
        notes TEXT NOT NULL,                    -- JSON list
        reader_notes TEXT NOT NULL,             -- JSON list: those of the notes that the reader gave
        marks TEXT NOT NULL,                    -- JSON list of [kind, start, end, level, label]
        tail TEXT NOT NULL,                     -- the text after the last chunk
        recipe TEXT NOT NULL,                   -- what made the chunks and the vectors; another one: make them again
        generation INTEGER NOT NULL             -- the state's generation when this version came in
    ) STRICT;
    CREATE INDEX documents_generation ON documents (generation);

    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,   -- never used twice, so that a reader cannot meet another text
        document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL,
        start INTEGER NOT NULL,
        stop INTEGER NOT NULL,
        heading TEXT NOT NULL,                  -- JSON list, outermost first; FTS5 indexes it so (a view
                                                -- over json_each makes its integrity-check fail)
        page TEXT NOT NULL,
        lead TEXT NOT NULL,                     -- the text between the chunk before and this one
        text TEXT NOT NULL,
        foreign_text INTEGER NOT NULL,          -- 1: in a language that the encoder does not know
        UNIQUE (document_id, ordinal)
    ) STRICT;
    CREATE INDEX chunks_foreign ON chunks (id) WHERE foreign_text = 1;

    CREATE TABLE vectors (
        document_id INTEGER PRIMARY KEY REFERENCES documents (id) ON DELETE CASCADE,
        fingerprint TEXT NOT NULL,              -- of the encoder
        dimension INTEGER NOT NULL,
        codes BLOB NOT NULL,                    -- int8 [chunks, dimension]
        scales BLOB NOT NULL                    -- little-endian float32 [chunks]: vector = codes * scale
    ) STRICT;

    CREATE TABLE sentences (
        chunk_id INTEGER PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,
        spans BLOB NOT NULL,                    -- little-endian int32 [sentences, 2]: start, stop in the document
        codes BLOB NOT NULL,                    -- int8 [sentences, dimension], of the document's encoder
        scales BLOB NOT NULL                    -- little-endian float32 [sentences]
    ) STRICT;

    CREATE VIEW chunk_words AS
        SELECT chunks.id AS id, documents.title AS title, chunks.heading AS heading, chunks.text AS text
        FROM chunks JOIN documents ON documents.id = chunks.document_id;
    CREATE VIEW chunk_trigrams AS
        SELECT chunk_words.* FROM chunk_words JOIN chunks USING (id) WHERE chunks.foreign_text = 1;
    CREATE VIRTUAL TABLE words USING fts5 (
        title, heading, text, content = 'chunk_words', content_rowid = 'id',
        tokenize = 'porter unicode61 remove_diacritics 2'
    );
    CREATE VIRTUAL TABLE trigrams USING fts5 (
        title, heading, text, content = 'chunk_trigrams', content_rowid = 'id', tokenize = 'trigram'
    );

    CREATE TABLE skipped (
        name TEXT PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        reason TEXT NOT NULL,
        version TEXT NOT NULL                   -- of OwnLM: another version tries again
    ) STRICT;

    CREATE TABLE roots (name TEXT PRIMARY KEY, device INTEGER NOT NULL) STRICT;

    CREATE TABLE ledger (
        id TEXT PRIMARY KEY,
        created REAL NOT NULL,                  -- seconds since 1970
        question TEXT NOT NULL,
        answer TEXT NOT NULL,                   -- JSON
        settings TEXT NOT NULL,                 -- JSON
        fingerprint TEXT NOT NULL
    ) STRICT;
    CREATE INDEX ledger_created ON ledger (created);
    """,
    """
    ALTER TABLE documents ADD COLUMN tag TEXT NOT NULL DEFAULT '';  -- owner of what models compute of this version
    UPDATE documents SET tag = lower(hex(randomblob(16)));
    CREATE TABLE purges (tag TEXT PRIMARY KEY) STRICT;              -- of versions that are gone: not done yet
    """,
)


def version(connection: sqlite3.Connection) -> int:
    """How many migrations the database has seen."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, in one transaction, so that of several processes one does it.

    Raises StoreError when a newer OwnLM wrote the database.
    """
    if version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        applied = version(connection)
        if applied > len(MIGRATIONS):
            raise StoreError(
                f"the index has format {applied}, this OwnLM reads up to {len(MIGRATIONS)}: "
                "update OwnLM, or name another OWNLM_HOME"
            )
        for migration in MIGRATIONS[applied:]:
            for statement in _statements(migration):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """The statements of a script one by one: ``executescript`` would end the transaction."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
