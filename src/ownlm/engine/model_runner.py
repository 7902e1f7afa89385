"""A decoder as the engine runs it: its forward, compiled once, over a paged cache."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ownlm.model.batch import Batch
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.memory import BLOCK_SIZE
from ownlm.model.opened import OpenDecoder
from ownlm.model.ops.base import Ops
from ownlm.model.params import DecoderParams


class ModelRunner:
    """``max_positions`` is the longest text that is computed; the cache has ``blocks`` for all texts together."""

    def __init__(
        self,
        ops: Ops,
        config: DecoderConfig,
        params: DecoderParams,
        *,
        blocks: int,
        max_positions: int | None = None,
        block_size: int = BLOCK_SIZE,
    ) -> None:
        self.blocks, self.block_size = blocks, block_size
        self.max_positions = config.max_position_embeddings if max_positions is None else max_positions
        self.vocab_size = config.vocab_size
        self._decoder = OpenDecoder(ops, config, params, blocks=blocks, block_size=block_size)

    def step(self, batch: Batch) -> NDArray[np.float32]:
        """float32 [R, vocab_size]: logits at ``batch.rows``."""
        return self._decoder.step(batch)

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy blocks, (from, to), in every layer."""
        self._decoder.copy_blocks(pairs)
