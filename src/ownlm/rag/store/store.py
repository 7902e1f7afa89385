"""The document index on disk: one SQLite file, read by many processes while one writes.

    with Store.open(home) as store:
        store.put(version)                          one transaction: readers see the old version, then the new
        store.search_words(["fee", "workshop"], 50) (chunk id, BM25)
        store.search_vectors(query, 50)             (chunk id, cosine)
        store.passages([17, 3])                     the chunks themselves, in this order

Every method may be called from any thread. Raises StoreError, StoreBusy or StoreFull as their names say.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType

import numpy as np

from ownlm.engine import kv_folder
from ownlm.errors import StoreError, StoreFull
from ownlm.home import data_home
from ownlm.rag.store import files as store_files
from ownlm.rag.store import read as store_read
from ownlm.rag.store import sentences as store_sentences
from ownlm.rag.store import words as store_words
from ownlm.rag.store import write as store_write
from ownlm.rag.store.database import WAIT_SECONDS, Database
from ownlm.rag.store.sentences import Sentences
from ownlm.rag.store.vectors import Floats, VectorIndex
from ownlm.rag.store.words import WEIGHTS, Weights
from ownlm.rag.store.write import FileState, Version
from ownlm.rag.types import Document, Extracted, Mark, Passage

__all__ = ["FILE", "FileState", "Store", "Version"]

FILE = "index.sqlite"
"""The index's file in its home."""


