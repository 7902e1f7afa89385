"""Operations in PyTorch, float32: the oracle that the native side is tested against.

Quantized weights are taken at the values they stand for, so what remains between the sides is arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import MissingExtra
from ownlm.model.batch import Batch
from ownlm.model.config import Activation
from ownlm.model.decoder_config import ExpertsConfig, GatedActivation
from ownlm.model.ops.base import SWIGLU_ALPHA, SWIGLU_LIMIT, AttentionSpec, Ids
from ownlm.model.params import ExpertsParams, map_leaves
from ownlm.model.rope import Rope

try:
    import torch
    from torch import Tensor
    from torch.nn import functional as F

    from ownlm.model.ops.torch_weights import Linear, Norm, Rms, floats, pack
except ModuleNotFoundError:
    raise MissingExtra("train", "torch") from None

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class _Cache:
    """Keys and values [layers, blocks * block_size, heads, head]."""

    keys: Tensor
    values: Tensor
    block_size: int


class TorchOps:
    """See ``Ops``. ``device`` is where weights and values live."""

    name = "torch"
    cache_format = "f32"

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)

    def prepare(self, params: P) -> P:
        made: dict[int, Tensor] = {}  # of matrices: a tied head is the table of embeddings
        return map_leaves(params, lambda leaf: pack(leaf, self.device, made))

    def embed(self, lookups: Sequence[tuple[Ids, Tensor]], scale: float = 1.0) -> Tensor:
        (ids, table), *rest = lookups
        x = self._looked_up(table, ids)
        for ids, table in rest:
            x = x + self._looked_up(table, ids)
        return x if scale == 1 else x * scale

    def linear(
        self,
        x: Tensor,
        w: Linear,
        residual: Tensor | None = None,
        activation: Activation = "",
        residual_scale: float = 1.0,
    ) -> Tensor:
        y = self._project(x, w)
        if activation == "relu2":
            y = F.relu(y).square()
        elif activation:
            y = F.gelu(y, approximate="tanh" if activation == "gelu_tanh" else "none")
        if residual_scale != 1:
            y = y * residual_scale
        return y if residual is None else y + residual

    def glu_linear(self, x: Tensor, w: Linear, activation: GatedActivation) -> Tensor:
        gate, up = self._gate_and_up(x, w)
        return self._activated(gate, up, activation)

    def _activated(self, gate: Tensor, up: Tensor, activation: GatedActivation) -> Tensor:
        if activation == "silu":
            return F.silu(gate) * up
        if activation == "swiglu_oai":
            gate, up = gate.clamp(max=SWIGLU_LIMIT), up.clamp(-SWIGLU_LIMIT, SWIGLU_LIMIT)
            return gate * torch.sigmoid(SWIGLU_ALPHA * gate) * (up + 1)
        return F.gelu(gate, approximate="tanh" if activation == "gelu_tanh" else "none") * up

    def rms_norm(self, x: Tensor, w: Rms, residual: Tensor | None = None) -> Tensor:
        y = F.rms_norm(x, w.weight.shape, w.weight, w.eps)
        return y if residual is None else y + residual

    def layer_norm(self, x: Tensor, w: Norm) -> Tensor:
        return F.layer_norm(x, w.weight.shape, w.weight, w.bias, w.eps)

    def attention(self, qkv: Tensor, cu_seqlens: Ids, heads: int) -> Tensor:
        q, k, v = qkv.view(len(qkv), 3, heads, -1).permute(1, 2, 0, 3)
        out = torch.empty_like(q)
        for start, end in zip(cu_seqlens[:-1].tolist(), cu_seqlens[1:].tolist(), strict=True):
            out[:, start:end] = F.scaled_dot_product_attention(q[:, start:end], k[:, start:end], v[:, start:end])
        return out.transpose(0, 1).flatten(1)

    def mean_pool(self, x: Tensor, cu_seqlens: Ids, normalize: bool) -> NDArray[np.float32]:
        lengths = self._ids(np.diff(cu_seqlens))
        rows = torch.repeat_interleave(torch.arange(len(lengths), device=self.device), lengths)
        y = x.new_zeros(len(lengths), x.shape[1]).index_add_(0, rows, x) / lengths[:, None]
        return self.numpy(F.normalize(y) if normalize else y)

    def kv_cache(self, layers: int, heads: int, head_dim: int, blocks: int, block_size: int) -> _Cache:
        keys = torch.zeros(layers, blocks * block_size, heads, head_dim, device=self.device)
        return _Cache(keys, torch.zeros_like(keys), block_size)

    def copy_blocks(self, cache: _Cache, pairs: Ids) -> None:
        source, target = (self._ids(ids) for ids in np.asarray(pairs, np.int32).reshape(-1, 2).T)
        for blocks in self._by_block(cache):
            blocks[:, target] = blocks[:, source]

    def _by_block(self, cache: _Cache) -> list[Tensor]:
        """Keys and values as [layers, blocks, block_size, heads, head]."""
        return [kept.view(len(kept), -1, cache.block_size, *kept.shape[2:]) for kept in (cache.keys, cache.values)]

    def block_bytes(self, cache: _Cache) -> int:
        return 2 * cache.keys[:, : cache.block_size].nbytes

    def read_blocks(self, cache: _Cache, ids: Ids) -> NDArray[np.uint8]:
        parts = [kept[:, self._ids(ids)].transpose(0, 1).flatten(1) for kept in self._by_block(cache)]
        found: NDArray[np.uint8] = torch.cat(parts, dim=1).view(torch.uint8).cpu().numpy()
        return found

    def write_blocks(self, cache: _Cache, ids: Ids, data: NDArray[np.uint8]) -> None:
        halves = torch.from_numpy(np.array(data)).to(self.device).chunk(2, dim=1)
        for kept, half in zip(self._by_block(cache), halves, strict=True):
            kept[:, self._ids(ids)] = half.view(kept.dtype).view(len(ids), len(kept), *kept.shape[2:]).transpose(0, 1)

    def qkv_rope(self, x: Tensor, w: Linear, spec: AttentionSpec, cache: _Cache, batch: Batch) -> Tensor:
        q, k, v = self._qkv(x, w, spec, batch)
        slots = self._ids(batch.slots)
        cache.keys[spec.layer, slots] = k
        cache.values[spec.layer, slots] = v
        queries: Tensor = q.flatten(1)
        return queries

    def _qkv(self, x: Tensor, w: Linear, spec: AttentionSpec, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Each [T, heads, head]: projected, normed, rotated."""
        q, k, v, *gates = self._query_key_value(x, w, spec)
        if spec.whole_row_norm:
            q, k = self.rms_norm(q, spec.q_norm), self.rms_norm(k, spec.k_norm)
        q, k, v = (part.reshape(len(x), -1, spec.head_dim) for part in (q, k, v))
        if spec.q_norm is not None and not spec.whole_row_norm:
            q, k = self.rms_norm(q, spec.q_norm), self.rms_norm(k, spec.k_norm)
        if spec.rope is not None:
            q, k = (self._turned(part, spec.rope, batch) for part in (q, k))
        if spec.value_table is not None:
            rows = self._looked_up(spec.value_table, batch.ids).view(v.shape)
            v = v + 2 * torch.sigmoid(gates[0])[:, :, None] * rows
        return q, k, v

    def cached_attention(self, q: Tensor, spec: AttentionSpec, cache: _Cache, batch: Batch) -> Tensor:
        out = torch.empty_like(q)
        for sequence, length in enumerate(batch.lengths.tolist()):
            start, end = batch.cu_seqlens[sequence : sequence + 2].tolist()
            blocks = batch.block_tables[sequence, : -(-length // cache.block_size)]
            slots = (blocks[:, None] * cache.block_size + np.arange(cache.block_size)).ravel()[:length]
            places = self._ids(slots)
            new = q[start:end].view(end - start, spec.heads, -1)
            out[start:end] = self._attended(new, cache.keys[spec.layer, places], cache.values[spec.layer, places], spec)
        return out

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, spec: AttentionSpec) -> Tensor:
        """[n, heads * head]: the last n of a sequence's tokens, ``q`` [n, heads, head], over all of them."""
        new, length = len(q), len(k)
        k, v = (part.repeat_interleave(spec.heads // spec.kv_heads, dim=1) for part in (k, v))
        scores = torch.einsum("nhd,mhd->hnm", q, k) * spec.scale
        if spec.softcap is not None:
            scores = spec.softcap * torch.tanh(scores / spec.softcap)
        behind = torch.arange(length - new, length, device=self.device)[:, None] - torch.arange(
            length, device=self.device
        )
        seen = behind >= 0 if spec.window is None else (behind >= 0) & (behind < spec.window)
        scores = scores.masked_fill(~seen, float("-inf"))
        if spec.sinks is not None:
            sinks = self._floats(spec.sinks)[:, None, None].expand(-1, new, 1)
            scores = torch.cat([scores, sinks], dim=2)
        shares = torch.softmax(scores, dim=2)[:, :, :length]
        return torch.einsum("hnm,mhd->nhd", shares, v).flatten(1)

    def _turned(self, x: Tensor, rope: Rope, batch: Batch) -> Tensor:
        cos, sin = self._rotation(rope, batch)
        half = cos.shape[-1]
        first, second, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
        return torch.cat([first * cos - second * sin, second * cos + first * sin, rest], dim=-1)

    def _rotation(self, rope: Rope, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cosines and sines [T, 1, frequencies]."""
        angles = self._ids(batch.positions)[:, None].float() * self._floats(rope.inverse_frequencies)
        return angles.cos()[:, None] * rope.attention_factor, angles.sin()[:, None] * rope.attention_factor

    def moe(
        self,
        x: Tensor,
        w: ExpertsParams,
        config: ExpertsConfig,
        residual: Tensor | None = None,
        residual_scale: float = 1.0,
    ) -> Tensor:
        shares, chosen = self.routed(self.linear(x, w.router), config)
        y = torch.zeros_like(x)
        for expert in range(config.count):
            rows, places = torch.where(chosen == expert)
            if len(rows):
                inner = self.glu_linear(x[rows], w.gate_up[expert], config.activation)
                y.index_add_(0, rows, self.linear(inner, w.down[expert]) * shares[rows, places, None])
        y = y * residual_scale
        return y if residual is None else y + residual

    def routed(self, scores: Tensor, config: ExpertsConfig) -> tuple[Tensor, Tensor]:
        """Shares and numbers [T, chosen] of the experts that each token goes to."""
        if config.softmax_of_chosen:
            top, chosen = scores.topk(config.chosen, dim=1)
            return torch.softmax(top, dim=1), chosen
        shares, chosen = torch.softmax(scores, dim=1).topk(config.chosen, dim=1)
        return shares / shares.sum(dim=1, keepdim=True) if config.normalize else shares, chosen

    def logits(self, x: Tensor, head: Linear, batch: Batch, scale: float = 1.0, softcap: float | None = None) -> Tensor:
        y = self.linear(x[self._ids(batch.rows)], head) * scale
        return y if softcap is None else softcap * torch.tanh(y / softcap)

    def compile(self, forward: Callable[[Batch], Tensor]) -> Callable[[Batch], NDArray[np.float32]]:
        def step(batch: Batch) -> NDArray[np.float32]:
            with torch.inference_mode():
                return self.numpy(forward(batch))

        return step

    def numpy(self, x: Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = x.detach().float().cpu().numpy().copy()
        return array

    def _project(self, x: Tensor, w: Linear) -> Tensor:
        return F.linear(x, w.weight, w.bias)

    def _gate_and_up(self, x: Tensor, w: Linear) -> tuple[Tensor, Tensor]:
        gate, up = self._project(x, w).chunk(2, dim=1)
        return gate, up

    def _query_key_value(self, x: Tensor, w: Linear, spec: AttentionSpec) -> tuple[Tensor, ...]:
        sizes = [spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.kv_heads * spec.head_dim]
        if spec.value_table is not None:
            sizes.append(spec.kv_heads)
        return torch.split(self._project(x, w), sizes, dim=1)

    def _looked_up(self, table: Tensor, ids: Ids) -> Tensor:
        return F.embedding(self._ids(ids), table)

    def _ids(self, ids: Ids) -> Tensor:
        return torch.from_numpy(np.array(ids, np.int64)).to(self.device)

    def _floats(self, values: NDArray[np.floating]) -> Tensor:
        return floats(values, self.device)
