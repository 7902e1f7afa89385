"""A question as retrieval sees it: its words, the terms that carry its meaning, and what would answer it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ownlm.errors import InvalidSetting
from ownlm.rag.answer_type import Kind, asked
from ownlm.rag.language import is_known
from ownlm.rag.stem import stem, word_set, words

MAX_CHARACTERS = 4000
"""A longer question is a document; it is refused rather than cut."""

STOP_WORDS = word_set(
    "a an and are as at be been being but by can could did do does doing for from had has have having he her hers him "
    "his how i if in into is it its me my of on or our shall she should so some such than that the their them then "
    "there these they this those to under was we were what when where which while who whom whose why will with would "
    "you your about after also any before between both during each most other out over own same very just not no nor "
    "only many much may might must s t m re ve ll d don doesn didn isn aren wasn weren won us am please tell"
)
"""Words that say how a sentence is built or how a question is put, not what it is about."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question, read.

    ``words`` are all of it, lower case, in order; ``stems`` the same, stemmed; ``keywords`` the distinct words that
    are not stop words (all words when nothing else is left), ``terms`` their distinct stems; ``pairs`` neighbouring
    stems; ``kinds`` what would answer; ``known_language`` whether the encoder knows its language.
    """

    text: str
    words: tuple[str, ...]
    stems: tuple[str, ...]
    keywords: tuple[str, ...]
    terms: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    kinds: tuple[Kind, ...]
    known_language: bool


def read_query(text: str) -> Query:
    """Read a question. Raises InvalidSetting when it is empty or longer than ``MAX_CHARACTERS``.

    >>> read_query("When does the workshop open?").terms
    ('workshop', 'open')
    """
    text = text.strip()
    if not text:
        raise InvalidSetting("the question", text, "ask something, in words")
    if len(text) > MAX_CHARACTERS:
        raise InvalidSetting(
            "the question's length",
            f"{len(text):,} characters",
            f"ask in at most {MAX_CHARACTERS:,}, and index longer texts",
        )
    if not text.isascii() and text.encode("utf-8", "ignore").decode("utf-8") != text:
        raise InvalidSetting("the question", text[:40], "it holds bytes that are not UTF-8: type it again")
    found = words(text)
    if not found:
        raise InvalidSetting("the question", text[:40], "ask something, in words")
    keywords = tuple(dict.fromkeys(word for word in found if word not in STOP_WORDS)) or tuple(dict.fromkeys(found))
    stemmed = tuple(stem(word) for word in found)
    return Query(
        text=text,
        words=tuple(found),
        stems=stemmed,
        keywords=keywords,
        terms=tuple(dict.fromkeys(stem(word) for word in keywords)),
        pairs=tuple(dict.fromkeys(pairwise(stemmed))),
        kinds=asked(text),
        known_language=is_known(text),
    )
