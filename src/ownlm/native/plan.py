"""Forwards recorded once and replayed per batch in one call, without the GIL, in one parallel region.

A :class:`Plan` is written op by op; each op gives the number of a register, which later ops take. Registers have one
row a token of the batch; where they lie is planned when :meth:`Plan.logits` closes the plan. :meth:`Plan.run` then
computes any batch:

    ids, positions, slots   int32 [T]       tokens, their positions, where their keys and values go in the cache
    cu_seqlens              int32 [S + 1]   where each sequence's new tokens begin
    lengths                 int32 [S]       tokens of each sequence in the cache after this call
    block_tables            int32 [S, B]    the cache's blocks that hold them
    rows                    int32 [R]       the tokens whose logits are wanted
    exact                   uint8 [R]       of which a rescored head gives every logit exactly; None, left out: none

A row's result does not depend on the other rows of its batch, on how a prompt was cut into batches, nor on the number
of threads, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ownlm.native import _load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ownlm.native import Linear

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int32]

CacheFormat = Literal["bf16", "int8", "int4", "f32"]
"""What keys and values are kept as."""
CACHE_LAYOUT = 1
"""Of a block's bytes; another number where they mean something else."""
NONE = -1
"""In the place of a register: no residual."""


@dataclass(frozen=True, slots=True)
class RMSNorm:
    """x / rms(x) * (weight + offset)."""

    weight: Floats
    eps: float
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """A layer's attention: ``window`` 0 sees all, ``softcap`` 0 is none; no frequencies, no rotation.

    ``q_norm`` and ``k_norm`` are per head, or over all heads of a token with ``whole_row_norm``. ``value_table``, with
    its format as in :meth:`Plan.embed`, has rows of kv_heads * head_dim by id: each head's value is added 2 *
    sigmoid(gate) times its part, where the gates [kv_heads] are the projection's outputs behind the values.
    """

    heads: int
    kv_heads: int
    head_dim: int
    scale: float
    layer: int
    cache: Any
    window: int = 0
    softcap: float = 0.0
    sinks: Floats | None = None
    inverse_frequencies: Floats | None = None
    attention_factor: float = 1.0
    q_norm: RMSNorm | None = None
    k_norm: RMSNorm | None = None
    whole_row_norm: bool = False
    value_table: tuple[NDArray[Any], str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture's weights: the router's [experts, D], and each expert's gate rows then up rows, and down."""

    router: Linear
    gate_up: Sequence[Linear]
    down: Sequence[Linear]
    chosen: int
    activation: str
    softmax_of_chosen: bool = False
    normalize: bool = False
    router_bias: Floats | None = None
    gate_up_bias: Floats | None = None
    down_bias: Floats | None = None
    residual_scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head to be read by a 4-bit copy: ``copy`` and ``spread`` are what ``native.coarse`` makes of ``rows``.

    ``rows`` are the bytes of the head's rows, uint8 [V, B], in ``format``: "f32", "bf16" or "q8_0".
    """

    copy: Linear
    rows: NDArray[np.uint8]
    format: str
    spread: Floats


class BatchFacts(Protocol):
    """What :meth:`Plan.run` reads of a batch; see the module."""

    ids: Ints
    positions: Ints
    cu_seqlens: Ints
    lengths: Ints
    block_tables: Ints
    slots: Ints
    rows: Ints


def kv_cache(layers: int, blocks: int, block_size: int, heads: int, head_dim: int, format: CacheFormat = "bf16") -> Any:
    """Keys and values for ``blocks * block_size`` tokens. Pages take memory when first written.

    ``nbytes`` is all it may take, ``block_bytes`` what one block takes in all layers; ``copy_blocks(pairs)`` copies
    blocks [P, 2] (from, to) in every layer. ``read_blocks(blocks)`` gives int32 [N] blocks as uint8 [N, block_bytes],
    and ``write_blocks(blocks, data)`` takes such bytes, which may be a mapped file's: of a cache of the same layers,
    heads, head_dim, block size and format.
    """
    return _load().KVCache(layers, blocks, block_size, heads, head_dim, format)


class Plan:
    """See the module. Ops are in the order in which they are recorded; ``x``, ``q`` and ``residual`` are registers."""

    def __init__(self) -> None:
        self._plan = _load().Plan()

    def embed(self, tables: Sequence[tuple[str, NDArray[Any], str]], width: int, scale: float = 1.0) -> int:
        """scale * the sum of rows of tables, each looked up by "ids" or "positions".

        A table is f32 [V, width], or uint8 rows of bf16, f16, q8_0 or q4_0 as checkpoints store them.
        """
        register: int = self._plan.embed(list(tables), width, scale)
        return register

    def norm(self, x: int, norm: RMSNorm, residual: int = NONE) -> int:
        """RMS norm, plus residual."""
        register: int = self._plan.norm(x, norm.weight, None, norm.eps, norm.offset, residual)
        return register

    def layer_norm(self, x: int, weight: Floats, bias: Floats, eps: float, residual: int = NONE) -> int:
        """Layer norm, plus residual."""
        register: int = self._plan.norm(x, weight, bias, eps, 0.0, residual)
        return register

    def linear(
        self,
        x: int,
        w: Linear,
        bias: Floats | None = None,
        residual: int = NONE,
        residual_scale: float = 1.0,
        activation: str = "",
    ) -> int:
        """residual_scale * activation(x w^T + bias) + residual; activations are "", "gelu", "gelu_tanh", "relu2"."""
        register: int = self._plan.linear(x, w, bias, residual, residual_scale, activation)
        return register

    def glu_linear(self, x: int, w: Linear, activation: str, bias: Floats | None = None) -> int:
        """activation(gate) * up, where w has the gate's rows and then the up rows."""
        register: int = self._plan.glu_linear(x, w, bias, activation)
        return register

    def qkv_rope(self, x: int, w: Linear, spec: Attention, bias: Floats | None = None) -> int:
        """Queries, keys and values: projected, normed, rotated; keys and values go to the cache."""
        register: int = self._plan.qkv_rope(x, w, bias, spec)
        return register

    def cached_attention(self, q: int, spec: Attention) -> int:
        """Causal attention of what ``qkv_rope`` gave over the cache."""
        register: int = self._plan.cached_attention(q, spec)
        return register

    def moe(self, x: int, experts: Experts, residual: int = NONE) -> int:
        """Each token through its chosen experts, plus residual."""
        register: int = self._plan.moe(x, experts, residual)
        return register

    def logits(self, x: int, w: Linear, bias: Floats | None = None, scale: float = 1.0, softcap: float = 0.0) -> None:
        """Closes the plan: its result is softcap(scale * (x w^T + bias)) of the wanted rows."""
        self._plan.logits(x, w, bias, scale, softcap)

    def rescored_logits(
        self, x: int, head: Head, bias: Floats | None = None, scale: float = 1.0, softcap: float = 0.0
    ) -> None:
        """As :meth:`logits`, over half the bytes of an 8-bit head: the copy gives all logits, then those that may be
        the largest, or whose probability makes the copy's error count (64 to 4096 of them), are computed again from
        the head's own rows, to the bits that :meth:`logits` would give.
        """
        self._plan.rescored_logits(x, head, bias, scale, softcap)

    def run(self, batch: BatchFacts, out: Floats | None = None) -> Floats:
        """Logits [R, V] of a batch. Calls from several threads queue. ValueError for an index outside its range."""
        if out is None:  # of the extension's own arena: fresh pages a step would cost a hundred microseconds
            out = _load().empty(len(batch.rows), self._plan.columns)
        self._plan.run(batch, out)
        result: Floats = out
        return result

    def arena_bytes(self, tokens: int, rows: int) -> int:
        """What the registers of a batch of so many tokens and wanted rows take."""
        count: int = self._plan.arena_bytes(tokens, rows)
        return count

    def measure(self, on: bool = True) -> None:
        """Sum up, or no more, the time that each step takes in the runs from now on."""
        self._plan.measure(on)

    def seconds(self) -> list[tuple[str, float]]:
        """Each step's kind and its seconds since :meth:`measure`, as the calling thread saw them."""
        found: list[tuple[str, float]] = self._plan.seconds()
        return found

    @property
    def steps(self) -> int:
        """How many steps a replay walks through."""
        count: int = self._plan.steps
        return count
