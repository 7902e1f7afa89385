"""Other words for a word, from WordNet (Princeton licence; Debian package ``wordnet-base``), to reword questions."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = Path("/usr/share/wordnet")
PARTS = ("noun", "verb", "adj", "adv")


class Synonyms:
    """Looks up the other words of a word's first sense of each part of speech."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._index: dict[str, list[tuple[str, int]]] = {}
        self._data = {part: (folder / f"data.{part}").read_bytes() for part in PARTS}
        for part in PARTS:
            for line in (folder / f"index.{part}").read_text().splitlines():
                if line.startswith(" "):
                    continue
                fields = line.split()
                count, pointers = int(fields[2]), int(fields[3])
                offsets = fields[6 + pointers :][: min(count, 1)]
                self._index.setdefault(fields[0], []).extend((part, int(offset)) for offset in offsets)

    @cache  # noqa: B019
    def of(self, word: str) -> tuple[str, ...]:
        """Other words, of the word itself or of its plain form."""
        for form in _forms(word.lower()):
            if form in self._index:
                found = []
                for part, offset in self._index[form]:
                    fields = self._data[part][offset : offset + 2000].split(b"\n")[0].decode().split()
                    found += [w.split("(")[0].replace("_", " ") for w in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]
                return tuple(dict.fromkeys(w for w in found if w.lower() != form and w.islower()))
        return ()


def _forms(word: str) -> list[str]:
    forms = [word]
    if word.endswith("ies"):
        forms.append(word[:-3] + "y")
    for end in ("s", "es", "ed", "d", "ing"):
        if word.endswith(end) and len(word) > len(end) + 2:
            forms.append(word[: -len(end)])
            if end == "ing":
                forms.append(word[:-3] + "e")
    return forms
