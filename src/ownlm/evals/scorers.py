"""How an answer is compared with references: pure functions, each from 0 to 1."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NOT_WORD = re.compile(r"[^a-z0-9]+")


def normalized(text: str) -> str:
    """As SQuAD compares answers (Rajpurkar et al. 2016): small letters, no punctuation, no articles, single spaces.

    >>> normalized("The  Eiffel Tower!")
    'eiffel tower'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, references: Sequence[str]) -> float:
    """SQuAD 2's exact match (Rajpurkar et al. 2018); an unanswerable question has no references, and "" is right.

    >>> exact_match("the Louvre", ["Louvre"]), exact_match("Paris", []), exact_match("", [])
    (1.0, 0.0, 1.0)
    """
    return float(normalized(answer) in _golds(references))


def f1(answer: str, references: Sequence[str]) -> float:
    """SQuAD 2's F1 of words, with the reference that fits best.

    >>> f1("in the north of France", ["northern France", "north France"])
    0.6666666666666666
    """
    return max(_f1_words(normalized(answer).split(), gold.split()) for gold in _golds(references))


def rouge_n(answer: str, references: Sequence[str], n: int) -> float:
    """F1 of n-grams of words (ROUGE-N, Lin 2004), with the reference that fits best; letters a-z and digits are words,
    without stemming.

    >>> rouge_n("the cat sat", ["the cat was here"], 2)
    0.4
    """
    found = [_f1(_grams(_words(answer), n), _grams(_words(reference), n)) for reference in references]
    return max(found, default=0.0)


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """F1 by the longest common subsequence of words (ROUGE-L of sentences, Lin 2004), as ``rouge_n`` otherwise.

    >>> rouge_l("police kill the gunman", ["police killed the gunman"])
    0.75
    """
    said = _words(answer)
    best = 0.0
    for reference in references:
        wanted = _words(reference)
        common = _common(said, wanted)
        if common:
            best = max(best, 2 * common / (len(said) + len(wanted)))
    return best


def edit_similarity(answer: str, reference: str) -> float:
    """1 minus the edit distance (Levenshtein 1966) as a part of the longer text.

    >>> edit_similarity("return x", "return y"), edit_similarity("", "")
    (0.875, 1.0)
    """
    if answer == reference:
        return 1.0
    row = list(range(len(reference) + 1))
    for at, left in enumerate(answer, 1):
        above, row[0] = row[0], at
        for column, right in enumerate(reference, 1):
            above, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, above + (left != right))
    return 1 - row[-1] / max(len(answer), len(reference))


def _golds(references: Sequence[str]) -> list[str]:
    """References that say something; that nothing is said, where there are none."""
    return [gold for reference in references if (gold := normalized(reference))] or [""]


def _f1_words(said: Sequence[str], wanted: Sequence[str]) -> float:
    if not said or not wanted:
        return float(said == wanted)
    return _f1(Counter(said), Counter(wanted))


def _f1(said: Counter[str] | Counter[tuple[str, ...]], wanted: Counter[str] | Counter[tuple[str, ...]]) -> float:
    common = sum((said & wanted).values())  # type: ignore[operator]
    return 2 * common / (said.total() + wanted.total()) if common else 0.0


def _words(text: str) -> list[str]:
    return _NOT_WORD.sub(" ", text.lower()).split()


def _grams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + n]) for at in range(len(words) - n + 1))


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for word in left:
        above = 0
        for at, other in enumerate(right, 1):
            above, row[at] = row[at], above + 1 if word == other else max(row[at], row[at - 1])
    return row[-1]
