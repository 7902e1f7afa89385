"""Sentiment, translation, summaries and lines of Python, for tuning: rows of data sets in the words of ``prompts``."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from starter_clean import plain, rows
from starter_rows import Row, row
from starter_sources import algorithms, small_programs, standard_library, translations

from ownlm.evals.held_out import held_out
from ownlm.prompts import complete, sentiment, summarize, translate
from ownlm.rag.sentences import sentences

ENDING = 1_500
"""Characters at the end of a review, where it says what it thinks; the measurement reads as many."""
ABSTRACT = 1_600
SENTENCE = 240
"""Characters of a text to translate, at most."""
CODE = 500
"""Characters before the cursor."""
_PIECE = re.compile(r"\w+|[^\w\s]|\s+")


def opinions(data: Path) -> Iterator[Row]:
    """Sentences of reviews, the ends of whole reviews, and what people praise and blame in things they bought."""
    for name in ("sentiment/sentence_polarity_train", "sentiment/movie_reviews_train", "sentiment/pros_cons"):
        for found in rows(data, name):
            if not held_out(found["text"]):
                text = ending(found["text"]) if name.endswith("reviews_train") else found["text"].strip()
                yield row("sentiment", sentiment.PROMPT, sentiment.Sentiment(text), found["label"], [found["text"]])


def ending(text: str, characters: int = ENDING) -> str:
    """The last whole sentences.

    >>> ending("It began well. It ended badly.", 20)
    'It ended badly.'
    """
    text = plain(text)
    starts = [start for start, _ in sentences(text) if len(text) - start <= characters]
    return text[starts[0] :] if starts else text[-characters:]


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
        text = " ".join(source)
        if len(scores) == len(source) and len(text) <= ABSTRACT:
            best = source[max(range(len(source)), key=scores.__getitem__)]
            yield row("summarize", summarize.PROMPT, summarize.Summarize(text), best, (text, *found["target"]))


def lines(chance: random.Random, data: Path, each: int) -> Iterator[Row]:
    """Code up to a cursor, and the rest of its line: ``each`` cursors in a small program, more in a file.

    A third of the cursors stand where a line begins, the others between its words.
    """
    for texts, count in ((small_programs, each), (algorithms, each * 3), (standard_library, each * 9)):
        for text in texts(data):
            code = text.split("\n")
            usable = [i for i, line in enumerate(code) if i > 2 and 8 <= len(line.strip()) <= 90]
            for at in chance.sample(usable, min(count, len(usable))):
                yield _line(chance, code, at)


def _line(chance: random.Random, code: list[str], at: int) -> Row:
    line = code[at].rstrip()
    before: list[str] = []
    for earlier in reversed(code[:at]):
        if sum(map(len, before)) + len(earlier) > CODE:
            break
        before.insert(0, earlier)
    indent = len(line) - len(line.lstrip())
    cuts = [match.start() for match in _PIECE.finditer(line) if match.start() > indent and not match.group().isspace()]
    cut = indent if not cuts or chance.random() < 1 / 3 else chance.choice(cuts)
    shown = "\n".join([*before, line[:cut]])
    return row("complete", complete.PROMPT, complete.Complete(shown), line[cut:].strip(), ["\n".join([*before, line])])
