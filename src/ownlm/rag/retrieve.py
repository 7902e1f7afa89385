"""Retrieval: the passages that a question is about.

question ──> words    ── BM25 over title, headings and text ──┐
         ├─> vector   ── exact int8 scan ─────────────────────┼─ reciprocal rank fusion ─> candidates
         └─> trigrams ── where the encoder lacks the language ┘
candidates ── scores added, coverage and sentences counted (``rerank``) ──> passages
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ownlm.errors import InvalidSetting
from ownlm.rag.fusion import reciprocal_ranks
from ownlm.rag.query import Query, read_query
from ownlm.rag.rerank import Candidate, Rarity, passage_features, read_sentences
from ownlm.rag.sentences import sentences
from ownlm.rag.stem import stems
from ownlm.rag.store import Store
from ownlm.rag.store.sentences import Sentences
from ownlm.rag.store.vectors import Floats
from ownlm.rag.types import Passage
from ownlm.rag.weights import Weights, shipped

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder

DEPTH = 60
"""Chunks that each list proposes."""
_SCORED = 20
"""A list's scores are taken to this many times its depth, for the chunks that another list proposes."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """What a question found: passages best first, and what the next stage reads."""

    query: Query
    passages: tuple[Passage, ...]
    candidates: tuple[Candidate, ...]
    rarity: Rarity
    considered: int
    notes: tuple[str, ...] = ()


class Retriever:
    """Searches one store with one encoder. Any number of threads may share it."""

    def __init__(self, store: Store, embedder: Embedder, *, weights: Weights | None = None, depth: int = DEPTH) -> None:
        self._store = store
        self._embedder = embedder
        self._weights = weights or shipped()
        self._depth = depth

    def retrieve(self, question: str, limit: int = 10, documents: Collection[int] | None = None) -> Retrieval:
        """The ``limit`` passages nearest to the question, of all documents or of those with these ids.

        Raises InvalidSetting for an empty question, one that is too long, and a limit below 1.
        """
        if limit < 1:
            raise InvalidSetting("limit", limit, "give 1 or more")
        query = read_query(question)
        vector, notes = self._encode(query)
        with self._store.reading():  # one committed state from the first list to the last passage
            lists, bm25, cosines = self._lists(query, vector, documents)
            order = [chunk for chunk, _ in reciprocal_ranks(lists)]
            rarity = Rarity.count(query.terms, self._store.word_frequencies(query.terms), self._chunks())
            candidates = self._candidates(order, vector, bm25, cosines)
        scored = self._scored(query, rarity, candidates, {chunk: rank for rank, chunk in enumerate(order)})
        best = tuple(scored[:limit])
        return Retrieval(query, tuple(c.passage for c in best), best, rarity, len(candidates), tuple(notes))

    def _encode(self, query: Query) -> tuple[Floats | None, list[str]]:
        """The question's vector, or None where the encoder does not know its language."""
        if not query.known_language:
            return None, [
                "the question is in a language that the encoder does not know: searched by words and parts of words"
            ]
        notes = []
        if self._embedder.count_tokens(query.text) > self._embedder.max_length - 2:
            notes.append(f"the encoder read the first {self._embedder.max_length - 2} wordpieces of the question")
        return self._embedder.encode([query.text], truncate=True)[0], notes

    def _lists(
        self, query: Query, vector: Floats | None, documents: Collection[int] | None
    ) -> tuple[list[list[int]], dict[int, float], dict[int, float]]:
        scored = self._depth * _SCORED
        words = dict(self._store.search_words(query.keywords, scored, documents, weights=self._weights.columns))
        lists = [list(words)[: self._depth]]
        cosines: dict[int, float] = {}
        if vector is None:
            lists.append([chunk for chunk, _ in self._store.search_trigrams(query.keywords, self._depth, documents)])
        else:
            fingerprint = self._embedder.fingerprint
            cosines = dict(self._store.search_vectors(vector, scored, documents, fingerprint=fingerprint))
            lists.append(list(cosines)[: self._depth])
        return lists, words, cosines

    def _chunks(self) -> int:
        return self._store.counts()["chunks"]

    def _candidates(
        self, order: Sequence[int], vector: Floats | None, bm25: dict[int, float], cosines: dict[int, float]
    ) -> list[Candidate]:
        kept = self._store.sentences(order)
        floor = min(cosines.values(), default=0.0)  # what is beyond the list's end is at most so near
        found = []
        for chunk, passage in zip(order, self._store.passages(order), strict=True):
            cosine = cosines.get(chunk, floor)
            spans, near = _sentences(passage, kept.get(chunk), vector, cosine)
            found.append(
                Candidate(
                    chunk,
                    passage,
                    bm25.get(chunk, 0.0),
                    cosine,
                    frozenset(stems(" ".join((passage.title, *passage.heading)))),
                    read_sentences(passage.text, passage.start, spans, near.tolist()),
                )
            )
        return found

    def _scored(
        self, query: Query, rarity: Rarity, candidates: Sequence[Candidate], order: dict[int, int]
    ) -> list[Candidate]:
        if not candidates:
            return []
        features = np.array([passage_features(query, rarity, candidate) for candidate in candidates])
        scores = features @ np.array(self._weights.passage)
        ranked = sorted(range(len(candidates)), key=lambda i: (-scores[i], order[candidates[i].chunk_id]))
        return [
            dataclasses.replace(
                candidates[i], passage=dataclasses.replace(candidates[i].passage, score=round(float(scores[i]), 6))
            )
            for i in ranked
        ]


def _sentences(
    passage: Passage, kept: Sentences | None, vector: Floats | None, cosine: float
) -> tuple[Sequence[tuple[int, int]], Floats]:
    """A passage's sentences in the document, and their cosines; the passage's own where none were kept."""
    if kept is None:
        spans = [(a + passage.start, b + passage.start) for a, b in sentences(passage.text)]
        return spans, np.full(len(spans), cosine, np.float32)
    if vector is None:
        return kept.spans, np.zeros(len(kept.spans), np.float32)
    return kept.spans, kept.cosines(vector)
