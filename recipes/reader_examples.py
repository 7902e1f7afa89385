"""Training examples for the reader: a question, a passage's sentences, and which of them answer.

Sources (``docs/data.md`` has their licences): SQuAD 1.1, QED, FairytaleQA, AdversarialQA and COVID-QA, training sets
only. What does not answer is made from them: the paragraph without the sentence that answers, the question with another
year, the nearest paragraphs of other questions. Half of the questions lose or swap some words that they share with the
answering sentence, since people do not ask in the words of their documents.
"""

from __future__ import annotations

import json
import lzma
import random
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from reader_synonyms import Synonyms

from ownlm.rag.query import STOP_WORDS
from ownlm.rag.sentences import sentences
from ownlm.rag.stem import stem, words

Span = tuple[int, int]

WINDOW = 620
"""Characters of a passage's sentences, so that question and passage keep within the encoder's 256 wordpieces."""
SYNONYMS = Synonyms()
YEAR = re.compile(r"\b(1[5-9]\d\d|20[01]\d)\b")


@dataclass(frozen=True)
class Example:
    """Sentences ``spans`` of ``text`` under a ``title``; ``gold`` says for each whether it answers ``question``."""

    question: str
    title: str
    text: str
    spans: tuple[Span, ...]
    gold: tuple[bool, ...]


