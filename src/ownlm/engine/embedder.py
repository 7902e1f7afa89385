"""Text to vectors with an encoder model.

Texts -> ids -> sorted by length -> micro-batches of at most TOKENS tokens -> encode -> mean -> order of the texts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm import hub
from ownlm.engine.batching import micro_batches, pool_spans
from ownlm.errors import CorruptModel, InvalidSetting
from ownlm.model import checkpoint
from ownlm.model import ops as sides
from ownlm.model.config import BertConfig
from ownlm.model.encoder import encode
from ownlm.model.families import encoder_params
from ownlm.model.ops.base import Ops
from ownlm.model.params import EncoderParams, Handle
from ownlm.model.pooling import PoolingConfig
from ownlm.tokenizer import Tokenizer

# Texts tokenized and sorted at a time: bounds memory, and lets progress begin early.
WINDOW = 1024
# What loading does not compare with SHA256SUMS: weights carry their own checksum, prose may be edited.
_NOT_COMPARED = (checkpoint.SINGLE, "README.md", "NOTICE", "LICENSE")


class Embedder:
    """An encoder with its tokenizer. Any number of threads may call it.

    What else is in a batch does not change a vector (native side: to the last bit).
    """

    def __init__(
        self,
        config: BertConfig,
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
        if (folder / hub.SUMS).is_file():
            hub.verify(folder, leave_out=_NOT_COMPARED)
        config = BertConfig.load(folder)
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
        _check_list(texts)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        done = 0
        for first in range(0, len(texts), WINDOW):
            window = texts[first : first + WINDOW]
            ids = self._tokenizer.encode_batch(window, self.max_length if truncate else None)
            self._check_lengths(window, ids, first)
            for batch, states, cu_seqlens in self._forward(ids):
                vectors[first + np.array(batch)] = self._ops.mean_pool(states, cu_seqlens, normalize=True)
                done += len(batch)
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
        _check_list(texts)
        if len(spans) != len(texts):
            raise InvalidSetting("spans", len(spans), f"give a list of spans for each of {len(texts)} texts")
        vectors = np.empty((len(texts), self.dimension), np.float32)
        found: list[NDArray[np.float32]] = [np.empty((0, self.dimension), np.float32)] * len(texts)
        done = 0
        for first in range(0, len(texts), WINDOW):
            window = texts[first : first + WINDOW]
            encodings = self._tokenizer.encode_batch_with_offsets(window)
            self._check_lengths(window, [ids for ids, _ in encodings], first)
            for batch, states, cu_seqlens in self._forward([ids for ids, _ in encodings]):
                vectors[first + np.array(batch)] = self._ops.mean_pool(states, cu_seqlens, normalize=True)
                rows = self._ops.numpy(states)
                for index, start, end in zip(batch, cu_seqlens[:-1], cu_seqlens[1:], strict=True):
                    found[first + index] = pool_spans(rows[start:end], encodings[index][1], spans[first + index])
                done += len(batch)
                if on_progress is not None:
                    on_progress(done, len(texts))
        return vectors, found

    def count_tokens(self, text: str) -> int:
        """Tokens of the text itself; the model adds two special ones."""
        return self._tokenizer.count(text)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The span of characters of each token of the text itself, in order."""
        return self._tokenizer.offsets(text)

    def _forward(self, ids: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Handle, NDArray[np.int32]]]:
        """(indices of texts, final states [tokens, dimension], cu_seqlens) of one micro-batch after another."""
        for batch in micro_batches([len(found) for found in ids]):
            packed = np.fromiter(itertools.chain.from_iterable(ids[index] for index in batch), np.int32)
            cu_seqlens = np.zeros(len(batch) + 1, np.int32)
            np.cumsum([len(ids[index]) for index in batch], out=cu_seqlens[1:])
            yield batch, encode(self._ops, self._config, self._params, packed, cu_seqlens), cu_seqlens

    def _check_lengths(self, texts: Sequence[str], ids: Sequence[Sequence[int]], first: int) -> None:
        for index, found in enumerate(ids):
            if len(found) > self.max_length:
                raise InvalidSetting(
                    f"text {first + index}",
                    texts[index][:40] + "...",
                    f"it has {len(found)} tokens of at most {self.max_length}: split it, or ask to truncate it",
                )


def _check_list(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InvalidSetting("texts", texts[:40], "give a list of texts")


def _fingerprint(config: BertConfig, pooling: PoolingConfig, tokenizer: Tokenizer, weights: str) -> str:
    """Hex SHA-256 of all that decides a vector: equal fingerprints mean vectors that may be compared."""
    stated = {
        "config": dataclasses.asdict(config),
        "pooling": dataclasses.asdict(pooling),
        "tokenizer": tokenizer.sha256,
        "weights": weights,
    }
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
