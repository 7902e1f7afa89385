"""Buckets of text to ids: the task that takes most of a build's time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.errors import InvalidSetting
from ownlm.tokenizer.bpe import SEPARATOR
from ownlm.tokenizer.tokenizer import Tokenizer
from ownlm.tokenizer.words import WordEncoder
from ownlm.train.data.segment import Segment
from ownlm.train.data.shuffle import Bucket

BATCH_BYTES = 1 << 20
PART_TOKENS = 1 << 22
DOCUMENT = np.dtype([("tokens", "<u4"), ("bytes", "<u4"), ("source", "<u4")])


@dataclass(frozen=True, slots=True)
class Encoded:
    """A bucket as ids: STEM.ids, separators included, and STEM.documents, an array of DOCUMENT."""

    stem: Path
    dtype: str

    def parts(self) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
        """(ids, documents), some megabytes at a time."""
        documents = np.fromfile(self._file("documents"), DOCUMENT)
        with self._file("ids").open("rb") as file:
            places = np.cumsum(documents["tokens"], dtype=np.int64) // PART_TOKENS
            for part in np.split(documents, np.flatnonzero(np.diff(places)) + 1):
                yield np.fromfile(file, np.dtype(self.dtype).newbyteorder("<"), int(part["tokens"].sum())), part

    def remove(self) -> None:
        for kind in ("ids", "documents"):
            self._file(kind).unlink()

    def _file(self, kind: str) -> Path:
        return self.stem.with_name(f"{self.stem.name}.{kind}")


@dataclass(frozen=True, slots=True)
class Encode:
    """A task: the ids of a bucket's texts, each followed by the separator. Text never spells a special token."""

    segments: Sequence[Segment]
    tokenizer: Path
    dtype: str

    def __call__(self, bucket: Bucket) -> Encoded:
        encoder, separator = _encoder(self.tokenizer)
        found = Encoded(bucket.path.with_suffix(""), self.dtype)
        kind = np.dtype(self.dtype).newbyteorder("<")
        with found._file("ids").open("wb") as ids, found._file("documents").open("wb") as documents:
            for batch in _batches(bucket.texts(self.segments)):
                encoded = encoder.encode_batch([text.decode() for _, text in batch])
                rows = np.empty(len(batch), DOCUMENT)
                rows["tokens"] = [len(one) + 1 for one in encoded]
                rows["bytes"] = [len(text) for _, text in batch]
                rows["source"] = [self.segments[segment].source for segment, _ in batch]
                flat = np.full(int(rows["tokens"].sum()), separator, kind)
                end = 0
                for one in encoded:
                    flat[end : end + len(one)] = one
                    end += len(one) + 1
                ids.write(flat.tobytes())
                documents.write(rows.tobytes())
        return found


def separator_of(tokenizer: Tokenizer) -> int:
    """The id that ends a document. Raises InvalidSetting if the tokenizer has none."""
    found = tokenizer.id_of(SEPARATOR)
    if found is None:
        found = tokenizer.eos_id
    if found is None:
        raise InvalidSetting(
            "tokenizer", "without a token that ends a text", f"give one with {SEPARATOR} or an eos_token"
        )
    return found


@lru_cache(maxsize=2)
def _encoder(folder: Path) -> tuple[WordEncoder, int]:
    tokenizer = Tokenizer.load(folder)
    return WordEncoder(tokenizer.literal(tokenizer.added_ids)), separator_of(tokenizer)


def _batches(texts: Iterator[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    batch: list[tuple[int, bytes]] = []
    size = 0
    for found in texts:
        batch.append(found)
        size += len(found[1])
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
