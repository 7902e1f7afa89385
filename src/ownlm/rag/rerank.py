"""The second stage of retrieval: what the lists of candidates agree on, and how well each covers the question.

Reciprocal rank fusion finds the candidates but throws the scores away. Here the scores themselves are added: BM25 as a
share of the most that the question's terms could earn, the cosine of the chunk and of its nearest sentence, and the
share of the question's terms (weighted by how rare they are) and of its pairs of neighbouring words that the chunk and
its best sentence hold. Seven weights, fitted on questions of SQuAD's training articles by ``recipes/rag_weights.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ownlm.rag.query import Query
from ownlm.rag.stem import stems
from ownlm.rag.types import Passage

Floats = npt.NDArray[np.float32]

_BM25_CEILING = 2.2
"""A term earns at most its idf times k1 + 1, and FTS5's k1 is 1.2."""
_ONE_SENTENCE_TERMS = 4
"""Up to so many terms a question may be answered by one sentence that holds them all."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a candidate: its span in the document, its stems, and its cosine with the question."""

    start: int
    end: int
    text: str
    stems: tuple[str, ...]
    cosine: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that some list found. ``bm25`` and ``cosine`` are 0 where a list did not find it.

    ``above`` are the stems of its title and headings; ``read`` are the reader's scores of its sentences (empty: it
    was not read).
    """

    chunk_id: int
    passage: Passage
    bm25: float
    cosine: float
    above: frozenset[str]
    sentences: tuple[Sentence, ...]
    read: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Rarity:
    """How much each of the question's terms tells: its inverse document frequency, their sum, and the share of the
    sum that falls to terms that no chunk holds.
    """

    of: Mapping[str, float]
    total: float
    unknown: float = 0.0

    @classmethod
    def count(cls, terms: Iterable[str], frequencies: Mapping[str, int], chunks: int) -> Rarity:
        """From the number of chunks that hold each term; BM25's idf, kept above zero (Lucene's form)."""
        of = {
            term: float(np.log1p((max(chunks - frequencies.get(term, 0), 0) + 0.5) / (frequencies.get(term, 0) + 0.5)))
            for term in terms
        }
        total = sum(of.values()) or 1.0
        return cls(of, total, sum(weight for term, weight in of.items() if not frequencies.get(term)) / total)

    def coverage(self, held: Iterable[str]) -> float:
        """The share of the question that ``held`` (a set of stems) covers, from 0 to 1."""
        present = held if isinstance(held, (set, frozenset)) else set(held)
        return sum(weight for term, weight in self.of.items() if term in present) / self.total


def passage_features(query: Query, rarity: Rarity, candidate: Candidate) -> list[float]:
    """The numbers named in ``features.PASSAGE``, each about 0 to 1."""
    pair_weights = {
        (a, b): weight for a, b in query.pairs if (weight := rarity.of.get(a, 0.0) + rarity.of.get(b, 0.0)) > 0
    }
    pair_total = sum(pair_weights.values()) or 1.0
    # No single sentence holds all of a long query: it names a topic, and what one sentence covers tells less.
    one_sentence = min(1.0, _ONE_SENTENCE_TERMS / len(query.terms))
    held = set(candidate.above)
    whole_pairs: set[tuple[str, str]] = set()
    best_coverage = best_pairs = 0.0
    for sentence in candidate.sentences:
        own = set(sentence.stems)
        own_pairs = pair_weights.keys() & set(pairwise(sentence.stems))
        held |= own
        whole_pairs |= own_pairs
        best_coverage = max(best_coverage, rarity.coverage(own))
        best_pairs = max(best_pairs, sum(pair_weights[pair] for pair in own_pairs) / pair_total)
    return [
        candidate.bm25 / (_BM25_CEILING * rarity.total),
        candidate.cosine,
        max((sentence.cosine for sentence in candidate.sentences), default=candidate.cosine),
        rarity.coverage(held),
        one_sentence * best_coverage,
        one_sentence * sum(pair_weights[pair] for pair in whole_pairs) / pair_total,
        one_sentence * best_pairs,
    ]


def read_sentences(
    text: str, offset: int, spans: Iterable[tuple[int, int]], cosines: Iterable[float]
) -> tuple[Sentence, ...]:
    """Sentences of a chunk whose text begins at ``offset``; ``spans`` are offsets into the document."""
    return tuple(
        Sentence(a, b, text[a - offset : b - offset], tuple(stems(text[a - offset : b - offset])), float(cosine))
        for (a, b), cosine in zip(spans, cosines, strict=True)
    )
