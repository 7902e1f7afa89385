"""What computes a step: the model behind the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ownlm.model.batch import Batch


class Runner(Protocol):
    """A model with its cache. The engine calls it from one thread."""

    blocks: int
    block_size: int
    max_positions: int
    vocab_size: int

    @property
    def block_bytes(self) -> int:
        """Bytes of one block of the cache, in all layers."""

    @property
    def cache_key(self) -> str:
        """What the bytes of blocks mean: equal keys, equal bytes for equal tokens. "": they mean nothing elsewhere."""

    def step(self, batch: Batch) -> NDArray[np.float32]:
        """Write the new tokens' keys and values; float32 [R, vocab_size], logits at ``batch.rows``.

        The result may be overwritten by the next step.
        """

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy the contents of blocks, (from, to), one after the other."""

    def read_blocks(self, ids: Sequence[int]) -> NDArray[np.uint8]:
        """uint8 [N, block_bytes]: what the blocks hold."""

    def write_blocks(self, ids: Sequence[int], data: NDArray[np.uint8]) -> None:
        """Put into the blocks what ``read_blocks`` gave, of a runner with the same ``cache_key``."""