class Store:
    """Documents, their chunks and vectors, and the ledger, in one SQLite file under ``home``."""

    def __init__(self, home: Path, database: Database) -> None:
        self.home = home
        self._database = database
        self._vectors = VectorIndex()
        self.on_purge: list[Callable[[str], object]] = []
        """Called with the tag of each version of a document that is gone: whoever computed of its text forgets it."""

    @classmethod
    def open(cls, home: str | os.PathLike[str], *, wait: float = WAIT_SECONDS, max_pages: int | None = None) -> Store:
        """Open the index under ``home``, made if missing; ``wait`` is how many seconds a writer waits for another."""
        folder = data_home(home)
        store = cls(folder, Database(folder / FILE, wait=wait, max_pages=max_pages))
        with contextlib.suppress(StoreError):  # whoever removes a document next says so
            store.purge_computed()
        return store

    # -- documents ---------------------------------------------------------------------------------------------

    def documents(self) -> list[Document]:
        """Every document, by name."""
        with self.reading() as connection:
            return store_read.documents(connection)

    def document(self, key: str | int) -> Document:
        """One document by id, by name, or by an end of its name that no other shares. Raises NotFound."""
        with self.reading() as connection:
            return store_read.document(connection, key)

    def under(self, names: Iterable[str]) -> set[int]:
        """The ids of the documents that are, or lie in a folder of, one of these names."""
        roots = list(names)
        with self.reading() as connection:
            rows = connection.execute("SELECT id, name FROM documents").fetchall()
        return {id for id, name in rows if any(store_files.is_under(name, root) for root in roots)}

    def text(self, document_id: int) -> str:
        """A document's text, exactly as it was extracted: every offset is an index into it. Raises NotFound."""
        return self.extracted(document_id).text

    def marks(self, document_id: int) -> tuple[Mark, ...]:
        """The structure that the reader found. Raises NotFound."""
        return self.extracted(document_id).marks

    def extracted(self, document_id: int) -> Extracted:
        """What the reader made of the file. Raises NotFound."""
        with self.reading() as connection:
            return store_read.extracted(connection, document_id)

    def put(self, version: Version) -> int:
        """Swap a version of a document in, whole, in one transaction; its id."""
        with self.transaction() as connection:
            return store_write.put(connection, version)

    def remove(self, ids: Iterable[int]) -> int:
        """Take documents out, all in one transaction, and leave no byte of them; how many there were."""
        wanted, removed = dict.fromkeys(ids), 0
        if wanted:
            with self.transaction() as connection:
                removed = sum(store_write.remove(connection, id) for id in wanted)
        self.purge()
        return removed

    def purge(self) -> None:
        """Leave no byte of what was removed: merge the word indexes, shrink the file, and empty the log.

        Does nothing when nothing was removed since the last time. What a crash, a full disk or another process's
        reading kept it from doing, the next call does.
        """
        self.purge_computed()
        with self.reading() as connection:
            (due,) = connection.execute("SELECT purge_due FROM state").fetchone()
        if not due:
            return
        try:
            with self.transaction() as connection:
                if due == 1:
                    store_words.compact(connection)
                    connection.execute("UPDATE state SET purge_due = 2")
        except StoreFull:
            raise StoreFull(
                "the documents were removed, but there is no room to rewrite the word index, where traces of them are "
                "left: free some space and index or remove anything"
            ) from None
        if self._database.shrink():
            with self.transaction() as connection:
                connection.execute("UPDATE state SET purge_due = 0 WHERE purge_due = 2")

    def purge_computed(self) -> None:
        """Leave no byte of what models computed of text that is gone, in this process, in others, or on disk.

        Raises StoreError where files cannot be removed; the next call tries again.
        """
        with self.reading() as connection:
            tags = [tag for (tag,) in connection.execute("SELECT tag FROM purges")]
        if not tags:
            return
        root = self.home / kv_folder.FOLDER
        try:
            for tag in tags:
                for told in self.on_purge:
                    told(tag)
            kv_folder.purge(root, tags)
        except OSError as error:
            raise StoreError(
                f"what models computed of a document that is gone could not be removed from {root} ({error}): "
                "check the folder's permissions, or delete it"
            ) from error
        with self.transaction() as connection:
            connection.executemany("DELETE FROM purges WHERE tag = ?", [(tag,) for tag in tags])

    # -- search ------------------------------------------------------------------------------------------------

    def search_words(
        self,
        terms: Sequence[str] | str,
        limit: int,
        documents: Collection[int] | None = None,
        *,
        weights: Weights = WEIGHTS,
    ) -> list[tuple[int, float]]:
        """``(chunk id, BM25)``, best first. ``terms`` are words or phrases, any of which may match, taken
        literally; a string is an FTS5 expression. ``weights`` are those of title, heading and text.
        """
        match = terms if isinstance(terms, str) else store_words.any_of(terms)
        with self.reading() as connection:
            return store_words.search(connection, match, limit, documents, weights)

    def search_trigrams(
        self, terms: Sequence[str], limit: int, documents: Collection[int] | None = None
    ) -> list[tuple[int, float]]:
        """``(chunk id, score)``, best first, among chunks in languages that the encoder does not know."""
        with self.reading() as connection:
            return store_words.search_trigrams(connection, terms, limit, documents)

    def search_vectors(
        self, query: Floats, limit: int, documents: Collection[int] | None = None, *, fingerprint: str | None = None
    ) -> list[tuple[int, float]]:
        """``(chunk id, cosine)``, best first, for a unit vector [dimension]; with ``fingerprint``, of that encoder's
        vectors alone.
        """
        with self.reading() as connection:
            matrix = self._vectors.matrix(connection, len(query), fingerprint)
        return matrix.nearest(np.asarray(query, dtype=np.float32), limit, documents)

    def passages(self, chunk_ids: Sequence[int]) -> list[Passage]:
        """The chunks with these ids, in this order, with score 0; one that was removed since is left out."""
        with self.reading() as connection:
            return store_read.passages(connection, chunk_ids)

    def sentences(self, chunk_ids: Sequence[int]) -> dict[int, Sentences]:
        """The sentences of these chunks and their vectors; a chunk that has none kept is left out."""
        with self.reading() as connection:
            return store_sentences.read(connection, chunk_ids)

    def word_frequencies(self, stems: Iterable[str]) -> dict[str, int]:
        """In how many chunks each of these stems stands, as the word index stems them."""
        with self.reading() as connection:
            return store_words.frequencies(connection, stems)

    def whole(self, documents: Collection[int] | None, most: int) -> list[Passage]:
        """Every chunk of these documents (None: of all), by document and place, with score 0; none if they have more
        than ``most`` characters together."""
        with self.reading() as connection:
            return store_read.whole(connection, documents, most)

    def tags(self, documents: Iterable[int]) -> dict[int, str]:
        """The owner's tag of each of these documents' present version."""
        with self.reading() as connection:
            return store_read.tags(connection, documents)

    def neighbours(self, chunk_id: int, before: int = 1, after: int = 1) -> list[Passage]:
        """A chunk with those around it in its document, in the document's order."""
        with self.reading() as connection:
            return store_read.neighbours(connection, chunk_id, before, after)

    def counts(self) -> dict[str, int]:
        """How many ``documents``, ``chunks`` and ``characters`` the index holds."""
        with self.reading() as connection:
            return store_read.counts(connection)

    # -- the database ------------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Grows with every change of the documents, in whichever process."""
        with self.reading() as connection:
            return int(connection.execute("SELECT generation FROM state").fetchone()[0])

    def reading(self) -> AbstractContextManager[Connection]:
        """Several reads of one committed state, for the siblings of this module."""
        return self._database.reading()

    def transaction(self) -> AbstractContextManager[Connection]:
        """Writes that come in together or not at all, for the siblings of this module."""
        return self._database.transaction()

    def close(self) -> None:
        """Close this process's connections."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
