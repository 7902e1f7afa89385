"""Sentiment, translation, summaries and lines of Python, for tuning: rows of data sets in the words of ``prompts``."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from starter_clean import rows
from starter_rows import Row, row
from starter_sources import algorithms, standard_library, translations

from ownlm.evals.held_out import held_out
from ownlm.evals.mbpp_lines import FIRST_TRAINED_ON, cursor, document
from ownlm.evals.movie_reviews import excerpt
from ownlm.prompts import complete, sentiment, summarize, translate

ABSTRACT = 1_600
SENTENCE = 220
"""Characters of a text to translate, at most."""
CODE = 400
"""Characters of a piece of a file, of which a line is completed."""


def opinions(name: str, data: Path) -> Iterator[Row]:
    """Rows of a set that do not measure; of whole reviews the end, as the measurement reads them."""
    for found in rows(data, name):
        if not held_out(found["text"]):
            text = excerpt(found["text"]) if name.endswith("reviews_train") else found["text"].strip()
            yield row("sentiment", sentiment.PROMPT, sentiment.Sentiment(text), found["label"], [found["text"]])


def sentences_in(language: str, data: Path) -> Iterator[Row]:
    """Pairs of the Python documentation."""
    for found in translations(data, language):
        if len(found["en"]) <= SENTENCE:
            inputs = translate.Translate(found["en"], language)
            yield row(f"translate-{language}", translate.PROMPT, inputs, found["tgt"], (found["en"], found["tgt"]))


def summaries(data: Path) -> Iterator[Row]:
    """Abstracts with the sentence that says most of the author's summary.

    A model of a few million weights can copy the right sentence, and cannot yet write a new one.
    """
    for found in rows(data, "summarization/scitldr_train"):
        source, scores = [sentence.strip() for sentence in found["source"]], found["rouge_scores"]
        text = " ".join(found["source"])
        if len(scores) == len(source) and len(text) <= ABSTRACT:
            best = source[max(range(len(source)), key=scores.__getitem__)]
            yield row("summarize", summarize.PROMPT, summarize.Summarize(text), best, (text, *found["target"]))


def lines(chance: random.Random, data: Path, each: int) -> Iterator[Row]:
    """Code up to a cursor, and the rest of its line: ``each`` cursors in a small program, more in a file.

    Cursors stand where those of the measurement do.
    """
    for found in rows(data, "code/mbpp"):
        if found["task_id"] >= FIRST_TRAINED_ON:
            yield from _cursors([document(found)], str(found["task_id"]), each)
    for texts, count in ((algorithms, 3), (standard_library, 12)):
        for number, text in enumerate(texts(data)):
            code = text.split("\n")
            starts = [chance.randrange(max(1, len(code) - 6)) for _ in range(each * count)]
            yield from _cursors([piece(code, start) for start in starts], f"{texts.__name__} {number}", 1)


def piece(code: list[str], start: int) -> str:
    """Whole lines from a line on, up to ``CODE`` characters.

    >>> piece(["a = 1", "b = 2"], 1)
    'b = 2'
    """
    kept: list[str] = []
    for line in code[start:]:
        if kept and sum(map(len, kept)) + len(line) > CODE:
            break
        kept.append(line)
    return "\n".join(kept)


def _cursors(texts: list[str], key: str, each: int) -> Iterator[Row]:
    for number, text in enumerate(texts):
        for more in range(each):
            before, rest = cursor(text, f"{key} {number} {more}")
            if 0 < len(rest.strip()) <= 100:
                yield row("complete", complete.PROMPT, complete.Complete(before), rest.strip(), [text])
