"""Looking texts up in a training corpus that is larger than memory: one pass over it, whatever is looked for.

Runs of words:   each run of SEED words of the texts is remembered; where a document has one, the run is followed for as
                 long as both go on alike. White space does not count, everything else does.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from ownlm.tokenizer import Tokenizer
from ownlm.train.data.manifest import NAME
from ownlm.train.data.manifest import load as load_manifest
from ownlm.train.data.readers import NotText, documents
from ownlm.train.data.shards import open_shards
from ownlm.train.data.source import Source

SEED = 6
"""Words of the shortest run that is found."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text that a model was trained on: files and folders of text, as ``ownlm data build`` reads them (``field``: where
    the text is in rows of JSONL and Parquet), and folders of token shards, of which the training part is read.

    Files in a folder of text that are no text are left out, as there.
    """

    paths: tuple[Path, ...] = ()
    field: str = "text"

    def check(self) -> None:
        """Raise NotFound or InvalidData, before anything is measured, where there is nothing to read."""
        for path in self.paths:
            if _is_shards(path):
                open_shards(path, load_manifest(path), "train")
            else:
                self._source(path).files()

    def texts(self) -> Iterator[str]:
        """The documents. Raises NotFound, InvalidData, MissingExtra."""
        for path in self.paths:
            yield from _shard_texts(path) if _is_shards(path) else self._file_texts(path)

    def _file_texts(self, path: Path) -> Iterator[str]:
        source = self._source(path)
        for file in source.files():
            try:
                yield from (text for text, _ in documents(file, source))
            except NotText:
                if not path.is_dir():
                    raise

    def _source(self, path: Path) -> Source:
        return Source(path.name or str(path), path, text=self.field)


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


def _is_shards(path: Path) -> bool:
    return (path / NAME).is_file()


def _shard_texts(folder: Path) -> Iterator[str]:
    manifest, tokenizer = load_manifest(folder), Tokenizer.load(folder)
    for ids in open_shards(folder, manifest, "train"):
        start = 0
        for end in np.flatnonzero(ids == manifest.separator).tolist():
            yield tokenizer.decode(ids[start:end].tolist())
            start = end + 1


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[at:] for at in range(SEED)), strict=False)