def rows(data: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a set, in their order."""
    with lzma.open(data / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def example(
    rng: random.Random, question: str, title: str, text: str, spans: Sequence[Span], gold: Sequence[bool]
) -> Example | None:
    """A window of the passage that holds what answers, and the question as somebody else might put it."""
    if not spans:
        return None
    chosen = [index for index, answers in enumerate(gold) if answers] or list(range(len(spans)))
    first = last = rng.choice(chosen)
    while True:
        grown = []
        if first and spans[last][1] - spans[first - 1][0] <= WINDOW:
            grown.append((first - 1, last))
        if last + 1 < len(spans) and spans[last + 1][1] - spans[first][0] <= WINDOW:
            grown.append((first, last + 1))
        if not grown:
            break
        first, last = rng.choice(grown)
    made = Example(question, title, text, tuple(spans[first : last + 1]), tuple(gold[first : last + 1]))
    return replace(made, question=reworded(rng, made)) if any(made.gold) else made


def reworded(rng: random.Random, made: Example) -> str:
    """The question, some of its words that stand in the answering sentence left out, or in small letters."""
    question = made.question
    if rng.random() < 0.5:
        shared = {
            stem(w)
            for (a, b), answers in zip(made.spans, made.gold, strict=True)
            if answers
            for w in words(made.text[a:b])
        }
        kept = []
        for token in question.split():
            found = words(token)
            told = found and found[0] not in STOP_WORDS and stem(found[0]) in shared
            fate = rng.random() if told else 1.0
            others = SYNONYMS.of(found[0]) if 0.25 <= fate < 0.5 and found[0].islower() else ()
            if others:
                kept.append(rng.choice(others) + ("?" if token.endswith("?") else ""))
            elif fate >= 0.25:
                kept.append(token)
        if len(kept) >= 3:
            question = " ".join(kept)
    if rng.random() < 0.15:
        question = question.lower()
    return question.rstrip("? ") if rng.random() < 0.1 else question


def without(spans: Sequence[Span], text: str, gold: Sequence[bool]) -> tuple[str, list[Span]]:
    """The text of the sentences that do not answer, and their spans in it."""
    left = " ".join(text[a:b] for (a, b), answers in zip(spans, gold, strict=True) if not answers)
    return left, sentences(left)


def squad(rng: random.Random, data: Path, count: int) -> Iterator[Example | None]:
    """From ``count`` questions of SQuAD: .60 as they are, .12 without answer, .05 another year, .23 other paragraph."""
    found = rows(data, "grounded_qa/squad_train")
    paragraphs = list(dict.fromkeys((row["title"], row["context"]) for row in found))
    index = sqlite3.connect(":memory:")
    index.execute("CREATE VIRTUAL TABLE paragraphs USING fts5 (text, tokenize = 'porter unicode61')")
    index.executemany(
        "INSERT INTO paragraphs (rowid, text) VALUES (?, ?)",
        ((i, f"{title.replace('_', ' ')} {text}") for i, (title, text) in enumerate(paragraphs)),
    )
    rng.shuffle(found)
    for row in found[:count]:
        question, text, answers = row["question"].strip(), row["context"], row["answers"]
        title = row["title"].replace("_", " ")
        spans = sentences(text)
        gold = [any(answer in text[a:b] for answer in answers) for a, b in spans]
        kind = rng.random()
        if kind < 0.60:
            yield example(rng, question, title, text, spans, gold)
        elif kind < 0.72:
            if sum(not g for g in gold) >= 2:
                left, rest = without(spans, text, gold)
                yield example(rng, question, title, left, rest, [False] * len(rest))
        elif kind < 0.77 and (year := YEAR.search(question)):
            other = str(int(year.group()) + rng.choice((-12, -5, -3, -2, -1, 1, 2, 3, 4, 7)))
            yield example(rng, question.replace(year.group(), other), title, text, spans, [False] * len(spans))
        else:
            keys = [word for word in dict.fromkeys(words(question)) if word not in STOP_WORDS]
            match = " OR ".join(f'"{word}"' for word in keys)
            query = "SELECT rowid FROM paragraphs WHERE paragraphs MATCH ? ORDER BY rank, rowid LIMIT 8"
            near = [i for (i,) in index.execute(query, (match,))] if keys else []
            near = [i for i in near if not any(a.lower() in paragraphs[i][1].lower() for a in answers)][:4]
            if near:
                title, text = paragraphs[rng.choice(near)]
                spans = sentences(text)
                yield example(rng, question, title.replace("_", " "), text, spans, [False] * len(spans))


def qed(rng: random.Random, data: Path, count: int) -> Iterator[Example | None]:
    """From ``count`` search questions of QED; from a fifth of them the answering sentence is taken away."""
    found = rows(data, "grounded_qa/qed_train")
    rng.shuffle(found)
    for row in found[:count]:
        text, starts = row["paragraph_text"], row["sentence_starts"]
        bounds = [*sorted({0, *starts}), len(text)]
        spans = [(a, a + len(text[a:b].rstrip())) for a, b in pairwise(bounds) if text[a:b].strip()]
        gold = [any(a <= start < b for start, _ in row["answer_spans"]) for a, b in spans]
        question = row["question_text"]
        if rng.random() < 0.6:
            question = f"{question[0].upper()}{question[1:]}?"
        if not any(gold):
            continue
        if rng.random() < 0.2:
            if sum(not g for g in gold) >= 2:
                left, rest = without(spans, text, gold)
                yield example(rng, question, row["title_text"], left, rest, [False] * len(rest))
        else:
            yield example(rng, question, row["title_text"], text, spans, gold)


def fairytales(rng: random.Random, data: Path, count: int) -> Iterator[Example | None]:
    """Up to ``count`` questions of FairytaleQA for which one or two sentences hold most words of the answer."""
    found = rows(data, "grounded_qa/fairytaleqa_train")
    rng.shuffle(found)
    made = 0
    for row in found:
        text, spans = row["context"], sentences(row["context"])
        wanted = {stem(word) for word in words(row["answers"][0]) if word not in STOP_WORDS}
        if made == count or not wanted or len(spans) < 3:
            continue
        held = [len(wanted & {stem(word) for word in words(text[a:b])}) / len(wanted) for a, b in spans]
        if max(held) < 0.7 or held.count(max(held)) > 2:
            continue
        made += 1
        yield example(rng, row["question"], row["story"], text, spans, [value == max(held) for value in held])


def adversarial(rng: random.Random, data: Path) -> Iterator[Example | None]:
    """AdversarialQA's questions, which people wrote so that models of 2020 fail, out of their templates."""
    seen = set()
    for row in rows(data, "instruct/t0_open_licence"):
        if row["dataset"] != "adversarial_qa" or not row["template"].endswith(
            ("answer_the_following_q", "based_on", "question_context_answer")
        ):
            continue
        text = max(re.split(r"\n|(?<=Context: )", row["prompt"]), key=len).strip().strip('"')
        questions = re.findall(r'[^.:?\n"§]{12,}\?', row["prompt"].replace(text, " § "))
        if len(questions) != 1 or questions[0] in seen:
            continue
        seen.add(questions[0])
        spans = sentences(text)
        gold = [row["response"].strip() in text[a:b] for a, b in spans]
        if any(gold):
            yield example(rng, questions[0].strip(), "", text, spans, gold)


def covid(rng: random.Random, data: Path) -> Iterator[Example | None]:
    """COVID-QA's questions, by experts, on scientific articles; the passage around the answer."""
    for row in rows(data, "instruct/covid_qa_part"):
        text, answer = row["context"], row["answer"].strip()
        at = text.find(answer)
        if at < 0 or text.count(answer) > 1:
            continue
        a, b = max(0, at - 900), at + len(answer) + 900
        spans = [(x + a, y + a) for x, y in sentences(text[a:b])][1:-1]
        gold = [x < at + len(answer) and at < y for x, y in spans]
        if any(gold):
            yield example(rng, row["question"].strip(), "", text, spans, gold)
