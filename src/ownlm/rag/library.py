"""The library: a person's indexed documents and what can be asked of them.

The one door for the command line, the server and Python. It owns the store and loads the encoder at
first need, so that listing documents does not load a model. Safe to share between threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting
from ownlm.home import data_home
from ownlm.rag.store import Store
from ownlm.rag.types import Answer, Document, Extracted, Passage, Progress, SyncReport

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder
    from ownlm.engine.reader import Reader
    from ownlm.rag.answer import Settings
    from ownlm.rag.generate.answer import GenerateSettings
    from ownlm.rag.generate.generator import Generator
    from ownlm.rag.ledger import Entry

PathLike = str | os.PathLike[str]


class Library:
    """Documents on disk, searched and answered from. Use as a context manager, or call ``close``."""

    def __init__(self, store: Store, model: str | None = None) -> None:
        self.store = store
        self._model = model
        self._embedder: Embedder | None = None
        self._reader: Reader | None = None
        self._loading = threading.Lock()

    @classmethod
    def open(cls, home: PathLike | None = None, *, model: str | None = None) -> Library:
        """Open the index under ``home`` (default: ``$OWNLM_HOME``); ``model`` is an encoder's name or folder."""
        return cls(Store.open(data_home(home)), model)

    @property
    def home(self) -> Path:
        """The folder that holds the index."""
        return self.store.home

    @property
    def model(self) -> str | None:
        """The encoder's name or folder as it was given; None is the one that ships."""
        return self._model

    @property
    def embedder(self) -> Embedder:
        """The encoder, loaded once."""
        with self._loading:
            if self._embedder is None:
                from ownlm.engine.embedder import Embedder

                self._embedder = Embedder.load(self._model)
            return self._embedder

    @property
    def reader(self) -> Reader:
        """The reader that ships, loaded once."""
        with self._loading:
            if self._reader is None:
                from ownlm.engine.reader import Reader

                self._reader = Reader.load()
            return self._reader

    def sync(
        self,
        roots: Sequence[PathLike],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> SyncReport:
        """Bring the index in line with these files and folders. What did not change is not opened."""
        from ownlm.rag.sync import sync

        if not all(os.fspath(root) for root in roots):
            raise InvalidSetting("a path", "", "name a file or a folder ('.' is the current one)")
        paths = [Path(root) for root in roots]
        return sync(self.store, self.embedder, paths, on_progress=on_progress, cancel=cancel)

    def ask(
        self,
        question: str,
        *,
        documents: Collection[int] | None = None,
        settings: Settings | None = None,
        on_event: Callable[[str, Any], None] | None = None,
    ) -> Answer:
        """Answer from the documents (all, or those with these ids), and enter it in the ledger."""
        from ownlm.rag.answer import answer

        return answer(
            self.store,
            self.embedder,
            self.reader,
            question,
            documents=documents,
            settings=settings,
            on_event=on_event,
        )

    def write(
        self,
        question: str,
        generator: Generator,
        *,
        documents: Collection[int] | None = None,
        settings: GenerateSettings | None = None,
        on_event: Callable[[str, Any], None] | None = None,
    ) -> Answer:
        """As ``ask``, but a language model writes the answer, held to the passages it is given."""
        from ownlm.rag.generate.answer import answer

        return answer(
            self.store, self.embedder, generator, question, documents=documents, settings=settings, on_event=on_event
        )

    def search(self, query: str, limit: int = 10, *, documents: Collection[int] | None = None) -> tuple[Passage, ...]:
        """The passages nearest to a query, best first."""
        from ownlm.rag.retrieve import Retriever

        return Retriever(self.store, self.embedder).retrieve(query, limit, documents).passages

    def documents(self) -> list[Document]:
        """Every indexed document, by name."""
        return self.store.documents()

    def document(self, key: str | int) -> Document:
        """One document by id, name or unique end of its name. Raises NotFound."""
        return self.store.document(key)

    def extracted(self, key: str | int) -> Extracted:
        """A document's text and marks, as every offset refers to them. Raises NotFound."""
        return self.store.extracted(self.document(key).id)

    def remove(self, keys: Iterable[str | int]) -> list[Document]:
        """Take documents out of the index; the files themselves stay. All of them, or none."""
        found = [self.document(key) for key in keys]
        self.store.remove([document.id for document in found])
        return found

    def ledger(self, limit: int = 50) -> list[Entry]:
        """Answers given, newest first."""
        from ownlm.rag.ledger import list_entries

        return list_entries(self.store, limit)

    def entry(self, id: str) -> Entry:
        """One answer with all that was read for it. Raises NotFound."""
        from ownlm.rag.ledger import show

        return show(self.store, id)

    def close(self) -> None:
        """Close the store. Answers given stay valid."""
        self.store.close()

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
