"""The order of the corpus: every copy of every kept document by its key, in buckets that fit into memory.

    bucket      0            1            2        ...  one file of ENTRY each, for each split
    keys    [0, 2^64/n)  [2^64/n, ...)                  sorted when the bucket is read

A document's key comes from its text, the seed and the copy's rank, so how many buckets there are changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.train.data import keys
from ownlm.train.data.duplicates import KEPT, LEFT_OUT, States
from ownlm.train.data.segment import Segment, Table
from ownlm.train.data.source import BuildSettings, Source

ENTRY = np.dtype([("key", "<u8"), ("number", "<u8")])
MOST_BUCKETS = 512
SPLITS = ("train", "valid")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A file of entries; ``rank`` is its place in the order of its split."""

    split: str
    rank: int
    path: Path

    def entries(self) -> npt.NDArray[Any]:
        """Sorted. Copies of like texts that share a key stand in the order of their numbers."""
        found = np.fromfile(self.path, ENTRY) if self.path.exists() else np.empty(0, ENTRY)
        return found[np.lexsort((found["number"], found["key"]))]

    def texts(self, segments: Sequence[Segment]) -> Iterator[tuple[int, bytes]]:
        """(rank of the segment, text) of each entry in order."""
        table = Table(segments)
        numbers = self.entries()["number"].astype(np.int64)
        where = table.segment_of(numbers)
        for segment, row in zip(where.tolist(), (numbers - table.starts[where]).tolist(), strict=True):
            found = table.mapped(segment, "rows")[row]
            start, size = int(found["start"]), int(found["size"])
            yield segment, table.mapped(segment, "texts")[start : start + size].tobytes()


class Plan:
    """Writes the buckets. ``made`` counts the entries of each split."""

    def __init__(self, table: Table, states: States, sources: Sequence[Source], settings: BuildSettings) -> None:
        self._table, self._states, self._sources, self._settings = table, states, sources, settings
        whole = any(source.split == "valid" for source in sources)
        self._least, self._most = (-1.0, 2.0) if whole or not settings.valid else self._extremes()
        self.made = dict.fromkeys(SPLITS, 0)

    def write(self, folder: Path) -> list[Bucket]:
        """Choose each document's split and copies, mark what a weight below 1 leaves out, and write the entries."""
        size = sum(segment.bytes * self._sources[segment.source].weight for segment in self._table.segments)
        count = min(MOST_BUCKETS, 1 << max(0, math.ceil(math.log2(max(1, size / self._settings.bucket_bytes)))))
        buckets = {
            split: [Bucket(split, rank, folder / f"{split}-{rank:04}.plan") for rank in range(count)]
            for split in SPLITS
        }
        for rank, segment in enumerate(self._table.segments):
            for split, entries in zip(SPLITS, self._entries(rank, segment), strict=True):
                self.made[split] += len(entries)
                bounds = np.searchsorted(entries["key"], _bounds(count))
                for bucket, start, end in zip(buckets[split], bounds, [*bounds[1:], len(entries)], strict=True):
                    if end > start:
                        with bucket.path.open("ab") as file:
                            file.write(entries[start:end].tobytes())
        return [bucket for split in SPLITS for bucket in buckets[split]]

    def _entries(self, rank: int, segment: Segment) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        source, seed = self._sources[segment.source], self._settings.seed
        digests = self._table.mapped(rank, "rows")["digest"]
        states = self._states[segment.first : segment.first + segment.documents]
        kept = np.flatnonzero(states == KEPT)
        digest = digests[kept]
        copies = int(source.weight) + (keys.weight_draw(digest, seed) < source.weight % 1)
        drawn = keys.valid_draw(digest, seed)
        valid = ((drawn < self._settings.valid) | (drawn <= self._least)) & (drawn < self._most)
        if source.split == "valid":
            valid[:] = True
        elif any(other.split == "valid" for other in self._sources):
            valid[:] = False
        copies[valid] = np.minimum(copies[valid], 1)
        states[kept[copies == 0]] = LEFT_OUT
        parts = []
        for taken in (~valid, valid):
            found = []
            for copy in range(int(copies[taken].max(initial=0))):
                here = taken & (copies > copy)
                entries = np.empty(np.count_nonzero(here), ENTRY)
                entries["key"] = keys.copy_key(digest[here], copy, seed)
                entries["number"] = kept[here] + segment.first
                found.append(entries)
            joined = np.concatenate(found) if found else np.empty(0, ENTRY)
            parts.append(joined[np.argsort(joined["key"], kind="stable")])
        return parts[0], parts[1]

    def _extremes(self) -> tuple[float, float]:
        """What is drawn least and most: of different documents one is set aside and one is not, however few."""
        least, most = 1.0, 0.0
        for rank, segment in enumerate(self._table.segments):
            source = self._sources[segment.source]
            digests = self._table.mapped(rank, "rows")["digest"]
            alive = self._states[segment.first : segment.first + segment.documents] == KEPT
            if source.weight < 1:
                alive = alive & (keys.weight_draw(digests, self._settings.seed) < source.weight)
            draws = keys.valid_draw(digests[alive], self._settings.seed)
            least, most = min(least, draws.min(initial=1.0)), max(most, draws.max(initial=0.0))
        return float(least), float(most)


def _bounds(count: int) -> npt.NDArray[np.uint64]:
    return np.array([(rank << 64) // count for rank in range(count)], np.uint64)
