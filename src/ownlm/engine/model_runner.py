"""A decoder as the engine runs it: its forward, compiled once, over a paged cache."""

from __future__ import annotations

from collections.abc import Callable

from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.memory import BLOCK_SIZE
from ownlm.model.opened import OpenDecoder
from ownlm.model.ops.base import Ops
from ownlm.model.params import DecoderParams


class ModelRunner(OpenDecoder):
    """``max_positions`` is the longest text that is computed."""

    def __init__(
        self,
        ops: Ops,
        config: DecoderConfig,
        params: DecoderParams,
        *,
        blocks: int,
        max_positions: int | None = None,
        block_size: int = BLOCK_SIZE,
        prepared: bool = False,
        weights_key: Callable[[], str] = str,
    ) -> None:
        super().__init__(
            ops, config, params, blocks=blocks, block_size=block_size, prepared=prepared, weights_key=weights_key
        )
        self.max_positions = config.max_position_embeddings if max_positions is None else max_positions
        self.vocab_size = config.vocab_size
