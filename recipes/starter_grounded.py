"""Questions about passages, for tuning: answers with the number of the passage, or that the documents do not answer.

A conversation is a passage, often with one or two near it that say something else, and several questions about it: so
the passage is read once. Two of five questions have no answer there: those of other paragraphs of the same article,
and those whose year, number or name was changed for another that the passage does not have with it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from starter_clean import plain, rows
from starter_rows import Message, Row

from ownlm.prompts import grounded
from ownlm.rag.generate.grammar import quotable
from ownlm.rag.sentences import sentences

PASSAGE = 1_100
"""Characters of a passage at most; SQuAD's paragraphs have 750 on average. What is longer is shown in part."""
TURNS = 5
UNANSWERABLE = 0.4
_NUMBER = re.compile(r"\b\d{2,4}\b")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]+(?: [A-Z][a-z]+)*")
_TREEBANK = (
    (r"\s+([,.;:!?)%'’])", r"\1"),
    (r"\(\s+", "("),
    (r"``\s*|''", '"'),
    (r"\s+(n't)\b", r"\1"),
    (r" -- ", " – "),
)


@dataclass(frozen=True)
class Question:
    """``answer`` None: the passage does not say."""

    text: str
    answer: str | None


@dataclass(frozen=True)
class Paragraph:
    place: str
    text: str
    questions: tuple[Question, ...]


def around(text: str, needle: str, characters: int = PASSAGE) -> str:
    """Whole sentences that hold the needle, and what stands around them, up to so many characters.

    >>> around("One is. Two is here. Three is.", "Two", 14)
    'Two is here.'
    """
    if len(text) <= characters:
        return text
    spans = sentences(text)
    at = max(0, text.find(needle))
    first = last = next((i for i, (_, end) in enumerate(spans) if end > at), 0)
    while first > 0 or last + 1 < len(spans):
        grown = (max(0, first - 1), min(len(spans) - 1, last + 1))
        if spans[grown[1]][1] - spans[grown[0]][0] > characters:
            break
        first, last = grown
    return text[spans[first][0] : spans[last][1]]


def squad(chance: random.Random, data: Path) -> Iterator[Paragraph]:
    """Paragraphs in the order of their articles."""
    for (title, context), group in groupby(
        rows(data, "grounded_qa/squad_train"), key=lambda row: (row["title"], row["context"])
    ):
        asked = [Question(row["question"].strip(), row["answers"][0].strip()) for row in group if row["answers"]]
        if asked and len(context) <= PASSAGE:
            chance.shuffle(asked)
            yield Paragraph(title.replace("_", " "), plain(context), tuple(asked))


def natural(data: Path) -> Iterator[Paragraph]:
    """Questions that people typed, from QED, by title; its paragraphs come in pieces of a tokenizer, and are joined."""
    found = []
    for row in rows(data, "grounded_qa/qed_train"):
        if row["answer_text"] and row["answer_text"][0].strip():
            text, answer = joined(row["paragraph_text"]), joined(row["answer_text"][0])
            found.append(Paragraph(row["title_text"], around(text, answer), (Question(row["question_text"], answer),)))
    yield from sorted(found, key=lambda paragraph: paragraph.place)


def joined(text: str) -> str:
    """
    >>> joined("the `` Raiders '' ( 1981 ) , who were n't")
    'the "Raiders" (1981), who weren\\'t'
    """
    for pattern, by in _TREEBANK:
        text = re.sub(pattern, by, text)
    return re.sub(r'"\s+([^"]*?)\s*"', r'"\1"', text).strip()


def stories(data: Path) -> Iterator[Paragraph]:
    """Questions about fairytales whose answer stands in the section."""
    for (story, context), group in groupby(
        rows(data, "grounded_qa/fairytaleqa_train"), key=lambda row: (row["story"], row["context"])
    ):
        asked = tuple(Question(row["question"], row["answers"][0]) for row in group)
        if len(context) <= PASSAGE + 400:
            yield Paragraph(story.replace("-", " "), plain(context), asked)


