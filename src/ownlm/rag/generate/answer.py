"""A question's answer in generate mode: a model writes, and what it wrote is held to the passages it read.

question ──> retrieve ──> passages that fit ──> numbered prompt ──> model (grammar) ──> claims with citations ──> ledger

Passages stand before the question, by document and place, so that another question on the same passages begins with the
same tokens, and only itself is computed. Documents that are short together are read whole: then every question on them
begins so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting
from ownlm.prompts.grounded import NOTHING, Grounded, Source
from ownlm.rag import ledger
from ownlm.rag.answer import EMPTY, Report
from ownlm.rag.dates import written
from ownlm.rag.generate.generator import Generator, Messages, NoRoom, Written
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
    """``passages`` are given to the model, as far as they fit beside ``max_tokens`` of answer. Where the documents in
    question have at most ``whole`` characters together, and fit, all their passages are (0: never)."""

    passages: int = 8
    max_tokens: int = 400
    whole: int = 8000  # about what eight passages have

    def __post_init__(self) -> None:
        for name, least in (("passages", 1), ("max_tokens", 1), ("whole", 0)):
            if getattr(self, name) < least:
                raise InvalidSetting(name, getattr(self, name), f"give {least} or more")


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
    with store.reading():  # passages, and whose text they are, of one committed state
        found = Retriever(store, embedder).retrieve(question, settings.passages, documents)
        choices = _choices(store, found.passages, documents, settings.whole)
        tags = store.tags({passage.document_id for choice in choices for passage in choice})
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
        passages, made = _write(generator, found.query.text, choices, tags, settings.max_tokens, report)
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
    if not parsed.claims:  # no number refers to them, so they stand as they are shown: the nearest first
        passages.sort(key=lambda passage: -passage.score)
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
            "from_memory": made.cached_tokens - made.from_disk if made else 0,
            "from_disk": made.from_disk if made else 0,
            "first_difference": made.first_difference if made else None,
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


def _choices(
    store: Store, found: Sequence[Passage], documents: Collection[int] | None, whole: int
) -> list[list[Passage]]:
    """What the model may be given, the best choice first, each by document and place: all passages of the documents if
    these are short, those that were found, and ever fewer of these.

    What changes between questions changes as little of a prompt's beginning as it can.
    """
    if not found:
        return []
    choices = [sorted(found[:count], key=_order) for count in range(len(found), 0, -1)]
    every = store.whole(documents, whole) if whole else []
    scores = {(passage.document_id, passage.start): passage.score for passage in found}
    if len(every) > len(found):
        choices.insert(0, [replace(one, score=scores.get((one.document_id, one.start), 0.0)) for one in every])
    return choices


def _order(passage: Passage) -> tuple[str, int]:
    return passage.document, passage.start


def _write(
    generator: Generator,
    question: str,
    choices: Sequence[list[Passage]],
    tags: Mapping[int, str],
    max_tokens: int,
    report: Report,
) -> tuple[list[Passage], Written]:
    """What the model makes of the first choice that has room, its passages whole; these, and what it wrote."""
    for kept in choices:
        prompt = _prompt(generator, question, kept)
        if generator.fits(prompt, max_tokens):
            first = {passage.document_id: at for at, passage in reversed([*enumerate(kept)])}
            owners = [(tags[of], _prompt(generator, question, kept[:at])) for of, at in first.items() if of in tags]
            texts = [passage.text for passage in kept]
            try:
                return kept, generator.write(prompt, texts, max_tokens, lambda piece: report("text", piece), owners)
            except NoRoom:
                if len(kept) == 1:
                    raise
    raise InvalidSetting(
        "max_tokens", max_tokens, f"beside the question, the context of {generator.name} has no room for one passage"
    )


def _prompt(generator: Generator, question: str, passages: Sequence[Passage]) -> Messages:
    sources = tuple(Source(_place(passage), passage.text) for passage in passages)
    return generator.prompt.messages(Grounded(question, sources))


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
