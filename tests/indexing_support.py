"""An encoder that needs no model, documents of a few lines, and a check that an index is whole."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.rag.chunk import chunks
from ownlm.rag.sentences import sentences
from ownlm.rag.store import FileState, Store, Version
from ownlm.rag.store import words as store_words
from ownlm.rag.types import Extracted

Floats = npt.NDArray[np.float32]
_PIECE = re.compile(r"\w{1,6}|[^\w\s]")


class HashEncoder:
    """Deterministic unit vectors: the sum of a random vector for each word. Texts that share words are near."""

    def __init__(self, dimension: int = 16, fingerprint: str = "hash-16") -> None:
        self.dimension = dimension
        self.fingerprint = fingerprint
        self.encoded = 0
        self._words: dict[str, Floats] = {}

    def count_tokens(self, text: str) -> int:
        return len(_PIECE.findall(text))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in _PIECE.finditer(text)]

    def encode(self, texts: Sequence[str], on_progress: Any = None) -> Floats:
        self.encoded += len(texts)
        return np.array([self._vector(text) for text in texts], np.float32).reshape(len(texts), self.dimension)

    def encode_spans(
        self, texts: Sequence[str], spans: Sequence[Sequence[tuple[int, int]]], on_progress: Any = None
    ) -> tuple[Floats, list[Floats]]:
        inside = [[self._vector(text[a:b]) for a, b in pairs] for text, pairs in zip(texts, spans, strict=True)]
        return self.encode(texts), [np.array(v, np.float32).reshape(len(v), self.dimension) for v in inside]

    def _vector(self, text: str) -> Floats:
        total = np.full(self.dimension, 1e-3, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            total += self._word(word)
        return total / np.float32(np.linalg.norm(total))

    def _word(self, word: str) -> Floats:
        if word not in self._words:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
            self._words[word] = np.random.default_rng(seed).standard_normal(self.dimension).astype(np.float32)
        return self._words[word]


def version(name: str, text: str, encoder: HashEncoder | None = None, **changes: Any) -> Version:
    """A version of a document with this text, whole."""
    encoder = encoder or HashEncoder()
    extracted = changes.pop("extracted", None) or Extracted(text, changes.pop("title", ""), "text/plain")
    found = chunks(extracted, encoder)
    inside = [sentences(text, chunk.start, chunk.end) for chunk in found]
    vectors, of_sentences = encoder.encode_spans([text] * len(found), inside)
    fields = {
        "name": name,
        "state": FileState(len(text), 1, 1),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "extracted": extracted,
        "chunks": found,
        "vectors": vectors,
        "fingerprint": encoder.fingerprint,
        "sentences": inside,
        "sentence_vectors": of_sentences,
    }
    return Version(**{**fields, **changes})


def assert_whole(store: Store) -> None:
    """SQLite's own check, the word indexes against the chunks, and every document against its parts."""
    with store.transaction() as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        store_words.check(connection)
        for document in store.documents():
            rows = connection.execute(
                "SELECT start, stop, text FROM chunks WHERE document_id = ? ORDER BY ordinal", (document.id,)
            ).fetchall()
            dimension, codes, scales = connection.execute(
                "SELECT dimension, length(codes), length(scales) FROM vectors WHERE document_id = ?", (document.id,)
            ).fetchone()
            text = store.text(document.id)
            assert len(text) == document.characters
            assert len(rows) == document.chunks == scales // 4 == codes // dimension
            assert all(text[start:stop] == piece for start, stop, piece in rows)
            covered = "".join(piece for _, _, piece in rows)
            assert re.sub(r"\s", "", covered) == re.sub(r"\s", "", text)
        orphans = (
            "SELECT count(*) FROM chunks WHERE document_id NOT IN (SELECT id FROM documents) UNION ALL "
            "SELECT count(*) FROM vectors WHERE document_id NOT IN (SELECT id FROM documents) UNION ALL "
            "SELECT count(*) FROM sentences WHERE chunk_id NOT IN (SELECT id FROM chunks)"
        )
        assert all(count == 0 for (count,) in connection.execute(orphans))


def bytes_on_disk(store: Store) -> bytes:
    """Everything that the index has on disk."""
    return b"".join(path.read_bytes() for path in sorted(store.home.iterdir()) if not path.name.endswith("-shm"))
