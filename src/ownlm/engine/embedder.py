"""Text to vectors with an encoder model.

Texts -> ids -> sorted by length -> micro-batches of at most TOKENS tokens -> encode -> mean -> order of the texts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm import hub
from ownlm.errors import CorruptModel, InvalidSetting
from ownlm.model import checkpoint
from ownlm.model import ops as sides
from ownlm.model.config import ModelConfig
from ownlm.model.encoder import encode
from ownlm.model.families import encoder_params
from ownlm.model.ops.base import Ops
from ownlm.model.params import EncoderParams
from ownlm.model.pooling import PoolingConfig
from ownlm.tokenizer import Tokenizer

# Tokens of a micro-batch: enough rows to use the matrix kernels fully, few enough that activations stay in the
# caches (docs/lab-notes.md has the curve).
TOKENS = 1024
# Texts tokenized and sorted at a time: bounds memory, and lets progress begin early.
WINDOW = 1024


class Embedder:
    """An encoder with its tokenizer. Any number of threads may call it.

    What is batched together changes a vector by no more than the last bits of float32.
    """

    def __init__(
        self,
        config: ModelConfig,
        params: EncoderParams,
        pooling: PoolingConfig,
        tokenizer: Tokenizer,
        side: Ops,
        *,
        name: str,
        weights: str,
    ) -> None:
        self.name = name
        self._config = config
        self._pooling = pooling
        self._tokenizer = tokenizer
        self._ops = side
        self._params = side.prepare(params)
        self.dimension = config.hidden_size
        self.max_length = pooling.max_length
        self.fingerprint = _fingerprint(config, pooling, tokenizer, weights)

    @classmethod
    def load(cls, model: str | Path | None = None, ops: str = "native") -> Embedder:
        """Load a model: None is the one that ships, else its name or a folder in the Hugging Face layout.

        ``ops`` is the side that computes. Raises NotFound, CorruptModel, UnsupportedModel, MissingExtra or
        InvalidSetting.
        """
        side = sides.load(ops)
        folder = hub.resolve(model)
        config = ModelConfig.load(folder)
        pooling = PoolingConfig.load(folder, config)
        tokenizer = Tokenizer.load(folder)
        if tokenizer.vocab_size > config.vocab_size:
            raise CorruptModel(
                f"{folder}: tokenizer.json has {tokenizer.vocab_size} ids, more than vocab_size {config.vocab_size}"
            )
        weights = checkpoint.load(folder)
        params = encoder_params(config, weights.tensors)
        return cls(config, params, pooling, tokenizer, side, name=folder.resolve().name, weights=weights.fingerprint())

    def encode(
        self,
        texts: Sequence[str],
        on_progress: Callable[[int, int], None] | None = None,
        *,
        truncate: bool = False,
    ) -> NDArray[np.float32]:
        """float32 [texts, dimension], each row of length 1, in the order of ``texts``.

        A text of more than ``max_length`` tokens (two of them special) raises InvalidSetting, unless ``truncate``
        asks to read its beginning alone. ``on_progress(done, total)`` counts texts.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        done = 0
        for indices, states, cu_seqlens in self._states(texts, truncate):
            vectors[indices] = self._ops.mean_pool(states, cu_seqlens, normalize=True)
            done += len(indices)
            if on_progress is not None:
                on_progress(done, len(texts))
        return vectors

    def encode_spans(
        self,
        texts: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        on_progress: Callable[[int, int], None] | None = None,
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The vectors that ``encode`` gives, and for each text float32 [spans, dimension]: each span read in its text.

        A span is characters ``start:end`` of its text; its vector is the normalised mean of the final states of the
        tokens that it meets (zeros when there is none), so that a sentence is read with what stands around it, at no
        cost beyond the forward pass that the whole text takes anyway ("late chunking", Guenther et al. 2024,
        arXiv:2409.04701). Raises as ``encode`` does.
        """
        if len(spans) != len(texts):
            raise InvalidSetting("spans", len(spans), f"give a list of spans for each of {len(texts)} texts")
        vectors = np.empty((len(texts), self.dimension), np.float32)
        found: list[NDArray[np.float32]] = [np.empty((0, self.dimension), np.float32)] * len(texts)
        done = 0
        for indices, states, cu_seqlens in self._states(texts, truncate=False):
            vectors[indices] = self._ops.mean_pool(states, cu_seqlens, normalize=True)
            rows = self._ops.numpy(states)
            for index, start, end in zip(indices, cu_seqlens[:-1], cu_seqlens[1:], strict=True):
                own = rows[start + 1 : end - 1]  # without the special tokens at either end
                found[index] = _pooled(own, self.token_spans(texts[index]), spans[index])
            done += len(indices)
            if on_progress is not None:
                on_progress(done, len(texts))
        return vectors, found

    def count_tokens(self, text: str) -> int:
        """Tokens of the text itself; the model adds two special ones."""
        return self._tokenizer.count(text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The span of characters of each token of the text itself, in order."""
        return self._tokenizer.offsets(text)

    def _states(self, texts: Sequence[str], truncate: bool) -> Iterator[tuple[list[int], Any, NDArray[np.int32]]]:
        """``(indices of texts, states [tokens, dimension], where each text's tokens begin and end)`` by micro-batch."""
        if isinstance(texts, str):
            raise InvalidSetting("texts", texts[:40], "give a list of texts")
        for start in range(0, len(texts), WINDOW):
            ids = self._ids(texts[start : start + WINDOW], start, truncate)
            for batch in micro_batches([len(found) for found in ids]):
                packed = np.fromiter((token for index in batch for token in ids[index]), np.int32)
                cu_seqlens = np.zeros(len(batch) + 1, np.int32)
                np.cumsum([len(ids[index]) for index in batch], out=cu_seqlens[1:])
                states = encode(self._ops, self._config, self._params, packed, cu_seqlens)
                yield [start + index for index in batch], states, cu_seqlens

    def _ids(self, texts: Sequence[str], first: int, truncate: bool) -> list[list[int]]:
        ids = self._tokenizer.encode_batch(texts, self.max_length if truncate else None)
        for index, found in enumerate(ids):
            if len(found) > self.max_length:
                raise InvalidSetting(
                    f"text {first + index}",
                    texts[index][:40] + "...",
                    f"it has {len(found)} tokens of at most {self.max_length}: split it, or ask to truncate it",
                )
        return ids


def _pooled(
    states: NDArray[np.float32], tokens: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> NDArray[np.float32]:
    """float32 [spans, dimension]: the normalised means of the states of the tokens that each span meets."""
    pooled = np.zeros((len(spans), states.shape[1]), np.float32)
    starts = np.array([start for start, _ in tokens], np.int64)
    ends = np.array([end for _, end in tokens], np.int64)
    for row, (start, end) in enumerate(spans):
        # Tokens are in order, so those that meet the span are neighbours.
        first, last = int(np.searchsorted(ends, start, "right")), int(np.searchsorted(starts, end, "left"))
        if first < last:
            mean = states[first:last].mean(axis=0)
            pooled[row] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return pooled


def micro_batches(lengths: Sequence[int], tokens: int = TOKENS) -> Iterator[list[int]]:
    """Indices in order of falling length, in groups of at most ``tokens`` tokens (or of one text that is longer).

    >>> list(micro_batches([3, 9, 1, 2], tokens=10))
    [[1], [0, 3, 2]]
    """
    batch: list[int] = []
    size = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and size + lengths[index] > tokens:
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += lengths[index]
    if batch:
        yield batch


def _fingerprint(config: ModelConfig, pooling: PoolingConfig, tokenizer: Tokenizer, weights: str) -> str:
    """Hex SHA-256 of all that decides a vector: equal fingerprints mean vectors that may be compared."""
    stated = {
        "config": dataclasses.asdict(config),
        "pooling": dataclasses.asdict(pooling),
        "tokenizer": tokenizer.sha256,
        "weights": weights,
    }
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
