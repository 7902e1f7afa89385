"""From sentences to quotations: the best few, verbatim, within a budget.

options, best first ── one by one while they fit ──> spans ── neighbours joined ──> quotes, best first
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ownlm.rag.clip import clip
from ownlm.rag.query import Query
from ownlm.rag.rerank import Candidate, Rarity
from ownlm.rag.sentence_features import Option, options
from ownlm.rag.types import Passage
from ownlm.rag.weights import Weights

MAX_SENTENCES = 3
MAX_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Quote:
    """A span of a document to quote: whole neighbouring sentences, or part of one that is too long.

    ``start`` and ``end`` are offsets into the document's text, ``text`` is what stands there.
    """

    passage: Passage
    start: int
    end: int
    text: str
    score: float


def scored(query: Query, rarity: Rarity, candidates: Sequence[Candidate], weights: Weights) -> list[Option]:
    """Every sentence of the candidates with its score, best first; ties keep the document's order."""
    found = [
        dataclasses.replace(option, score=sum(w * x for w, x in zip(weights.sentence, option.features, strict=True)))
        for option in options(query, rarity, candidates)
    ]
    return sorted(found, key=lambda option: -option.score)


def select(
    query: Query,
    found: Sequence[Option],
    *,
    gap: float,
    sentences: int = MAX_SENTENCES,
    characters: int = MAX_CHARACTERS,
) -> list[Quote]:
    """The quotations, best first: at most so many sentences and characters in all, none scored more than ``gap``
    below the best, none said twice.
    """
    quotes: list[Quote] = []
    said: set[tuple[str, ...]] = set()
    taken = 0
    for option in found:
        if taken == sentences or option.score < found[0].score - gap:
            break
        if not option.sentence.stems or option.sentence.stems in said:
            continue
        room = characters - sum(quote.end - quote.start for quote in quotes)
        joined = _joined(quotes, option, room) or _alone(query, option, room, first=not quotes)
        if joined is None:
            continue
        quotes = joined if isinstance(joined, list) else [*quotes, joined]
        said.add(option.sentence.stems)
        taken += 1
    return quotes


def _alone(query: Query, option: Option, room: int, *, first: bool) -> Quote | None:
    """The sentence as a quotation of its own; the best one is cut to the room there is, others must fit whole."""
    sentence, passage = option.sentence, option.candidate.passage
    start, end = sentence.start, sentence.end
    if end - start > room:
        if not first:
            return None
        low, high = clip(sentence.text, query.terms, room)
        start, end = start + low, start + high
    return Quote(passage, start, end, sentence.text[start - sentence.start : end - sentence.start], option.score)


def _joined(quotes: list[Quote], option: Option, room: int) -> list[Quote] | None:
    """The quotations with the sentence joined to those that it touches; None when it touches none or does not fit."""
    sentence, passage = option.sentence, option.candidate.passage
    start, end = sentence.start, sentence.end
    touched = []
    for quote in quotes:
        same = quote.passage.document_id == passage.document_id and quote.passage.start == passage.start
        if same and not _between(passage, quote, start, end).strip():
            touched.append(quote)
            start, end = min(quote.start, start), max(quote.end, end)
    if not touched or (end - start) - sum(quote.end - quote.start for quote in touched) > room:
        return None
    whole = Quote(passage, start, end, passage.text[start - passage.start : end - passage.start], touched[0].score)
    return [whole if quote is touched[0] else quote for quote in quotes if quote not in touched[1:]]


def _between(passage: Passage, quote: Quote, start: int, end: int) -> str:
    """What stands between a quotation and a span of the same passage."""
    return passage.text[min(quote.end, end) - passage.start : max(quote.start, start) - passage.start]
