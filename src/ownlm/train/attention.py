"""Causal attention over packed sequences: no token sees another sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ownlm.model.ops.base import AttentionSpec
from ownlm.train.batch import TrainBatch

if TYPE_CHECKING:
    from ownlm.train.ops import TrainOps


def packed_attention(ops: TrainOps, q: Tensor, k: Tensor, v: Tensor, spec: AttentionSpec, batch: TrainBatch) -> Tensor:
    """[T, heads * head] of q [T, heads, head] and k, v [T, kv_heads, head].

    On a GPU one call with a block mask; on a CPU, where calls are cheap and masks are not, one a run of sequences of
    equal length.
    """
    plain = spec.window is None and spec.softcap is None and spec.sinks is None
    if plain and batch.mask is not None:
        return _flex(q, k, v, spec, batch.mask)
    # One split, not a slice a run: the backward pass of a slice fills a whole tensor with zeros.
    runs = [run.length * run.count for run in batch.runs]
    sequences = [run.length for run in batch.runs for _ in range(run.count)]
    qs, ks, vs = (torch.split(part, runs if plain else sequences) for part in (q, k, v))
    if plain:
        out = [_causal(a, b, c, spec, run.count) for a, b, c, run in zip(qs, ks, vs, batch.runs, strict=True)]
    else:
        out = [ops.dense_attention(a, b, c, spec) for a, b, c in zip(qs, ks, vs, strict=True)]
    return out[0] if len(out) == 1 else torch.cat(out)


def _causal(q: Tensor, k: Tensor, v: Tensor, spec: AttentionSpec, count: int) -> Tensor:
    q, k, v = (part.view(count, -1, *part.shape[1:]).transpose(1, 2) for part in (q, k, v))
    if spec.heads != spec.kv_heads:
        k, v = (part.repeat_interleave(spec.heads // spec.kv_heads, dim=1) for part in (k, v))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=spec.scale)
    return y.transpose(1, 2).reshape(count * q.shape[2], -1)


def block_mask(batch: TrainBatch) -> Any:
    """Which tokens see which, in blocks, for ``flex_attention`` (Dong et al. 2024, arXiv:2412.05496)."""
    from torch.nn.attention.flex_attention import create_block_mask

    documents, tokens = batch.documents, len(batch.ids)

    def seen(_b: Tensor, _h: Tensor, at: Tensor, other: Tensor) -> Tensor:
        return (at >= other) & (documents[at] == documents[other])

    return create_block_mask(seen, None, None, tokens, tokens, device=str(documents.device))


def _flex(q: Tensor, k: Tensor, v: Tensor, spec: AttentionSpec, mask: Any) -> Tensor:
    from torch.nn.attention.flex_attention import flex_attention

    q, k, v = (part.transpose(0, 1)[None] for part in (q, k, v))
    y = flex_attention(q, k, v, block_mask=mask, scale=spec.scale, enable_gqa=spec.heads != spec.kv_heads)
    assert isinstance(y, Tensor)
    return y[0].transpose(0, 1).flatten(1)
