"""What kind of thing a question asks for, and whether a sentence holds one.

Rules, not a model: the kinds are few, and a rule can be read. A kind that is found only in words that the question
itself has (its own year, its own name) does not count: the sentence merely repeats the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

Kind = Literal["time", "number", "money", "person", "place", "contact", "reason"]
KINDS: tuple[Kind, ...] = ("time", "number", "money", "person", "place", "contact", "reason")


def _any(words: str) -> str:
    """A pattern for any of the words listed."""
    return "(?:" + "|".join(words.split()) + ")"


def _pattern(*alternatives: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), flags)


_MONTH = _any("january february march april may june july august september october november december")
_SHORT_MONTH = _any("jan feb mar apr jun jul aug sept? oct nov dec")
_DAY = _any("mondays? tuesdays? wednesdays? thursdays? fridays? saturdays? sundays?")
_COUNT = _any(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen "
    "half twice once both single none no every several quarter third"
)
_UNIT = _any("seconds? minutes? hours? days? weeks? fortnights? months? quarters? years? decades? centur(?:y|ies)")
_MOMENT = _any(
    "noon midnight dawn daily weekly monthly annual annually yearly quarterly today tomorrow spring summer autumn "
    "winter easter christmas century weekends? weekdays? immediately"
)
_ROOM = _any("room street road floor building cupboard shelf cabinet door hall yard shed")

_HELD: dict[Kind, re.Pattern[str]] = {
    "time": _pattern(
        r"\b(?:1\d|20)\d\d\b",
        rf"\b(?:{_MONTH}|{_DAY}|{_MOMENT})\b",
        rf"\b{_SHORT_MONTH}\.?\s+\d",
        r"\b\d{1,2}[:.]\d\d\b",
        r"\b\d{1,2}\s?(?:am|pm|a\.m|p\.m)\b",
        r"\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b",
        rf"\b(?:\d+|{_COUNT})[\s-]+(?:working\s+|calendar\s+)?{_UNIT}\b",
    ),
    "number": _pattern(r"\d", rf"\b{_COUNT}\b"),
    "money": _pattern(
        r"[£$€¥]\s?\d",
        r"\b\d[\d,.]*\s?(?:pounds?|pence|p|euros?|dollars?|cents?|gbp|eur|usd|chf|francs?)\b",
        r"\b(?:free|waived|no (?:charge|fee|cost))\b",
        r"\b\d[\d,.]*\.\d\d\b",
        r"\d\s?%",
    ),
    "contact": _pattern(r"[\w.+-]+@[\w-]+\.\w", r"\bhttps?://", r"\bwww\.", r"(?<![\d£$€])\+?\(?\d[\d\s()/-]{5,}\d"),
    "reason": _pattern(
        r"\b(?:because|since|due to|owing to|so that|in order to|reasons?|as a result|therefore|caused?|thanks to)\b",
        r"\b(?:to (?:avoid|prevent|ensure|keep)|otherwise|purpose|which is why|for fear|led to)\b",
    ),
    "place": _pattern(
        rf"\b{_any('in at on near behind beside under above opposite inside outside from to next between through by')}"
        r"\s+(?:the\s|a\s|our\s|its\s)?\w",
        rf"\b{_ROOM}\b",
    ),
    # A capital within a sentence, a title, or two capitalised words together.
    "person": _pattern(
        r"(?<![.!?:]\s)(?<!^)\b[A-Z][a-z]+",
        r"^(?:Mr|Mrs|Ms|Dr)\b",
        r"\b[A-Z][a-z’']+\s+(?:[A-Z]\.\s+)?[A-Z][a-z’']+",
        flags=0,
    ),
}

_PRICE = _any(
    "price cost costs fee fees rent deposit budget charge fine salary wage rate fare subscription donation amount sum "
    "total balance turnover income excess surcharge"
)
_QUANTITY = _any(
    "number percentage percent proportion share size age height width weight length distance speed temperature "
    "population capacity limit maximum minimum version code quorum dimensions voltage pressure area"
)
_WHAT = r"\b(?:what|which)"

_ASKED: dict[Kind, re.Pattern[str]] = {
    "contact": _pattern(
        r"\b(?:phone|telephone|mobile|e-?mail address)\b",
        r"\bwhat\b.*\b(?:e-?mail|website|web address|url)\b",
        r"\bwhich (?:number|address)\b.*\b(?:call|ring|write|e-?mail)",
        r"\bhow (?:can|do|could|should) \w+ (?:contact|reach)\b",
    ),
    "money": _pattern(
        rf"\bhow much {_any('is are was were does do did will would must should can could has have money rent')}\b",
        rf"\bwhat\b.*\b{_PRICE}\b",
        r"\bhow (?:expensive|costly)\b",
    ),
    "time": _pattern(
        r"\bwhen\b",
        rf"{_WHAT} (?:\w+ )?(?:year|date|day|days|time|times|month|hour|hours|week|century|decade|season)\b",
        r"\bhow (?:long|often|soon|early|late|old|quickly|frequently)\b",
        r"\b(?:deadline|opening hours)\b",
        r"\bhow many (?:\w+ )?(?:days|hours|minutes|weeks|months|years)\b",
        r"\b(?:by|until|since|at) what\b",
    ),
    "number": _pattern(
        rf"\bhow {_any('many much far big large tall high deep wide heavy fast hot thick loud old long')}\b",
        rf"{_WHAT}\b.*\b{_QUANTITY}\b",
    ),
    "person": _pattern(
        r"\bwho(?:m|se)?\b",
        rf"{_WHAT} {_any('person people man woman company member supplier team author')}\b",
        r"\bwhat (?:is|was) the name\b",
    ),
    "place": _pattern(
        r"\bwhere\b",
        rf"{_WHAT} {_any('city country place town state room building street address location floor county')}\b",
    ),
    "reason": _pattern(r"\bwhy\b", r"\bfor what reason\b", r"\bwhat (?:is|was) the (?:reason|cause|purpose)\b"),
}


def asked(question: str) -> tuple[Kind, ...]:
    """The kinds that would answer; empty when any statement may.

    >>> asked("How much is the deposit?"), asked("Who chairs the committee?"), asked("What is a kiln?")
    (('money',), ('person',), ())
    """
    found = [kind for kind, pattern in _ASKED.items() if pattern.search(question)]
    if "money" in found and "number" in found:
        found.remove("number")  # "how much" asks for one of them
    return tuple(found)


def holds(sentence: str, kind: Kind, known: Iterable[str] = ()) -> bool:
    """Whether ``sentence`` holds a ``kind`` that does not consist of the question's own words ``known`` (lower case).

    >>> holds("The 1973 crisis began in October.", "time", {"1973"})
    True
    >>> holds("The 1973 crisis was long.", "time", {"1973"})
    False
    """
    own = known if isinstance(known, (set, frozenset)) else frozenset(known)
    for match in _HELD[kind].finditer(sentence):
        parts = re.findall(r"[^\W_]+", match[0].lower())
        if kind == "place" or not parts or not all(part in own for part in parts):
            return True
    return False
