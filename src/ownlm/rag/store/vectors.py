"""Dense search: int8 vectors of every chunk in one matrix, scanned exactly.

A vector is ``codes * scale`` with int8 codes and one fp32 scale a row, so that its largest component is 127.
An exact scan needs no index to build, to repair or to tune, up to some 3x10^5 vectors.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Ids = npt.NDArray[np.int64]


def quantize(vectors: Floats) -> tuple[Codes, Floats]:
    """``(codes int8 [n, d], scales float32 [n])`` of ``vectors`` [n, d]; a row of zeros has scale 0."""
    peaks = np.abs(vectors).max(axis=1, initial=0.0).astype(np.float32)
    scales = peaks / np.float32(127)
    divisors = np.where(scales > 0, scales, np.float32(1))
    return np.rint(vectors / divisors[:, None]).astype(np.int8), scales


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The vectors of one document, as of one generation of the store."""

    generation: int
    chunks: Ids
    codes: Codes
    scales: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Every vector of one encoder at one generation. Never changed once made, so any thread may scan it."""

    codes: Codes
    scales: Floats
    chunks: Ids
    ranges: dict[int, tuple[int, int]] = field(default_factory=dict)

    def nearest(self, query: Floats, limit: int, documents: Collection[int] | None = None) -> list[tuple[int, float]]:
        """``(chunk id, cosine)``, best first, for a unit vector ``query`` [d]; ties go by chunk id."""
        from ownlm import native

        codes, scales, chunks = self.codes, self.scales, self.chunks
        rows = None if documents is None else self._rows(documents)
        if rows is not None and len(rows) < len(chunks):
            codes, scales, chunks = codes[rows], scales[rows], chunks[rows]
        if limit <= 0 or not len(chunks):
            return []
        query_codes, query_scales = quantize(np.ascontiguousarray(query, dtype=np.float32)[None, :])
        scores = native.dot_i8(codes, query_codes[0]) * (scales * query_scales[0])
        best = np.arange(len(scores))
        if limit < len(scores):
            floor = np.partition(scores, len(scores) - limit)[len(scores) - limit]
            best = np.flatnonzero(scores >= floor)
        best = best[np.lexsort((chunks[best], -scores[best]))][:limit]
        return [(int(chunks[i]), float(scores[i])) for i in best]

    def _rows(self, documents: Collection[int]) -> npt.NDArray[np.intp]:
        ranges = sorted(self.ranges[document] for document in set(documents) if document in self.ranges)
        return np.concatenate([np.arange(a, b) for a, b in ranges]) if ranges else np.empty(0, np.intp)


class VectorIndex:
    """The matrix of this process, brought up to the store's generation before each search.

    Only documents that changed since are read again; the matrix is derived and may be dropped at any time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[int, str | None] | None = None
        self._generation = -1
        self._blocks: dict[int, Block] = {}
        self._matrix: Matrix | None = None

    def matrix(self, connection: sqlite3.Connection, dimension: int, fingerprint: str | None) -> Matrix:
        """The vectors of this dimension (and encoder) as ``connection``, in a read transaction, sees them."""
        with self._lock:
            generation = int(connection.execute("SELECT generation FROM state").fetchone()[0])
            key = (dimension, fingerprint)
            if self._matrix is None or self._key != key:
                self._blocks, self._key = {}, key
            elif generation == self._generation:
                return self._matrix
            self._matrix = self._refreshed(connection, dimension, fingerprint)
            self._generation = generation
            return self._matrix

    def _refreshed(self, connection: sqlite3.Connection, dimension: int, fingerprint: str | None) -> Matrix:
        current = dict(
            connection.execute(
                "SELECT documents.id, generation FROM documents JOIN vectors ON document_id = documents.id "
                "WHERE dimension = ? AND fingerprint = coalesce(?, fingerprint) ORDER BY documents.id",
                (dimension, fingerprint),
            ).fetchall()
        )
        held = self._blocks
        stale = [id for id, made in current.items() if id not in held or held[id].generation != made]
        fresh = self._read(connection, stale, current, dimension)
        blocks = {id: fresh[id] if id in fresh else held[id] for id in current}
        parts = list(blocks.values())
        matrix = Matrix(
            np.concatenate([block.codes for block in parts]) if parts else np.empty((0, dimension), np.int8),
            np.concatenate([block.scales for block in parts]) if parts else np.empty(0, np.float32),
            np.concatenate([block.chunks for block in parts]) if parts else np.empty(0, np.int64),
        )
        row = 0
        for id, block in blocks.items():  # the blocks become views, so that the old matrix can go
            low, row = row, row + len(block.chunks)
            matrix.ranges[id] = (low, row)
            blocks[id] = Block(block.generation, matrix.chunks[low:row], matrix.codes[low:row], matrix.scales[low:row])
        self._blocks = blocks
        return matrix

    @staticmethod
    def _read(
        connection: sqlite3.Connection, documents: list[int], generations: dict[int, int], dimension: int
    ) -> dict[int, Block]:
        wanted = (json.dumps(documents),)
        chunks: dict[int, list[int]] = {id: [] for id in documents}
        for document, chunk in connection.execute(
            "SELECT document_id, id FROM chunks WHERE document_id IN (SELECT value FROM json_each(?)) "
            "ORDER BY document_id, ordinal",
            wanted,
        ):
            chunks[document].append(chunk)
        return {
            document: Block(
                generations[document],
                np.array(chunks[document], np.int64),
                np.frombuffer(codes, np.int8).reshape(-1, dimension),
                np.frombuffer(scales, "<f4").astype(np.float32),
            )
            for document, codes, scales in connection.execute(
                "SELECT document_id, codes, scales FROM vectors WHERE document_id IN (SELECT value FROM json_each(?))",
                wanted,
            )
        }
