"""Porter's stemmer (M. F. Porter, An algorithm for suffix stripping, Program 14(3), 1980), and words.

The same stems as SQLite's ``porter unicode61`` tokenizer gives, so that what is counted here is what the
word index matched. A test holds the two against each other.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+")
_SHORTEST, _LONGEST = 3, 64  # what SQLite stems
_C = "[^aeiou][^aeiouy]*"
_V = "[aeiouy][aeiou]*"
_HAS_VOWEL = re.compile(f"(?:{_C})?[aeiouy]")
_MEASURE_0 = re.compile(f"(?:{_C})?{_V}{_C}")  # m > 0
_MEASURE_1 = re.compile(f"(?:{_C})?{_V}{_C}(?:{_V})?$")  # m = 1
_MEASURE_2 = re.compile(f"(?:{_C})?{_V}{_C}{_V}{_C}")  # m > 1
_SHORT = re.compile(f"{_C}[aeiouy][^aeiouwxy]$")
_DOUBLE = re.compile(r"([^aeiouylsz])\1$")

_STEP_2 = (
    "ational:ate ization:ize iveness:ive fulness:ful ousness:ous tional:tion biliti:ble entli:ent ousli:ous "
    "ation:ate alism:al aliti:al iviti:ive enci:ence anci:ance izer:ize alli:al ator:ate logi:log bli:ble eli:e"
)
_STEP_3 = "icate:ic ative: alize:al iciti:ic ical:ic ness: ful:"
_STEP_4 = "ement ance ence able ible ment ant ent ion ism ate iti ous ive ize al er ic ou"


def _rules(table: str) -> tuple[tuple[str, str], ...]:
    return tuple((suffix, new) for suffix, _, new in (rule.partition(":") for rule in table.split()))


_RULES_2, _RULES_3, _RULES_4 = _rules(_STEP_2), _rules(_STEP_3), _rules(_STEP_4)


def words(text: str) -> list[str]:
    """The words of a text: letters and digits, lower case, without diacritics.

    >>> words("The café's fee: £12.50")
    ['the', 'cafe', 's', 'fee', '12', '50']
    """
    lowered = text.lower()
    if not lowered.isascii():
        lowered = "".join(c for c in unicodedata.normalize("NFD", lowered) if not unicodedata.combining(c))
    return _WORD.findall(lowered)


def word_set(text: str) -> frozenset[str]:
    """The words of a list written with spaces between them."""
    return frozenset(text.split())


def stems(text: str) -> list[str]:
    """The words of a text, stemmed, in order."""
    return [stem(word) for word in words(text)]


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The stem of one lower-case word; a word that is not plain ASCII letters is its own stem.

    >>> [stem(word) for word in ("renewals", "renewed", "renewing", "membership", "4th")]
    ['renew', 'renew', 'renew', 'membership', '4th']
    """
    if not _SHORTEST <= len(word) <= _LONGEST or not (word.isascii() and word.isalpha()):
        return word
    if word[0] == "y":
        word = "Y" + word[1:]  # a leading y is a consonant
    word = _past_and_gerund(_plural(word))
    if word.endswith("y") and _HAS_VOWEL.match(word[:-1]):
        word = word[:-1] + "i"
    word = _replace(_replace(word, _RULES_2), _RULES_3)
    return _final_e(_strip(word)).lower()


def _plural(word: str) -> str:
    if not word.endswith("s") or word.endswith("ss"):
        return word
    long = (word.endswith("sses") and len(word) > 4) or (word.endswith("ies") and len(word) > 3)
    return word[:-2] if long else word[:-1]


def _past_and_gerund(word: str) -> str:
    if word.endswith("eed") and len(word) > 3:
        return word[:-1] if _MEASURE_0.match(word[:-3]) else word
    for suffix in ("ed", "ing"):
        if not word.endswith(suffix):
            continue
        rest = word[: -len(suffix)]
        if not _HAS_VOWEL.match(rest):
            return word
        if rest.endswith(("at", "bl", "iz")):
            return rest + "e"
        if _DOUBLE.search(rest):
            return rest[:-1]
        return rest + "e" if _SHORT.match(rest) else rest
    return word


def _replace(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Apply the rule of the longest suffix that fits (the tables run from long to short where it matters)."""
    for suffix, new in rules:
        if word.endswith(suffix):
            rest = word[: -len(suffix)]
            return rest + new if _MEASURE_0.match(rest) else word
    return word


def _strip(word: str) -> str:
    for suffix, _ in _RULES_4:
        if word.endswith(suffix):
            rest = word[: -len(suffix)]
            if _MEASURE_2.match(rest) and (suffix != "ion" or rest.endswith(("s", "t"))):
                return rest
            return word
    return word


def _final_e(word: str) -> str:
    if word.endswith("e"):
        rest = word[:-1]
        if _MEASURE_2.match(rest) or (_MEASURE_1.match(rest) and not _SHORT.match(rest)):
            word = rest
    if word.endswith("ll") and _MEASURE_2.match(word):
        word = word[:-1]
    return word
