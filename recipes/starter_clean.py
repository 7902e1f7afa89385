"""Text made plain, and kept apart from what measures.

A row is contaminated if it shares a run of thirteen words with a development set: letters and digits alone count, in
small letters, so that other spellings of the same text are found too (WikiText puts spaces around its commas).
"""

from __future__ import annotations

import json
import lzma
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.evals.held_out import held_out

RUN = 13
"""Words in a row that nobody writes twice by chance."""
DEVELOPMENT = {
    "grounded_qa/squad2_dev": ("context", "question"),
    "grounded_qa/fairytaleqa_dev": ("context", "question"),
    "summarization/scitldr_dev": ("source", "target"),
    "pretrain/wikitext2_valid": ("text",),
    "grounding/begin_wow_dev": ("knowledge",),
    "grounding/begin_v1_dev": ("knowledge",),
    "chat/sgd_dev": (),
    "sentiment/goemotions_dev": ("text",),
}
"""Development files, and the fields of their rows that are text. Dialogues are never trained on here."""
_WORD = re.compile(r"[^\W_]+")
_FOREIGN = re.compile(r"\s*\([^()]*[^\x00-\u024f\u2010-\u2044\u20ac\u2212\u00d7][^()]*\)")
_FACTORS = np.cumprod(np.full(RUN, 0x9E3779B97F4A7C15, dtype=np.uint64))
Hashes = NDArray[np.uint64]


def rows(data: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of a set, in their order."""
    with lzma.open(data / f"{name}.jsonl.xz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def plain(text: str) -> str:
    """Without parentheses in other scripts (a name's spelling in Greek is bytes to a small vocabulary), without
    carriage returns, and with no more than one empty line.

    >>> plain("Abigail (Hebrew: אביגיל) was   the wife of Nabal.")
    'Abigail was the wife of Nabal.'
    """
    text = _FOREIGN.sub("", text.replace("\r\n", "\n").replace("\xa0", " "))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"(?<=\S)[ \t]{2,}", " ", text)).strip()


def start_of(text: str, characters: int) -> str:
    """Whole paragraphs up to about so many characters, at least one; its sentences if that one is too long.

    >>> start_of("One. Two.\\n\\nThree.", 10)
    'One. Two.'
    >>> start_of("One is here. Two is there.", 15)
    'One is here.'
    """
    kept: list[str] = []
    size = 0
    for paragraph in text.split("\n\n"):
        if kept and size + len(paragraph) > characters:
            break
        kept.append(paragraph)
        size += len(paragraph)
    whole = "\n\n".join(kept)
    if len(whole) <= characters:
        return whole
    end = whole.rfind(". ", 0, characters)
    return whole[: end + 1] if end > 0 else whole[:characters].rpartition(" ")[0]


def runs(text: str) -> Hashes:
    """A number for each run of ``RUN`` words; one for the whole text if it is shorter, and none below five words."""
    words = [zlib.crc32(word.encode("utf-8")) for word in _WORD.findall(text.lower())]
    if len(words) < 5:
        return np.empty(0, np.uint64)
    if len(words) < RUN:
        words += [0] * (RUN - len(words))
    windows = np.lib.stride_tricks.sliding_window_view(np.array(words, np.uint64), RUN)
    return np.asarray((windows * _FACTORS).sum(axis=1, dtype=np.uint64), dtype=np.uint64)


class Development:
    """What measures, as runs of words."""

    def __init__(self, texts: Iterable[str]) -> None:
        found = [runs(text) for text in texts]
        self._runs = np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)

    def __len__(self) -> int:
        return len(self._runs)

    def shares(self, text: str) -> bool:
        """Whether the text has a run of words that stands in a development set."""
        wanted = runs(text)
        if not len(wanted) or not len(self._runs):
            return False
        at = np.searchsorted(self._runs, wanted).clip(max=len(self._runs) - 1)
        return bool((self._runs[at] == wanted).any())

    @classmethod
    def of(cls, data: Path) -> Development:
        """Of the development files, and of the rows of other sets that are held out (``held_out``, MBPP below 601)."""
        return cls(_development_texts(data))


def _development_texts(data: Path) -> Iterator[str]:
    for name, fields in DEVELOPMENT.items():
        if (data / f"{name}.jsonl.xz").is_file():
            for row in rows(data, name):
                for field in fields:
                    value = row.get(field, "")
                    yield " ".join(value) if isinstance(value, list) else str(value)
    for name in ("sentiment/sentence_polarity_train", "sentiment/movie_reviews_train", "sentiment/pros_cons"):
        if (data / f"{name}.jsonl.xz").is_file():
            yield from (row["text"] for row in rows(data, name) if held_out(row["text"]))
    for language in ("es", "fr"):
        name = f"translation/python_docs_en_{language}"
        if (data / f"{name}.jsonl.xz").is_file():
            yield from (row["tgt"] for row in rows(data, name) if held_out(row["path"]))
    if (data / "code/mbpp.jsonl.xz").is_file():
        for row in rows(data, "code/mbpp"):
            if row["task_id"] < 601:
                yield row["text"]
                yield row["code"]
