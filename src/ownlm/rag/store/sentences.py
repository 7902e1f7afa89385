"""The sentences of chunks and their vectors, as the encoder read them with the chunk around them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ownlm.rag.store.vectors import Codes, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Sentences:
    """A chunk's sentences: ``spans`` in the document, and vectors ``codes * scales`` [sentences, dimension]."""

    spans: tuple[tuple[int, int], ...]
    codes: Codes
    scales: Floats

    def cosines(self, query: Floats) -> Floats:
        """float32 [sentences]: the cosine of each sentence and a unit vector [dimension]."""
        cosines: Floats = (self.codes.astype(np.float32) @ query) * self.scales
        return cosines


def read(connection: sqlite3.Connection, chunk_ids: Sequence[int]) -> dict[int, Sentences]:
    """By chunk id; a chunk without any is left out."""
    rows = connection.execute(
        "SELECT chunk_id, spans, codes, scales FROM sentences WHERE chunk_id IN (SELECT value FROM json_each(?))",
        (json.dumps([int(id) for id in chunk_ids]),),
    )
    found = {}
    for id, spans, codes, scales in rows:
        pairs = np.frombuffer(spans, "<i4").reshape(-1, 2).tolist()
        if pairs:
            found[int(id)] = Sentences(
                tuple((int(start), int(stop)) for start, stop in pairs),
                np.frombuffer(codes, np.int8).reshape(len(pairs), -1),
                np.frombuffer(scales, "<f4").astype(np.float32),
            )
    return found
