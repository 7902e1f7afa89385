"""Text to vectors with an encoder model.

Texts -> ids -> sorted by length -> micro-batches of at most TOKENS tokens -> encode -> mean -> order of the texts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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
        return cls(config, params, pooling, tokenizer, side, name=folder.name, weights=weights.fingerprint())

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
        if isinstance(texts, str):
            raise InvalidSetting("texts", texts[:40], "give a list of texts")
        vectors = np.empty((len(texts), self.dimension), np.float32)
        done = 0
        for start in range(0, len(texts), WINDOW):
            ids = self._ids(texts[start : start + WINDOW], start, truncate)
            for batch in micro_batches([len(found) for found in ids]):
                packed = np.fromiter((token for index in batch for token in ids[index]), np.int32)
                cu_seqlens = np.zeros(len(batch) + 1, np.int32)
                np.cumsum([len(ids[index]) for index in batch], out=cu_seqlens[1:])
                states = encode(self._ops, self._config, self._params, packed, cu_seqlens)
                vectors[[start + index for index in batch]] = self._ops.mean_pool(states, cu_seqlens, normalize=True)
                done += len(batch)
                if on_progress is not None:
                    on_progress(done, len(texts))
        return vectors

    def count_tokens(self, text: str) -> int:
        """Tokens of the text itself; the model adds two special ones."""
        return self._tokenizer.count(text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The span of characters of each token of the text itself, in order."""
        return self._tokenizer.offsets(text)

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
