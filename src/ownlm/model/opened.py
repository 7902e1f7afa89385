"""A decoder ready to compute: weights prepared by a side of ``ops``, a paged cache, and its forward compiled."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.model import memory
from ownlm.model import ops as sides
from ownlm.model.batch import Batch
from ownlm.model.cache_key import cache_key
from ownlm.model.checkpoint import Checkpoint
from ownlm.model.decoder import decode
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.footprint import footprint
from ownlm.model.ops.base import Ops
from ownlm.model.params import DecoderParams

Ids = NDArray[np.int32]
Logits = NDArray[np.float32]
WINDOW = 256
"""Tokens that are read together where a text is measured, each predicted from those before it."""


class OpenDecoder:
    """The cache has ``blocks`` of ``block_size`` tokens for all texts together. ``prepared``: ``params`` are what
    ``ops.prepare`` gave; the attribute always is. ``weights_key`` gives a name that no other weights have; it is called
    when ``cache_key`` is first asked for."""

    def __init__(
        self,
        ops: Ops,
        config: DecoderConfig,
        params: DecoderParams,
        *,
        blocks: int,
        block_size: int = memory.BLOCK_SIZE,
        prepared: bool = False,
        weights_key: Callable[[], str] = str,
    ) -> None:
        self._weights_key = weights_key
        self.config, self.blocks, self.block_size = config, blocks, block_size
        self.ops = ops
        tree = self.params = params if prepared else ops.prepare(params)
        heads, size = config.num_key_value_heads, config.head_dim
        layers = max(1, config.num_hidden_layers)  # a model that is cut short to be looked at may have none
        cache = self._cache = ops.kv_cache(layers, heads, size, blocks, block_size)
        self._step = ops.compile(lambda batch: decode(ops, config, tree, batch, cache))

    def step(self, batch: Batch) -> Logits:
        """float32 [R, vocab_size]: logits at ``batch.rows``."""
        return self._step(batch)

    def read(self, ids: Ids) -> Logits:
        """float32 [T, vocab_size]: logits at every token of one text, read from its beginning in one step; what the
        cache held is overwritten. T is at most ``blocks * block_size``."""
        places = np.arange(len(ids), dtype=np.int32)
        return self._step(
            Batch(
                ids=np.ascontiguousarray(ids, np.int32),
                positions=places,
                cu_seqlens=np.array([0, len(ids)], np.int32),
                lengths=np.array([len(ids)], np.int32),
                block_tables=np.arange(self.blocks, dtype=np.int32)[None],
                slots=places,
                rows=places,
            )
        )

    @functools.cached_property
    def cache_key(self) -> str:
        """What the bytes of blocks mean: equal keys, equal bytes for equal tokens. "" if the weights have no name."""
        arithmetic = f"native {native.isa()}" if self.ops.name == "native" else self.ops.name
        return cache_key(self._weights_key(), self.config, arithmetic, self.ops.cache_format, self.block_size)

    @property
    def block_bytes(self) -> int:
        """Bytes of one block of the cache, in all layers."""
        return self.ops.block_bytes(self._cache)

    def read_blocks(self, ids: Sequence[int]) -> NDArray[np.uint8]:
        """uint8 [N, block_bytes]: what the blocks hold; between steps."""
        return self.ops.read_blocks(self._cache, np.array(ids, np.int32))

    def write_blocks(self, ids: Sequence[int], data: NDArray[np.uint8]) -> None:
        """Put into the blocks what ``read_blocks`` gave under the same ``cache_key``; between steps."""
        self.ops.write_blocks(self._cache, np.array(ids, np.int32), data)

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy blocks, (from, to), in every layer."""
        self.ops.copy_blocks(self._cache, np.array(pairs, np.int32).reshape(-1, 2))


def window_of(config: DecoderConfig) -> int:
    """How long the windows are in which a model reads a text: ``WINDOW``, or all that it was made for."""
    return min(WINDOW, config.max_position_embeddings)


def windows(ids: Sequence[int], length: int) -> list[Ids]:
    """A text in parts of ``length`` + 1 at most. Neighbours share one token: the last of one is the first of the next,
    so that each token but the first is predicted once.

    >>> [part.tolist() for part in windows([1, 2, 3, 4, 5], 2)]
    [[1, 2, 3], [3, 4, 5]]
    """
    return [np.array(ids[start : start + length + 1], np.int32) for start in range(0, len(ids) - 1, length)]


def open_to_read(
    path: Path, found: Checkpoint, ops: str, head: str = "exact", kv_format: str | None = None
) -> OpenDecoder:
    """The decoder of a checkpoint with room for one window; a ``head`` that is "rescored" is so whatever its size.

    Raises as its config and its weights do.
    """
    config = decoder_config(found.config(), path, WINDOW)
    params = decoder_params(config, found.tensors)
    side = sides.load(ops, head=head, rescore_from=1, kv_format=kv_format)
    return OpenDecoder(side, config, params, blocks=_blocks(config))


def check_memory(models: Sequence[tuple[Path, Checkpoint, str]]) -> None:
    """Raise InvalidSetting unless all the models, each with its side of ``ops``, can be open at a time."""
    weights = more = cache = 0
    for path, found, ops in models:
        config = decoder_config(found.config(), path, WINDOW)
        taken = footprint(config, found.tensors, ops)
        weights, more = weights + taken.weights, max(more, taken.more)
        tokens = _blocks(config) * memory.BLOCK_SIZE
        cache += memory.KVShape.of(config).bytes(tokens, cache_format=memory.CACHE_FORMATS[ops])
    memory.check(models[0][0], weights, cache, WINDOW, reserve=memory.RESERVE + more)


def _blocks(config: DecoderConfig) -> int:
    return -(-window_of(config) // memory.BLOCK_SIZE)
