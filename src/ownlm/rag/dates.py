"""The date that a document gives itself: in its title, its headings or its file's name."""

from __future__ import annotations

import re
from pathlib import PurePath

from ownlm.rag.types import Passage

_MONTHS = "january february march april may june july august september october november december".split()  # noqa: SIM905
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_YEAR = r"((?:19|20)\d\d)"
_DATES = (
    (re.compile(rf"(?<!\d){_YEAR}[-_.](\d\d)[-_.](\d\d)(?!\d)"), ("year", "month", "day")),
    (re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+{_MONTH},?\s+{_YEAR}\b", re.IGNORECASE), ("day", "name", "year")),
    (re.compile(rf"\b{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+{_YEAR}\b", re.IGNORECASE), ("name", "day", "year")),
    (re.compile(rf"(?<!\d){_YEAR}[-_.](\d\d)(?!\d)"), ("year", "month")),
    (re.compile(rf"\b{_MONTH}\s+{_YEAR}\b", re.IGNORECASE), ("name", "year")),
    (re.compile(rf"(?<!\d){_YEAR}(?!\d)"), ("year",)),
)


def written(passage: Passage) -> str:
    """The date of a passage's document as far as it says: "2024-03-12", "2024-03", "2024" or "".

    The title speaks first, then the file's name, then the headings.

    >>> written(Passage(1, "/papers/minutes-2023-11.md", "Minutes, 4 December 2023", 0, 1, "x", 0.0))
    '2023-12-04'
    """
    for text in (passage.title, PurePath(passage.document).name, " ".join(passage.heading)):
        if found := first_date(text):
            return found
    return ""


def first_date(text: str) -> str:
    """The most exact date in a text, as ISO 8601; empty when there is none.

    >>> first_date("Fees from 1st April 2024"), first_date("prices_2022.xlsx"), first_date("House rules")
    ('2024-04-01', '2022', '')
    """
    for pattern, names in _DATES:
        for match in pattern.finditer(text):
            parts = dict(zip(names, match.groups(), strict=True))
            if "name" in parts:
                short = parts["name"].lower()[:3]
                parts["month"] = str(next(n for n, month in enumerate(_MONTHS, 1) if month.startswith(short)))
            month, day = int(parts.get("month", 1)), int(parts.get("day", 1))
            if 1 <= month <= 12 and 1 <= day <= 31:
                date = parts["year"]
                if "month" in parts:
                    date += f"-{month:02d}"
                    if "day" in parts:
                        date += f"-{day:02d}"
                return date
    return ""