def papers(data: Path) -> Iterator[Paragraph]:
    """Experts' questions about papers on viruses."""
    for row in rows(data, "instruct/covid_qa_part"):
        answer = row["answer"].strip()
        if row["licence"].startswith(("cc-by", "cc0")) and 2 < len(answer) < 200:
            yield Paragraph(row["doc_title"], around(row["context"], answer), (Question(row["question"], answer),))


def changed(chance: random.Random, question: str, passage: str, others: Sequence[str]) -> str | None:
    """The question about another year, number or name, which the passage does not mention; None if it has none."""
    low = passage.lower()
    number = _NUMBER.search(question)
    if number and number.group() in passage:
        value = int(number.group())
        for _ in range(8):
            new = str(max(10, value + chance.choice((-31, -12, -7, -3, 4, 9, 15, 40))))
            if new not in passage:
                return question[: number.start()] + new + question[number.end() :]
    name = _NAME.search(question)
    if name and name.group() in passage:
        names: list[str] = [found for text in others for found in _NAME.findall(text) if found.lower() not in low]
        if names:
            return question[: name.start()] + chance.choice(names) + question[name.end() :]
    return None


def conversations(chance: random.Random, paragraphs: Sequence[Paragraph]) -> Iterator[Row]:
    """Each paragraph once, with questions; ``paragraphs`` next to each other are near each other in what they say."""
    for index, paragraph in enumerate(paragraphs):
        nearby = [p for p in paragraphs[max(0, index - 8) : index + 9] if p.text != paragraph.text]
        same = [p for p in nearby if p.place == paragraph.place] or nearby
        if not same:
            continue
        asked = list(paragraph.questions[:TURNS])
        turns: list[Question] = []
        for question in asked:
            if chance.random() >= UNANSWERABLE:
                turns.append(question)
                continue
            new = (
                changed(chance, question.text, paragraph.text, [p.text for p in same])
                if chance.random() < 0.4
                else None
            )
            other = chance.choice(chance.choice(same).questions)
            if new is None and other.answer and other.answer.lower() not in paragraph.text.lower():
                new = other.text
            turns.append(Question(new, None) if new else question)
        yield _conversation(chance, paragraph, turns, same)


def answered(answer: str, passage: str, number: int) -> str:
    """Words that stand in the passage are quoted, others said.

    >>> answered("at nine", "Open at nine.", 1), answered("at 9", "Open at nine.", 1)
    ('“at nine” [1]. [1]', 'at 9. [1]')
    """
    whole = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", passage)
    return grounded.quoted(answer, number) if whole and quotable(answer) == [answer] else grounded.cited(answer, number)


def _conversation(
    chance: random.Random, paragraph: Paragraph, turns: Sequence[Question], nearby: Sequence[Paragraph]
) -> Row:
    """Beside short passages, others stand that answer none of the questions."""
    shown = [paragraph]
    for _ in range(2):
        other = chance.choice(nearby)
        answers = any(turn.answer is None or turn.answer.lower() in other.text.lower() for turn in turns)
        size = sum(len(p.text) for p in shown) + len(other.text)
        if chance.random() < 0.35 and not answers and other not in shown and size <= PASSAGE:
            shown.append(other)
    chance.shuffle(shown)
    number = shown.index(paragraph) + 1
    with_place = chance.random() < 0.5
    sources = tuple(grounded.Source(p.place if with_place else "", p.text) for p in shown)
    messages: list[Message] = grounded.SHORT.messages(grounded.Grounded(turns[0].text, sources))
    for rank, turn in enumerate(turns):
        if rank:
            messages.append({"role": "user", "content": f"Question: {turn.text}"})
        said = grounded.NOTHING if turn.answer is None else answered(turn.answer, paragraph.text, number)
        messages.append({"role": "assistant", "content": said})
    return Row("grounded", tuple(messages), (*(p.text for p in shown), *(turn.text for turn in turns)))
