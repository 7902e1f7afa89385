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

    def step(self, batch: Batch) -> NDArray[np.float32]:
        """Write the new tokens' keys and values; float32 [R, vocab_size], logits at ``batch.rows``.

        The result may be overwritten by the next step.
        """

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Copy the contents of blocks, (from, to), one after the other."""
