"""A question's answer in generate mode: a model writes, and what it wrote is held to the passages it read.

question ──> retrieve ──> passages that fit ──> numbered prompt ──> model (grammar) ──> claims with citations ──> ledger
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting
from ownlm.prompts.grounded import NOTHING, Grounded, Source
from ownlm.rag import ledger
from ownlm.rag.answer import EMPTY, Report
from ownlm.rag.dates import written
from ownlm.rag.generate.generator import Generator, NoRoom, Written
from ownlm.rag.generate.parse import Parsed, parse
from ownlm.rag.retrieve import Retriever
from ownlm.rag.store import Store
from ownlm.rag.types import Answer, Passage

_CITED = re.compile(r"\s*\[\d+\]")

if TYPE_CHECKING:
    from ownlm.engine.embedder import Embedder


UNCITED = "The model wrote no whole sentence that can be cited."


@dataclass(frozen=True, slots=True)
class GenerateSettings:
    """``passages`` are given to the model, as far as they fit beside ``max_tokens`` of answer."""

    passages: int = 8
    max_tokens: int = 400

    def __post_init__(self) -> None:
        for name in ("passages", "max_tokens"):
            if getattr(self, name) < 1:
                raise InvalidSetting(name, getattr(self, name), "give 1 or more")


def answer(
    store: Store,
    embedder: Embedder,
    generator: Generator,
    question: str,
    *,
    documents: Collection[int] | None = None,
    settings: GenerateSettings | None = None,
    on_event: Report | None = None,
) -> Answer:
    """Answer from the documents, and enter it in the ledger with the exact prompt ids.

    ``on_event(stage, None)`` reports "retrieving" and "writing" as they begin, and ``on_event("text", piece)`` each
    piece of the answer. Raises as ``rag.answer.answer`` does, and what the generator raises.
    """
    settings = settings or GenerateSettings()
    report = on_event or (lambda stage, data: None)
    clock = [time.perf_counter()]
    report("retrieving", None)
    found = Retriever(store, embedder).retrieve(question, settings.passages, documents)
    clock.append(time.perf_counter())
    counts = store.counts()
    notes = list(found.notes)
    passages: list[Passage] = []
    made: Written | None = None
    parsed = Parsed("", ())
    there = counts["documents"] if documents is None else len(set(documents))
    silence = NOTHING if there else EMPTY
    if found.passages:
        report("writing", None)
        passages, made = _write(generator, found.query.text, found.passages, settings.max_tokens, report)
        if len(passages) < len(found.passages):
            notes.append(
                f"the model read {len(passages)} of {len(found.passages)} passages: its context has no room for more"
            )
        text = made.text.strip()
        if not text.startswith(NOTHING):
            silence = UNCITED
            parsed = parse(text, passages, finished=made.finished, enforced=generator.enforced)
        elif _CITED.sub("", text.removeprefix(NOTHING)).strip():
            notes.append("left out, because the model wrote that the documents do not answer: what it wrote after it")
        notes += _notes(generator, parsed, settings.max_tokens)
    clock.append(time.perf_counter())
    given = Answer(
        question=found.query.text,
        answer=parsed.text or silence,
        abstained=not parsed.claims,
        mode="generate",
        claims=parsed.claims,
        passages=tuple(passages),
        notes=tuple(notes),
        usage={
            "documents": there,
            "chunks": counts["chunks"],
            "passages": found.considered,
            "prompt_tokens": made.prompt_tokens if made else 0,
            "cached_tokens": made.cached_tokens if made else 0,
            "completion_tokens": made.completion_tokens if made else 0,
            "accepted_prediction_tokens": made.accepted_tokens if made else 0,
            "rejected_prediction_tokens": made.rejected_tokens if made else 0,
        },
        timings={
            "retrieve": round(clock[1] - clock[0], 4),
            "generate": round(clock[2] - clock[1], 4),
            "total": round(clock[2] - clock[0], 4),
        },
    )
    used: dict[str, Any] = {
        **asdict(settings),
        "documents": None if documents is None else sorted(documents),
        "model": generator.name,
        "model_fingerprint": generator.fingerprint,
        "prompt": generator.prompt.version,
        "prompt_ids": None if made is None or made.prompt_ids is None else list(made.prompt_ids),
        "enforced": generator.enforced,
    }
    return ledger.record(store, given, used, embedder.fingerprint)


def _write(
    generator: Generator, question: str, passages: Sequence[Passage], max_tokens: int, report: Report
) -> tuple[list[Passage], Written]:
    """What the model makes of as many of the best passages as have room, whole; those, and what it wrote."""
    kept = list(passages)
    while kept:
        sources = tuple(Source(_place(passage), passage.text) for passage in kept)
        prompt = generator.prompt.messages(Grounded(question, sources))
        if generator.fits(prompt, max_tokens):
            texts = [passage.text for passage in kept]
            try:
                return kept, generator.write(prompt, texts, max_tokens, lambda piece: report("text", piece))
            except NoRoom:
                if len(kept) == 1:
                    raise
        kept.pop()
    raise InvalidSetting(
        "max_tokens", max_tokens, f"beside the question, the context of {generator.name} has no room for one passage"
    )


def _place(passage: Passage) -> str:
    """Title and headings, and the document's date where it states one."""
    parts = [part for part in (passage.title, *passage.heading) if part]
    date = written(passage)
    return " > ".join(parts) + (f" ({date})" if date and date not in " ".join(parts) else "")


def _notes(generator: Generator, parsed: Parsed, max_tokens: int) -> list[str]:
    notes = []
    if not generator.enforced:
        notes.append(
            f"{generator.name} runs behind another server: its citations and quotations were checked afterwards, "
            "they could not be enforced, nor can be seen whether it read the whole prompt"
        )
    if parsed.dropped:
        notes.append(f"left out, because it quotes what stands in no passage: {_count(parsed.dropped, 'sentence')}")
    if parsed.misnumbered:
        notes.append(f"left out, because no such passage was given: {_count(parsed.misnumbered, 'citation')}")
    if parsed.uncited:
        notes.append(f"without a citation, and marked unsupported: {_count(parsed.uncited, 'sentence')}")
    if parsed.unfinished:
        notes.append(f"the answer reached max_tokens ({max_tokens}): its last, unfinished sentence is left out")
    return notes


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
