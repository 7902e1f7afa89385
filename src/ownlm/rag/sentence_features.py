"""What speaks for a sentence as the answer to a question: the numbers named in ``features.SENTENCE``."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ownlm.rag.answer_type import holds
from ownlm.rag.query import STOP_WORDS, Query
from ownlm.rag.rerank import Candidate, Rarity, Sentence

_ENDS = re.compile(r"[.!?:;…][\"'”’)\]]*$")
_FEW_WORDS = 9


@dataclass(frozen=True, slots=True)
class Option:
    """A sentence that may be quoted: the candidate that holds it, its place there, and what speaks for it."""

    candidate: Candidate
    index: int
    features: tuple[float, ...]
    score: float = 0.0

    @property
    def sentence(self) -> Sentence:
        return self.candidate.sentences[self.index]


def options(query: Query, rarity: Rarity, candidates: Sequence[Candidate]) -> list[Option]:
    """Every sentence of the candidates (best first, scored) with its features."""
    if not candidates:
        return []
    best = max(candidate.passage.score for candidate in candidates)
    pair_weights = {pair: rarity.of.get(pair[0], 0.0) + rarity.of.get(pair[1], 0.0) for pair in query.pairs}
    known = frozenset(query.words)
    return [
        Option(
            candidate,
            index,
            _features(query, rarity, candidate, index, candidate.passage.score - best, pair_weights, known),
        )
        for candidate in candidates
        for index in range(len(candidate.sentences))
    ]


def _features(
    query: Query,
    rarity: Rarity,
    candidate: Candidate,
    index: int,
    below: float,
    pair_weights: dict[tuple[str, str], float],
    known: frozenset[str],
) -> tuple[float, ...]:
    sentence = candidate.sentences[index]
    before = candidate.sentences[index - 1] if index else None
    after = candidate.sentences[index + 1] if index + 1 < len(candidate.sentences) else None
    own = set(sentence.stems)
    context = own | candidate.above | (set(before.stems) if before else set())
    content = [word for word in own if word not in STOP_WORDS]
    text = sentence.text
    kinds = query.kinds
    held = any(holds(text, kind, known) for kind in kinds)
    row = " | " in text
    pair_total = sum(pair_weights.values()) or 1.0
    return (
        below,
        sentence.cosine,
        before.cosine if before else candidate.cosine,
        after.cosine if after else candidate.cosine,
        rarity.coverage(own),
        rarity.coverage(context),
        sum(pair_weights[pair] for pair in pair_weights.keys() & set(pairwise(sentence.stems))) / pair_total,
        float(held),
        float(bool(kinds) and not held),
        rarity.coverage(before.stems) if before and before.text.rstrip().endswith("?") else 0.0,
        float(text.rstrip().endswith("?")),
        float(not row and len(sentence.stems) < _FEW_WORDS and not _ENDS.search(text)),
        float(row),
        sum(word not in query.stems for word in content) / len(content) if content else 0.0,
        math.log2(1 + len(sentence.stems)) / 6,
        float(index == 0),
        candidate.read[index] if candidate.read else 0.0,
    )
