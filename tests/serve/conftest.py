"""A small library of fakes with the real types, and a real server over a socket."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from ownlm.errors import NotFound
from ownlm.rag import ledger
from ownlm.rag.store import Store
from ownlm.rag.types import (
    Answer,
    Citation,
    Claim,
    Document,
    Extracted,
    Mark,
    Passage,
    Progress,
    Skipped,
    SyncReport,
)
from ownlm.serve.run import bind, server
from ownlm.serve.settings import Settings


class FakeEmbedder:
    """One token a word; a vector that depends on the text alone."""

    dimension = 8
    max_length = 256
    fingerprint = "0" * 64

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        rows = [np.frombuffer(f"{text:<8}".encode()[:8], np.uint8).astype(np.float32) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows])


class FakeLibrary:
    """Documents in memory; an answer is the sentence that shares most words with the question."""

    def __init__(self, home: Path) -> None:
        self.home = home / "home"
        self.model = str(home / "all-MiniLM-L6-v2-q8_0")
        Path(self.model).mkdir()
        (home / "all-MiniLM-L6-v2-q8_0" / "config.json").write_text("{}")
        self.home.mkdir()
        self.store = Store.open(self.home)
        self.embedder = FakeEmbedder()
        self.delay = 0.0
        self.asked = 0
        self.finished = 0
        self._texts: dict[int, tuple[Document, Extracted]] = {}

    def add(self, name: str, text: str, title: str = "", marks: tuple[Mark, ...] = ()) -> Document:
        number = max(self._texts, default=0) + 1
        title = title or Path(name).stem
        media_type = "text/plain"
        document = Document(number, name, title, media_type, "0" * 64, len(text), time.time(), 1, len(text))
        self._texts[number] = (document, Extracted(text, title, media_type, marks))
        return document

    def documents(self) -> list[Document]:
        return sorted((document for document, _ in self._texts.values()), key=lambda each: each.name)

    def document(self, key: str | int) -> Document:
        for document in self.documents():
            if key in (document.id, document.name) or (isinstance(key, str) and document.name.endswith(f"/{key}")):
                return document
        raise NotFound(f"no document is named {key!r}")

    def extracted(self, key: str | int) -> Extracted:
        return self._texts[self.document(key).id][1]

    def remove(self, keys: Sequence[str | int]) -> list[Document]:
        found = [self.document(key) for key in keys]
        for document in found:
            del self._texts[document.id]
        return found

    def sync(
        self,
        roots: Sequence[Path],
        *,
        on_progress: Callable[[Progress], None] | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> SyncReport:
        (path,) = roots
        data = path.read_bytes()
        if data.startswith(b"\0"):
            return SyncReport(0, 0, 0, 0, 0, (Skipped(str(path), "its text cannot be read"),), (), (), 0.0)
        for done in range(3):
            if on_progress:
                on_progress(Progress(done, 2, done * 10, path.name, 2.0 - done))
            time.sleep(self.delay)
            if cancel and cancel():
                return SyncReport(0, 0, 0, 0, 0, (), (), (), 0.0)
        for document in self.documents():
            if document.name == str(path):
                self.remove([document.id])
        document = self.add(str(path), data.decode(errors="replace"))
        return SyncReport(1, 0, 0, 0, 1, (), (), (document.id,), 0.1)

    def ask(
        self,
        question: str,
        *,
        documents: Collection[int] | None = None,
        on_event: Callable[[str, Any], None] | None = None,
    ) -> Answer:
        self.asked += 1
        report = on_event or (lambda name, data: None)
        report("retrieving", None)
        time.sleep(self.delay)
        report("reading", None)
        wanted = set(question.lower().strip("?").split()) - {"the", "is", "a", "what", "of", "in"}
        best: tuple[int, Passage | None] = (0, None)
        for document, extracted in self._texts.values():
            if documents is not None and document.id not in documents:
                continue
            start = 0
            for line in extracted.text.splitlines(keepends=True):
                shared = len(wanted & set(line.lower().strip(" .\n").split()))
                span = Passage(
                    document.id, document.name, document.title, start, start + len(line.rstrip()), line.rstrip(), 0.9
                )
                best = max(best, (shared, span), key=lambda each: each[0])
                start += len(line)
        passage = best[1]
        claims: tuple[Claim, ...] = ()
        if passage:
            citation = Citation(passage.document, passage.start, passage.end, passage.text, passage.title)
            claims = (Claim(passage.text, 0, len(passage.text), "supported", 0.9, (citation,)),)
        passages = (passage,) if passage else ()
        text = passage.text if passage else ""
        self.finished += 1
        answer = Answer(question, text, not claims, "extract", claims, passages)
        return ledger.record(self.store, answer, {}, self.embedder.fingerprint)


def small_library(home: Path) -> FakeLibrary:
    """Two documents, one of them with names and text beyond the Basic Multilingual Plane."""
    fake = FakeLibrary(home)
    fake.add("/docs/keys.md", "Keys\n\nA lost key costs 40 pounds.\nReport it to the porter.\n", "Key policy")
    fake.add("/docs/𝒰nicode 🗝.md", "🗝🗝🗝 first line\nThe emoji door opens at dawn.\n", "𝒰nicode 🗝")
    return fake


@pytest.fixture
def library(tmp_path: Path) -> Iterator[FakeLibrary]:
    fake = small_library(tmp_path)
    yield fake
    fake.store.close()


@contextlib.contextmanager
def serving(library: Any, settings: Settings | None = None, llm: Any = None) -> Iterator[str]:
    """A real server on a free port of localhost, and its address."""
    settings = settings or Settings(port=0, drain_seconds=5)
    listener = bind(settings)
    listener.listen(128)
    running = server(library, settings, llm)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.should_exit = True
        thread.join(10)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture
def url(library: FakeLibrary) -> Iterator[str]:
    with serving(library) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30, verify=False) as client:
        yield client


def events(text: str) -> list[tuple[str, str]]:
    """The (name, data) of each server-sent event, comments left out."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            assert [line.split(": ", 1)[0] for line in lines] == ["event", "data"], block
            found.append((lines[0].removeprefix("event: "), lines[1].removeprefix("data: ")))
    return found
