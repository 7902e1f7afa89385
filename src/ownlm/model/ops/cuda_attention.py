"""Attention over a paged cache by torch's own operations: every feature, on every device, and capturable.

Query heads that share a key are laid side by side instead of repeating the key. Softcaps and sinks are no part of
``scaled_dot_product_attention`` and are computed in the open, in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.model.ops.base import AttentionSpec
from ownlm.model.ops.cuda_batch import DeviceBatch, Few, Many

ROWS = 512
"""Tokens whose scores are computed in the open at a time, for one key-value head: they are float32, and as long as the
text."""


def attend_few(q: Tensor, keys: Tensor, values: Tensor, few: Few, block_size: int, spec: AttentionSpec,
               sinks: Tensor | None, batch: DeviceBatch) -> Tensor:  # fmt: skip
    """[n, heads * head] of q [n, heads, head], each over its own text in ``keys`` and ``values``
    [slots, kv_heads, head]."""
    places, unseen = _few_facts(few, block_size, spec.window, q.dtype, batch)
    grouped = q.view(len(q), spec.kv_heads, -1, spec.head_dim)
    k, v = keys[places].transpose(1, 2), values[places].transpose(1, 2)
    if spec.softcap is None and sinks is None:
        out = F.scaled_dot_product_attention(grouped, k, v, attn_mask=unseen, scale=spec.scale)
    else:
        out = _open(grouped, k, v, unseen, spec, None if sinks is None else sinks.view(spec.kv_heads, -1))
    return out.reshape(len(q), -1)


def attend_many(q: Tensor, keys: Tensor, values: Tensor, many: Many, spec: AttentionSpec,
                sinks: Tensor | None, batch: DeviceBatch) -> Tensor:  # fmt: skip
    """[n, heads * head] of q [n, heads, head], the last n tokens of one text."""
    new, length = len(q), len(many.slots)
    grouped = q.view(new, spec.kv_heads, -1, spec.head_dim).permute(1, 2, 0, 3)  # a key-value head is a batch's entry
    k, v = (part[many.slots].transpose(0, 1)[:, None] for part in (keys, values))
    if spec.softcap is not None or sinks is not None:
        unseen = _many_unseen(many, new, spec.window, torch.float32, batch)
        own = None if sinks is None else sinks.view(spec.kv_heads, -1, 1)
        out = torch.empty_like(grouped)
        for head in range(spec.kv_heads):
            for start in range(0, new, ROWS):
                rows = slice(start, start + ROWS)
                sink = None if own is None else own[head]
                out[head, :, rows] = _open(grouped[head, :, rows], k[head], v[head], unseen[rows], spec, sink)
        return out.permute(2, 0, 1, 3).reshape(new, -1)
    k, v = (part.expand(-1, grouped.shape[1], -1, -1) for part in (k, v))
    if new == length and (spec.window is None or spec.window >= length):
        out = F.scaled_dot_product_attention(grouped, k, v, is_causal=True, scale=spec.scale)
    else:
        unseen = _many_unseen(many, new, spec.window, q.dtype, batch)
        out = F.scaled_dot_product_attention(grouped, k, v, attn_mask=unseen, scale=spec.scale)
    return out.permute(2, 0, 1, 3).reshape(new, -1)


def _open(q: Tensor, k: Tensor, v: Tensor, unseen: Tensor, spec: AttentionSpec, sinks: Tensor | None) -> Tensor:
    """softmax(cap(q k^T) + unseen) v, with sinks that broadcast to the scores' shape but for the keys."""
    scores = torch.matmul(q.float(), k.float().transpose(-1, -2)) * spec.scale
    if spec.softcap is not None:
        scores = spec.softcap * torch.tanh(scores / spec.softcap)
    scores = scores + unseen
    if sinks is not None:
        scores = torch.cat([scores, sinks.expand(*scores.shape[:-1])[..., None]], dim=-1)
    shares = torch.softmax(scores, dim=-1)[..., : k.shape[-2]]
    return torch.matmul(shares, v.float()).to(q.dtype)


def _few_facts(
    few: Few, block_size: int, window: int | None, dtype: torch.dtype, batch: DeviceBatch
) -> tuple[Tensor, Tensor]:
    """Slots [n, L] of what the tables hold, and what is added to scores [n, 1, 1, L]: -inf where nothing is seen."""
    if ("few", window) not in batch.made:
        offsets = torch.arange(block_size, device=few.tables.device, dtype=few.tables.dtype)
        places = (few.tables[:, :, None] * block_size + offsets).flatten(1)
        at, end = torch.arange(places.shape[1], device=places.device), few.lengths[:, None]
        seen = at < end if window is None else (at < end) & (at >= end - window)
        batch.made["few", window] = places, _unseen(seen, dtype)[:, None, None]
    places, unseen = batch.made["few", window]
    return places, unseen


def _many_unseen(many: Many, new: int, window: int | None, dtype: torch.dtype, batch: DeviceBatch) -> Tensor:
    """[new, length]"""
    key = ("many", many.start, window, dtype)
    if key not in batch.made:
        at = torch.arange(len(many.slots), device=many.slots.device)
        behind = at[len(at) - new :, None] - at
        batch.made[key] = (_unseen(behind >= 0 if window is None else (behind >= 0) & (behind < window), dtype),)
    return batch.made[key][0]


def _unseen(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))
