"""A question's answer in extract mode: the documents' own sentences, or that they do not answer.

question ──> retrieve ──> passages ──> score sentences ──> confidence ──┬─ quote ──> claims with citations
                                                                        └─ abstain: the nearest passages
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting
from ownlm.rag import extract, ledger
from ownlm.rag.abstain import confidence
from ownlm.rag.dates import written
from ownlm.rag.extract import Quote
from ownlm.rag.read import read
from ownlm.rag.retrieve import Retriever
from ownlm.rag.store import Store
from ownlm.rag.types import Answer, Citation, Claim
from ownlm.rag.weights import shipped

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder
    from ownlm.engine.reader import Reader

Report = Callable[[str, Any], None]

NOTHING = "Nothing in the documents answers this question."
EMPTY = "There are no documents to answer from."


@dataclass(frozen=True, slots=True)
class Settings:
    """How to answer. ``passages`` are read and shown; ``sentences`` and ``characters`` bound what is quoted in all;
    below ``threshold`` (a probability; None: the one that ships) the answer abstains.
    """

    passages: int = 8
    sentences: int = extract.MAX_SENTENCES
    characters: int = extract.MAX_CHARACTERS
    threshold: float | None = None

    def __post_init__(self) -> None:
        for name in ("passages", "sentences", "characters"):
            if getattr(self, name) < 1:
                raise InvalidSetting(name, getattr(self, name), "give 1 or more")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InvalidSetting("threshold", self.threshold, "give a probability from 0 to 1")


def answer(
    store: Store,
    embedder: Embedder,
    reader: Reader,
    question: str,
    *,
    documents: Collection[int] | None = None,
    settings: Settings | None = None,
    on_event: Report | None = None,
) -> Answer:
    """Answer from the documents (all, or those with these ids), and enter it in the ledger.

    ``on_event(stage, None)`` reports "retrieving" and "reading" as they begin. Raises InvalidSetting for a question
    that is empty or too long, and StoreError when the index cannot be read or the ledger not written.
    """
    settings = settings or Settings()
    report = on_event or (lambda stage, data: None)
    given = compose(store, embedder, reader, question, documents=documents, settings=settings, report=report)
    used = {
        **asdict(settings),
        "documents": None if documents is None else sorted(documents),
        "reader": reader.fingerprint,
    }
    return ledger.record(store, given, used, embedder.fingerprint)


def compose(
    store: Store,
    embedder: Embedder,
    reader: Reader,
    question: str,
    *,
    documents: Collection[int] | None = None,
    settings: Settings,
    report: Report,
) -> Answer:
    """The answer alone: nothing is written."""
    weights = shipped()
    clock = [time.perf_counter()]
    report("retrieving", None)
    found = Retriever(store, embedder).retrieve(question, settings.passages, documents)
    clock.append(time.perf_counter())
    report("reading", None)
    candidates = read(reader, found.query, found.candidates)
    options = extract.scored(found.query, found.rarity, candidates, weights)
    sure = confidence(found.query, found.rarity, options, weights)
    threshold = weights.threshold if settings.threshold is None else settings.threshold
    quotes: list[Quote] = []
    if options and sure >= threshold:
        quotes = extract.select(
            found.query, options, gap=weights.gap, sentences=settings.sentences, characters=settings.characters
        )
    text, claims = _claims(quotes, sure)
    clock.append(time.perf_counter())
    counts = store.counts()
    if not quotes:
        text = NOTHING if (counts["documents"] if documents is None else documents) else EMPTY
    return Answer(
        question=found.query.text,
        answer=text,
        abstained=not quotes,
        mode="extract",
        claims=claims,
        passages=found.passages,
        confidence=round(sure, 4),
        notes=(*found.notes, *_notes_on_dates(quotes)),
        usage={
            "documents": counts["documents"] if documents is None else len(set(documents)),
            "chunks": counts["chunks"],
            "passages": found.considered,
        },
        timings={
            "retrieve": round(clock[1] - clock[0], 4),
            "extract": round(clock[2] - clock[1], 4),
            "total": round(clock[2] - clock[0], 4),
        },
    )


def _claims(quotes: Sequence[Quote], sure: float) -> tuple[str, tuple[Claim, ...]]:
    """The answer's text, one quotation a paragraph, and its claims.

    The verdict is "supported" by construction: what is claimed is that the document says these words, and it does.
    Whether they answer the question is ``Answer.confidence``.
    """
    pieces: list[str] = []
    claims: list[Claim] = []
    at = 0
    for quote in quotes:
        passage = quote.passage
        citation = Citation(
            passage.document, quote.start, quote.end, quote.text, passage.title, passage.heading, passage.page
        )
        claims.append(Claim(quote.text, at, at + len(quote.text), "supported", round(sure, 4), (citation,)))
        pieces.append(quote.text)
        at += len(quote.text) + len(SEPARATOR)
    return SEPARATOR.join(pieces), tuple(claims)


SEPARATOR = "\n\n"


def _notes_on_dates(quotes: Sequence[Quote]) -> list[str]:
    """Say so when the quotations come from documents that give themselves different dates."""
    dated = {quote.passage.document: written(quote.passage) for quote in quotes}
    known = {document: date for document, date in dated.items() if date}
    if len(set(known.values())) < 2:
        return []
    parts = sorted(((date, PurePath(document).name) for document, date in known.items()), reverse=True)
    listed = ", ".join(f"{name} ({date})" for date, name in parts)
    return [f"the quotations are of different dates, newest first: {listed}"]
