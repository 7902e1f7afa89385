"""Looking texts up in a training corpus that is larger than memory: one pass over it, whatever is looked for.

Runs of words:   each run of SEED words of the texts is remembered; where a document has one, the run is followed for as
                 long as both go on alike. White space does not count, everything else does.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from ownlm.train.data.readers import NotText, documents
from ownlm.train.data.source import Source

SEED = 6
"""Words of the shortest run that is found."""
OnDocument = Callable[[int], None]


def corpus_texts(paths: Sequence[Path], on_document: OnDocument | None = None) -> Iterator[str]:
    """The documents of files and folders, as ``ownlm data build`` reads them; ``on_document(count)`` after each.

    Files in a folder that are no text are left out, as there. Raises NotFound, InvalidData, MissingExtra.
    """
    count = 0
    for path, source in _sources(paths):
        for file in source.files():
            try:
                for text, _ in documents(file, source):
                    yield text
                    count += 1
                    if on_document is not None:
                        on_document(count)
            except NotText:
                if not path.is_dir():
                    raise


def check_corpus(paths: Sequence[Path]) -> None:
    """Raise NotFound, before anything is measured, where there is nothing to read."""
    for _, source in _sources(paths):
        source.files()


class Lookup:
    """``longest[i]``: words of the longest run that text i shares with a document, 0 if shorter than SEED; ``runs[i]``:
    that run. ``there``: which of the strings stand in a document."""

    def __init__(self, texts: Sequence[str], strings: Iterable[str] = ()) -> None:
        self._texts = [text.split() for text in texts]
        self._wanted = set(strings)
        self.longest = [0] * len(texts)
        self.runs = [""] * len(texts)
        self.there: set[str] = set()
        self._seeds: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for number, words in enumerate(self._texts):
            for at, run in enumerate(_runs(words)):
                self._seeds.setdefault(run, []).append((number, at))

    def read(self, document: str) -> None:
        """Look everything up in one document."""
        found = {string for string in self._wanted if string in document}
        self.there |= found
        self._wanted -= found
        words = document.split()
        for at, run in enumerate(_runs(words)):
            for number, place in self._seeds.get(run, ()):
                said = self._texts[number]
                if at and place and words[at - 1] == said[place - 1]:
                    continue  # followed from further left already
                length = SEED
                while (
                    at + length < len(words)
                    and place + length < len(said)
                    and words[at + length] == said[place + length]
                ):
                    length += 1
                if length > self.longest[number]:
                    self.longest[number] = length
                    self.runs[number] = " ".join(said[place : place + length])


def windows(texts: Iterable[str], count: int, characters: int) -> Iterator[str]:
    """Keep ``count`` stretches of so many characters, of documents chosen by hash, then yield them in that order.

    One of each document that is long enough; equal corpora give equal stretches, in whatever order they are read.
    """
    kept: list[tuple[int, str]] = []
    for text in texts:
        if len(text) < characters:
            continue
        digest = sha256(text.encode("utf-8", "replace")).digest()
        place = int.from_bytes(digest[8:16], "big") % (len(text) - characters + 1)
        entry = (-int.from_bytes(digest[:8], "big"), text[place : place + characters])
        if entry in kept:
            continue
        if len(kept) < count:
            heapq.heappush(kept, entry)
        elif entry > kept[0]:
            heapq.heapreplace(kept, entry)
    yield from (stretch for _, stretch in sorted(kept, reverse=True))


def _sources(paths: Sequence[Path]) -> list[tuple[Path, Source]]:
    return [(path, Source(path.name or str(path), path)) for path in paths]


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[at:] for at in range(SEED)), strict=False)
