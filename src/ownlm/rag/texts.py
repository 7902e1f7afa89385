"""Documents that are not files: texts at hand are chunked, embedded and put into a store as files are.

For benchmarks, recipes and tests; a person's files come in through ``sync``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from ownlm.rag import chunk
from ownlm.rag.language import is_known
from ownlm.rag.sentences import sentences
from ownlm.rag.store import FileState, Store, Version
from ownlm.rag.sync_work import Encoder, recipe
from ownlm.rag.types import Chunk, Extracted


def put_texts(store: Store, embedder: Encoder, documents: Iterable[tuple[str, Extracted]]) -> list[int]:
    """Put ``(name, text)`` documents into the store, all embedded together; their ids, in order."""
    named = list(documents)
    found = [chunk.chunks(extracted, embedder) for _, extracted in named]
    cut: list[list[list[tuple[int, int]]]] = []
    texts: list[str] = []
    spans: list[list[tuple[int, int]]] = []
    for (_, extracted), pieces in zip(named, found, strict=True):
        cut.append([sentences(extracted.text, piece.start, piece.end) for piece in pieces])
        for piece, inside in zip(pieces, cut[-1], strict=True):
            body = extracted.text[piece.start : piece.end]
            text = chunk.embedded_text(extracted.title, piece.heading, body, embedder)
            shift = len(text) - piece.end  # the chunk ends what is embedded
            texts.append(text)
            spans.append([(start + shift, end + shift) for start, end in inside])
    vectors, sentence_vectors = embedder.encode_spans(texts, spans)
    ids, at = [], 0
    for (name, extracted), pieces, inside_all in zip(named, found, cut, strict=True):
        low, at = at, at + len(pieces)
        raw = extracted.text.encode()
        ids.append(
            store.put(
                Version(
                    name=name,
                    state=FileState(len(raw), 0, 0),
                    sha256=hashlib.sha256(raw).hexdigest(),
                    extracted=extracted,
                    chunks=pieces,
                    vectors=vectors[low:at],
                    fingerprint=embedder.fingerprint,
                    recipe=recipe(embedder),
                    foreign=_foreign(extracted, pieces),
                    sentences=inside_all,
                    sentence_vectors=sentence_vectors[low:at],
                )
            )
        )
    return ids


def _foreign(extracted: Extracted, pieces: Sequence[Chunk]) -> list[bool]:
    return [not is_known(extracted.text[piece.start : piece.end]) for piece in pieces]
