"""Which passages are in a language that the encoder does not know.

A question of four words is judged by ``language.is_known``; a passage has more to go by, and more that misleads:
codes, names and abbreviations in tables. So here a sign counts only with others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ownlm.rag.language import AMBIGUOUS, ENGLISH, FOREIGN, is_known

_WORD = re.compile(r"[^\W\d_]{2,}")
_DISTINCT = 3
_SHARE = 0.08
"""A foreign passage has so many different function words of other languages, and this share of all words, at least."""


def is_foreign(text: str) -> bool:
    """Whether a passage is mostly in a script or a language that the encoder does not know.

    >>> is_foreign("Der Vorsitzende unterschreibt den Vertrag und zahlt die Miete für das Haus mit der Karte.")
    True
    >>> is_foreign("W 3 | W 4 | Der Spiegel | the price is 12")
    False
    """
    if is_known(text):
        return False
    words = [word for word in _WORD.findall(text.lower()) if word not in AMBIGUOUS]
    latin = [word for word in words if word < "\u0250"]
    if len(latin) < len(words) / 2:
        return True
    foreign = [word for word in words if word in FOREIGN and word not in ENGLISH]
    return len(set(foreign)) >= _DISTINCT and len(foreign) >= _SHARE * len(words)


def foreign_passages(passages: Sequence[str]) -> tuple[list[bool], float]:
    """For each passage of a document whether it is foreign, and the share of the characters in those that are.

    In a document that is mostly foreign every passage counts as such: a short one tells little by itself.
    """
    foreign = [is_foreign(passage) for passage in passages]
    total = sum(map(len, passages))
    share = sum(len(passage) for passage, yes in zip(passages, foreign, strict=True) if yes) / max(1, total)
    return ([True] * len(passages), 1.0) if share > 0.5 else (foreign, share)
