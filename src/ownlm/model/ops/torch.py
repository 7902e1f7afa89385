"""Operations in PyTorch, float32: the oracle that the native side is tested against.

Quantized weights are taken at the values they stand for, so what remains between the sides is arithmetic alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import MissingExtra
from ownlm.formats import q8_0
from ownlm.model.config import Activation
from ownlm.model.ops.base import Ids
from ownlm.model.params import EmbeddingWeight, Leaf, Matrix, NormWeight, map_leaves

try:
    import torch
    from torch import Tensor
    from torch.nn import functional as F
except ModuleNotFoundError:
    raise MissingExtra("train", "torch") from None

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    eps: float


class TorchOps:
    """See ``Ops``. ``device`` is where weights and values live."""

    name = "torch"

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)

    def prepare(self, params: P) -> P:
        return map_leaves(params, self._pack)

    def embed(self, lookups: Sequence[tuple[Ids, Tensor]]) -> Tensor:
        (ids, table), *rest = lookups
        x = F.embedding(self._ids(ids), table)
        for ids, table in rest:
            x = x + F.embedding(self._ids(ids), table)
        return x

    def linear(self, x: Tensor, w: _Linear, residual: Tensor | None = None, activation: Activation = "") -> Tensor:
        y = F.linear(x, w.weight, w.bias)
        if activation:
            y = F.gelu(y, approximate="tanh" if activation == "gelu_tanh" else "none")
        return y if residual is None else y + residual

    def layer_norm(self, x: Tensor, w: _Norm) -> Tensor:
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

    def numpy(self, x: Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = x.detach().float().cpu().numpy().copy()
        return array

    def _ids(self, ids: Ids) -> Tensor:
        return torch.from_numpy(np.array(ids, np.int64)).to(self.device)

    def _pack(self, leaf: Leaf) -> Tensor | _Linear | _Norm:
        if isinstance(leaf, NormWeight):
            return _Norm(self._floats(leaf.weight), self._floats(leaf.bias), leaf.eps)
        if isinstance(leaf, EmbeddingWeight):
            return self._values(leaf.table)
        weight = torch.cat([self._values(matrix) for matrix in leaf.matrices])
        return _Linear(weight, torch.cat([self._floats(bias) for bias in leaf.biases]) if leaf.biases else None)

    def _values(self, matrix: Matrix) -> Tensor:
        return self._floats(q8_0.dequantize(matrix.values) if matrix.format == "q8_0" else matrix.values)

    def _floats(self, values: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self.device)
