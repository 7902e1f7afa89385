"""The coarse operations that a forward is written over.

Coarse because speed lives in the fusions: bias, activation and residual belong to ``linear``. Values are opaque
handles with one row a token: sequences of a batch lie one after the other, without padding, and ``cu_seqlens``
(int32, [sequences + 1], from 0 to the number of tokens) says where each begins:

    ids         a b c d e | f g | h i j
    cu_seqlens  0           5     7      10

Control data (ids, positions, cu_seqlens) are NumPy int32 arrays; weights come from ``prepare``; results leave a
forward only as NumPy float32. A handle may return to the side's arena when its last reference is dropped.

A decoder's forward is compiled: a side may run it once, to record it, and replay the record for every batch. So it
hands a batch's facts on to operations as they are, and never computes with them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm.model.batch import Batch
from ownlm.model.config import Activation
from ownlm.model.decoder_config import ExpertsConfig, GatedActivation
from ownlm.model.params import ExpertsParams, Handle
from ownlm.model.rope import Rope

P = TypeVar("P")
Ids = NDArray[np.int32]

SWIGLU_ALPHA, SWIGLU_LIMIT = 1.702, 7.0
"""gpt-oss: g = min(gate, limit), u = clip(up, -limit, limit); g * sigmoid(alpha * g) * (u + 1)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttentionSpec:
    """A layer's attention. ``layer`` counts from 0; ``window``: tokens that one sees back, itself counted; scores are
    ``scale`` * q k, then capped to softcap * tanh(score / softcap).

    ``sinks`` float32 [heads] join the softmax as scores of nothing. ``q_norm`` and ``k_norm`` are over each head, or
    over all heads of a token with ``whole_row_norm``, before rotation. ``value_table`` [V, kv_heads * head_dim] adds to
    the values of each key-value head 2 * sigmoid(gate) times its part of the token's row; the gates [kv_heads] are the
    projection's outputs behind the values. (Jordan et al. 2024, github.com/KellerJordan/modded-nanogpt, after the value
    residuals of Zhou et al. 2024, arXiv:2410.17897.)
    """

    layer: int
    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    window: int | None = None
    softcap: float | None = None
    rope: Rope | None = None
    q_norm: Handle = None
    k_norm: Handle = None
    whole_row_norm: bool = False
    sinks: NDArray[np.float32] | None = None
    value_table: Handle = None


class Ops(Protocol):
    """One side: an arithmetic, and the place where it runs."""

    name: str

    @property
    def cache_format(self) -> str:
        """What keys and values are kept as: "bf16", "int8", "int4", "f32"."""

    def prepare(self, params: P) -> P:
        """The parameter tree with every stored weight packed for this side."""

    def embed(self, lookups: Sequence[tuple[Ids, Handle]], scale: float = 1.0) -> Handle:
        """[T, D]: scale times the sum over ``(ids, table)`` of the rows that each looks up."""

    def linear(
        self,
        x: Handle,
        w: Handle,
        residual: Handle | None = None,
        activation: Activation = "",
        residual_scale: float = 1.0,
    ) -> Handle:
        """[T, N]: residual_scale * activation(x W^T + b) + residual. relu2 is max(0, x)^2 (So et al. 2021,
        arXiv:2109.08668)."""

    def glu_linear(self, x: Handle, w: Handle, activation: GatedActivation) -> Handle:
        """[T, N]: activation(gate) * up, of a ``GluWeight``; swiglu_oai: see ``SWIGLU_LIMIT``."""

    def rms_norm(self, x: Handle, w: Handle, residual: Handle | None = None) -> Handle:
        """[T, D]: x / rms(x) * (scale + offset) + residual. Zhang and Sennrich 2019, arXiv:1910.07467"""

    def layer_norm(self, x: Handle, w: Handle) -> Handle:
        """[T, D]: each row to mean 0 and variance 1, then scale and shift."""

    def attention(self, qkv: Handle, cu_seqlens: Ids, heads: int) -> Handle:
        """[T, heads * head] from [T, 3 * heads * head]: each token attends to all of its sequence; scale head^-1/2."""

    def mean_pool(self, x: Handle, cu_seqlens: Ids, normalize: bool) -> NDArray[np.float32]:
        """[sequences, D]: the mean of each sequence's rows, of length 1 if ``normalize``."""

    def numpy(self, x: Handle) -> NDArray[np.float32]:
        """A copy of the values."""

    def kv_cache(self, layers: int, heads: int, head_dim: int, blocks: int, block_size: int) -> Handle:
        """A cache of keys and values for ``blocks * block_size`` tokens; one table of blocks serves all layers."""

    def copy_blocks(self, cache: Handle, pairs: Ids) -> None:
        """Copy blocks [P, 2] (from, to) in every layer; between steps."""

    def block_bytes(self, cache: Handle) -> int:
        """Bytes of one block in all layers."""

    def read_blocks(self, cache: Handle, ids: Ids) -> NDArray[np.uint8]:
        """[N, block_bytes]: what blocks [N] hold, as this side keeps it; between steps."""

    def write_blocks(self, cache: Handle, ids: Ids, data: NDArray[np.uint8]) -> None:
        """Put back into blocks [N] what ``read_blocks`` gave, of this cache or of one of the same shape and format."""

    def qkv_rope(self, x: Handle, w: Handle, spec: AttentionSpec, cache: Handle, batch: Batch) -> Handle:
        """Queries [T, heads * head]: projected, normed, rotated; keys and values go to ``batch.slots``."""

    def cached_attention(self, q: Handle, spec: AttentionSpec, cache: Handle, batch: Batch) -> Handle:
        """[T, heads * head]: each new token attends to its sequence in the cache, up to itself."""

    def moe(
        self,
        x: Handle,
        w: ExpertsParams,
        config: ExpertsConfig,
        residual: Handle | None = None,
        residual_scale: float = 1.0,
    ) -> Handle:
        """[T, D]: residual_scale times the weighted sum of each token's experts, + residual."""

    def logits(self, x: Handle, head: Handle, batch: Batch, scale: float = 1.0, softcap: float | None = None) -> Handle:
        """[R, V] of ``batch.rows``: scale * (x W^T), capped."""

    def compile(self, forward: Callable[[Batch], Handle]) -> Callable[[Batch], NDArray[np.float32]]:
        """A function of a batch that computes ``forward`` and gives its logits as NumPy."""
