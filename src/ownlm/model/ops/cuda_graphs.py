"""Steps of few tokens as CUDA graphs: captured once a size, then replayed, so that a step is one launch.

A step's tokens are padded to the next of some counts, and the width of its block tables likewise; what is captured
reads its facts from one vector that is filled anew before each replay. Larger steps run as they are: there the device
works longer than the launches take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ownlm.model.batch import Batch
from ownlm.model.ops.cuda_batch import FEW, DeviceBatch, Ints, Staging, few_parts, few_views, padding, whole

TOKENS = (1, 2, 4, 8, 16, 32, 64)
"""Counts of tokens that steps are padded to; a sequence has at most ``FEW`` of them."""
BLOCKS = 32
"""The narrowest block table; wider ones are this times powers of 4."""

Run = Callable[[], Tensor]
Capture = Callable[[Run], Run]
"""Of a computation over fixed memory, what repeats it and gives its result, in memory that the next repeat reuses."""


def rerun(run: Run) -> Run:
    """Where there are no graphs: it is computed again."""
    return run


class CudaGraphs:
    """Captures on a GPU. Graphs share their memory, since they never run at the same time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, run: Run) -> Run:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            run()  # kernels are compiled and libraries take their workspaces outside of the capture
            run()
        torch.cuda.current_stream().wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile: an encoder, another model.
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            result = run()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


def padded(count: int, sizes: tuple[int, ...] = TOKENS) -> int | None:
    """The smallest size that holds so many, None if there is none.

    >>> padded(5), padded(64), padded(65)
    (8, 64, None)
    """
    return next((size for size in sizes if size >= count), None)


def table_width(blocks: int) -> int:
    """How wide the tables are that hold so many blocks.

    >>> table_width(1), table_width(33), table_width(200)
    (32, 128, 512)
    """
    width = BLOCKS
    while width < blocks:
        width *= 4
    return width


class Steps:
    """The compiled forward: a function of a batch."""

    def __init__(
        self,
        forward: Callable[[DeviceBatch], Tensor],
        device: torch.device,
        block_size: int,
        capture: Capture,
        ready: Sequence[int] = (),
    ) -> None:
        """Steps of ``ready`` tokens are captured at once, so that nobody waits for it later."""
        self._forward, self._device, self._capture = forward, device, capture
        self._block_size = block_size
        self._staging = Staging(device)
        self.captured: dict[tuple[int, int], tuple[Tensor, Run]] = {}
        """By tokens and width of the tables: the vector of facts, and what repeats the step."""
        with torch.inference_mode():
            for tokens in ready:
                self._captured(padding(tokens, BLOCKS), tokens, BLOCKS)()

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        with torch.inference_mode():
            size = padded(max(len(batch.ids), len(batch.rows)))
            if size is None or int(np.diff(batch.cu_seqlens).max()) > FEW:
                logits = self._forward(whole(batch, self._block_size, self._staging))
            else:
                logits = self._replayed(batch, size)
            return self._brought(logits[: len(batch.rows)])

    def _replayed(self, batch: Batch, tokens: int) -> Tensor:
        width = table_width(batch.block_tables.shape[1])
        parts = few_parts(batch, tokens, width)
        if (tokens, width) not in self.captured:
            return self._captured(parts, tokens, width)()
        vector, run = self.captured[tokens, width]
        self._staging.send(parts, vector)
        return run()

    def _captured(self, parts: Sequence[Ints], tokens: int, width: int) -> Run:
        """A first step of its size."""
        vector = self._staging.send(parts)
        run = self._capture(lambda: self._forward(few_views(vector, tokens)))
        self.captured[tokens, width] = vector, run
        return run

    def _brought(self, logits: Tensor) -> NDArray[np.float32]:
        """Here, when the step is done; memory of its own, pinned where they come from a GPU."""
        if self._device.type != "cuda":
            return logits.numpy().copy()
        here = torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True)
        here.copy_(logits, non_blocking=True)
        torch.cuda.current_stream(self._device).synchronize()
        return here.numpy()
