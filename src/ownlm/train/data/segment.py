"""A segment: some tens of megabytes of documents that were read, on disk, with a digest and a signature of each.

    STEM.texts   the texts in UTF-8, in order of their shuffle keys
    STEM.rows    an array of ROW, in the order in which the documents were read
    STEM.signs   uint32 [documents, PLACES]; STEM.bands uint64 [BANDS, documents]: only if near duplicates are sought

Rows are numbered across all segments, in the order of the sources and their files: that number is a document's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.train.data import minhash
from ownlm.train.data.keys import copy_key

SEGMENT_BYTES = 64 << 20
ROW = np.dtype([("digest", "<u8", 2), ("start", "<u8"), ("size", "<u8")])
"""BLAKE2b of the text (128 bits), and where its bytes are in STEM.texts."""

Rows = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Segment:
    """``source``: its rank. ``first``: the number of its first document."""

    stem: Path
    source: int
    documents: int
    bytes: int
    first: int = 0

    def rows(self) -> Rows:
        return np.load(self._file("rows"), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    def signs(self) -> minhash.U32:
        return np.load(self._file("signs"), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    def bands(self) -> minhash.U64:
        return np.load(self._file("bands"), mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]

    def texts(self) -> npt.NDArray[np.uint8]:
        return np.memmap(self._file("texts"), np.uint8, "r")

    def _file(self, kind: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}.{kind}")


def write_segment(stem: Path, source: int, texts: Sequence[bytes], seed: int, *, near: bool) -> Segment:
    """Write documents (none of them empty) as a segment."""
    digests = b"".join(hashlib.blake2b(text, digest_size=16).digest() for text in texts)
    rows = np.zeros(len(texts), ROW)
    rows["digest"] = np.frombuffer(digests, "<u8").reshape(-1, 2)
    rows["size"] = [len(text) for text in texts]
    order = np.argsort(copy_key(rows["digest"], 0, seed), kind="stable")
    ends = np.cumsum(rows["size"][order])
    rows["start"][order] = ends - rows["size"][order]
    found = Segment(stem, source, len(texts), int(ends[-1]))
    with found._file("texts").open("wb") as file:
        file.writelines(texts[rank] for rank in order)
    _save(found._file("rows"), rows)
    if near:
        signs = minhash.signatures(texts)
        _save(found._file("signs"), signs)
        _save(found._file("bands"), minhash.bands(signs))
    return found


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)


class Table:
    """The documents of all segments, by number. Files are mapped when they are first asked for."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        self.segments = list(segments)
        self.starts = np.array([segment.first for segment in segments], np.int64)
        self.documents = sum(segment.documents for segment in segments)
        self._mapped: dict[tuple[int, str], Any] = {}

    def mapped(self, rank: int, kind: str) -> Any:
        key = rank, kind
        if key not in self._mapped:
            self._mapped[key] = getattr(self.segments[rank], kind)()
        return self._mapped[key]

    def segment_of(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The rank of the segment that has each document."""
        return np.searchsorted(self.starts, numbers, "right") - 1

    def gather_signs(self, numbers: npt.NDArray[np.int64]) -> minhash.U32:
        """The signatures of these documents, ``[numbers, PLACES]``."""
        found = np.empty((len(numbers), minhash.PLACES), np.uint32)
        where = self.segment_of(numbers)
        for rank in np.unique(where).tolist():
            here = where == rank
            found[here] = self.mapped(rank, "signs")[numbers[here] - self.starts[rank]]
        return found
