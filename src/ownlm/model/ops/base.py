"""The coarse operations that a forward is written over.

Coarse because speed lives in the fusions: bias, activation and residual belong to ``linear``. Values are opaque
handles with one row a token: sequences of a batch lie one after the other, without padding, and ``cu_seqlens``
(int32, [sequences + 1], from 0 to the number of tokens) says where each begins:

    ids         a b c d e | f g | h i j
    cu_seqlens  0           5     7      10

Control data (ids, positions, cu_seqlens) are NumPy int32 arrays; weights come from ``prepare``; results leave a
forward only as NumPy float32. A handle may return to the side's arena when its last reference is dropped.

A side grows by what families need: a decoder adds RMS norm, gated linear, rotary positions and cached attention in the
same style, and no encoder changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm.model.config import Activation
from ownlm.model.params import Handle

P = TypeVar("P")
Ids = NDArray[np.int32]


class Ops(Protocol):
    """One side: an arithmetic, and the place where it runs."""

    name: str

    def prepare(self, params: P) -> P:
        """The parameter tree with every stored weight packed for this side."""

    def embed(self, lookups: Sequence[tuple[Ids, Handle]]) -> Handle:
        """[T, D]: the sum over ``(ids, table)`` of the rows that each looks up."""

    def linear(self, x: Handle, w: Handle, residual: Handle | None = None, activation: Activation = "") -> Handle:
        """[T, N]: activation(x W^T + b) + residual."""

    def layer_norm(self, x: Handle, w: Handle) -> Handle:
        """[T, D]: each row to mean 0 and variance 1, then scale and shift."""

    def attention(self, qkv: Handle, cu_seqlens: Ids, heads: int) -> Handle:
        """[T, heads * head] from [T, 3 * heads * head]: each token attends to all of its sequence; scale head^-1/2."""

    def mean_pool(self, x: Handle, cu_seqlens: Ids, normalize: bool) -> NDArray[np.float32]:
        """[sequences, D]: the mean of each sequence's rows, of length 1 if ``normalize``."""

    def numpy(self, x: Handle) -> NDArray[np.float32]:
        """A copy of the values."""
