"""Token shards: files of little-endian ids, each document followed by the separator; written in order, read mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ownlm.errors import InvalidData
from ownlm.train.data.manifest import AGAIN, Manifest, ShardFile

Ids = npt.NDArray[Any]
SHARD_TOKENS = 1 << 26
"""A shard is closed with the document that reaches so many tokens: 128 MiB as uint16."""


def dtype_for(vocab_size: int) -> str:
    """The smallest type that holds every id.

    >>> dtype_for(65536), dtype_for(65537)
    ('uint16', 'uint32')
    """
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


class ShardWriter:
    """Writes the shards of one split, ``SPLIT-00000.bin`` and on. ``finish`` returns what the manifest lists.

    The files are complete only after ``finish``: write into a folder that gets its name afterwards.
    """

    def __init__(self, folder: Path, split: str, dtype: str, separator: int, *, limit: int = SHARD_TOKENS) -> None:
        self._folder, self._split, self._limit = folder, split, limit
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._separator = separator
        self._done: list[ShardFile] = []
        self._file: IO[bytes] | None = None
        self._open_counts()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def document(self, ids: Sequence[int] | Ids, text_bytes: int) -> None:
        """Append one document; the separator is added."""
        self.documents(np.append(np.asarray(ids, self._dtype), [self._separator]), [len(ids) + 1], [text_bytes])

    def documents(self, ids: Ids, lengths: Sequence[int], text_bytes: Sequence[int]) -> None:
        """Append documents that lie one after another in ``ids``, separators included, as ``lengths`` say."""
        ids = np.ascontiguousarray(ids, self._dtype)
        start = end = 0
        for length, size in zip(lengths, text_bytes, strict=True):
            end += length
            self._tokens += length
            self._documents += 1
            self._bytes += size
            if self._tokens >= self._limit:
                self._write(ids[start:end])
                self._close()
                start = end
        self._write(ids[start:end])

    def finish(self) -> list[ShardFile]:
        """Close the last file."""
        self._close()
        return self._done

    def _open_counts(self) -> None:
        self._tokens = self._documents = self._bytes = 0
        self._hash = hashlib.sha256()

    def _write(self, ids: Ids) -> None:
        if not len(ids):
            return
        if self._file is None:
            self._file = (self._folder / self._name()).open("wb")
        data = ids.tobytes()
        self._hash.update(data)
        self._file.write(data)

    def _name(self) -> str:
        return f"{self._split}-{len(self._done):05}.bin"

    def _close(self) -> None:
        if self._file is None:
            return
        self._file.close()
        self._file = None
        name = self._name()
        self._done.append(ShardFile(name, self._tokens, self._documents, self._bytes, self._hash.hexdigest()))
        self._open_counts()


def open_shards(folder: Path, manifest: Manifest, split: str) -> list[Ids]:
    """The split's ids, memory-mapped, one array a file. Raises InvalidData if a file is missing or of another size."""
    dtype = np.dtype(manifest.dtype).newbyteorder("<")
    found: list[Ids] = []
    for shard in manifest.splits.get(split, []):
        path = folder / shard.file
        size = path.stat().st_size if path.is_file() else -1
        if size != shard.tokens * dtype.itemsize:
            state = "is not there" if size < 0 else f"has {size} bytes"
            wanted = shard.tokens * dtype.itemsize
            raise InvalidData(path, f"{state}, the manifest says {wanted} bytes", AGAIN)
        found.append(np.memmap(path, dtype, "r"))
    return found


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every byte and compare with the manifest's hashes, separators and ids. Raises InvalidData."""
    for split, shards in manifest.splits.items():
        for shard, ids in zip(shards, open_shards(folder, manifest, split), strict=True):
            digest, separators, largest = hashlib.sha256(), 0, 0
            for start in range(0, len(ids), 1 << 22):
                piece = ids[start : start + (1 << 22)]
                digest.update(piece.tobytes())
                separators += int(np.count_nonzero(piece == manifest.separator))
                largest = max(largest, int(piece.max()))
            facts = (digest.hexdigest() == shard.sha256, separators == shard.documents, largest < manifest.vocab_size)
            for fact, what in zip(facts, ("bytes", "counts of documents", "ids"), strict=True):
                if not fact:
                    raise InvalidData(folder / shard.file, f"has other {what} than the manifest says", AGAIN)
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file() or hashlib.sha256(tokenizer.read_bytes()).hexdigest() != manifest.tokenizer_sha256:
        raise InvalidData(tokenizer, "is not the tokenizer that the shards were made with", AGAIN)
