"""The operations in training: the torch side over a tree of modules, and attention over packed sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ownlm.model.ops.base import AttentionSpec
from ownlm.model.ops.torch import TorchOps
from ownlm.model.rope import Rope
from ownlm.train.attention import packed_attention
from ownlm.train.batch import TrainBatch
from ownlm.train.modules import Glu, Projection
from ownlm.train.norm import rms_norm


@dataclass(frozen=True, slots=True)
class Hidden:
    """What logits are made of, in pieces: scale * (x W^T), capped. x [R, D], W of ``head`` [V, D]."""

    x: Tensor
    head: Projection
    scale: float
    softcap: float | None

    def logits(self, rows: slice = slice(None)) -> Tensor:
        """float32 [rows, V]."""
        y = self.head(self.x[rows]).float() * self.scale
        return y if self.softcap is None else self.softcap * torch.tanh(y / self.softcap)


class TrainOps(TorchOps):
    """``cache`` is a dict of a block's keys and values: all tokens of a batch are new."""

    name = "train"

    def rms_norm(self, x: Tensor, w: Any, residual: Tensor | None = None) -> Tensor:
        x = x.float()  # norms are float32, whatever multiplications are done in
        if x.device.type != "cpu":
            return super().rms_norm(x, w, residual)
        y = rms_norm(x, w.weight, w.eps)
        return y if residual is None else y + residual

    def qkv_rope(self, x: Tensor, w: Any, spec: AttentionSpec, cache: Any, batch: Any) -> Tensor:
        q, k, v = self._qkv(x, w, spec, batch)
        cache[spec.layer] = k, v
        return q

    def cached_attention(self, q: Tensor, spec: AttentionSpec, cache: Any, batch: Any) -> Tensor:
        k, v = cache.pop(spec.layer)
        return packed_attention(self, q.to(v.dtype), k.to(v.dtype), v, spec, batch)

    def logits(self, x: Tensor, head: Any, batch: Any, scale: float = 1.0, softcap: float | None = None) -> Any:
        return Hidden(x, head.parts[0], scale, softcap)

    def dense_attention(self, q: Tensor, k: Tensor, v: Tensor, spec: AttentionSpec) -> Tensor:
        """One sequence, for what the fused kernels do not know: windows, caps, sinks."""
        return self._attended(q, k, v, spec)

    def rotate_by(self, rope: Rope, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Cosines and sines of every token, worked out once a batch."""
        return super()._rotation(rope, batch)  # type: ignore[arg-type]  # positions are tensors here

    def _rotation(self, rope: Rope, batch: Any) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = batch.rotations[id(rope)]
        return found

    def _project(self, x: Tensor, w: Any) -> Tensor:
        y: Tensor = w(x)
        return y

    def _gate_and_up(self, x: Tensor, w: Glu) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return w.gate(x), w.up(x)

    def _query_key_value(self, x: Tensor, w: Any, spec: AttentionSpec) -> tuple[Tensor, ...]:
        return super()._query_key_value(x, w, spec) if len(w.parts) == 1 else tuple(part(x) for part in w.parts)

    def _looked_up(self, table: Any, ids: Any) -> Tensor:
        rows: Tensor = table(ids)
        return rows

    def _ids(self, ids: Any) -> Tensor:
        return ids if isinstance(ids, Tensor) else super()._ids(ids)
