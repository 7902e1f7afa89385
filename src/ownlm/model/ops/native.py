"""Operations in the kernels of ``ownlm.native``: CPU, quantized weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.model.config import Activation
from ownlm.model.ops.base import Ids
from ownlm.model.params import EmbeddingWeight, Leaf, NormWeight, map_leaves

P = TypeVar("P")
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Any
    bias: Array | None


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Array
    bias: Array
    eps: float


class NativeOps:
    """See ``Ops``. Values are NumPy float32 arrays; any number of threads may compute at once."""

    name = "native"

    def prepare(self, params: P) -> P:
        return map_leaves(params, _pack)

    def embed(self, lookups: Sequence[tuple[Ids, NDArray[Any]]]) -> Array:
        (ids, table), *rest = lookups
        x = native.embed(ids, table)
        for ids, table in rest:
            x += native.embed(ids, table)
        return x

    def linear(self, x: Array, w: _Linear, residual: Array | None = None, activation: Activation = "") -> Array:
        return native.linear(x, w.weight, w.bias, residual, activation)

    def layer_norm(self, x: Array, w: _Norm) -> Array:
        return native.layer_norm(x, w.weight, w.bias, w.eps)

    def attention(self, qkv: Array, cu_seqlens: Ids, heads: int) -> Array:
        return native.attention_varlen(qkv, cu_seqlens, heads, (qkv.shape[1] / (3 * heads)) ** -0.5)

    def mean_pool(self, x: Array, cu_seqlens: Ids, normalize: bool) -> Array:
        return native.mean_pool(x, cu_seqlens, normalize)

    def numpy(self, x: Array) -> Array:
        return x.copy()


def _pack(leaf: Leaf) -> NDArray[Any] | _Linear | _Norm:
    """Own copies throughout, so that the mapped file may go."""
    if isinstance(leaf, NormWeight):
        return _Norm(leaf.weight.copy(), leaf.bias.copy(), leaf.eps)
    if isinstance(leaf, EmbeddingWeight):
        return np.ascontiguousarray(leaf.table.values).copy()
    formats = {matrix.format for matrix in leaf.matrices}
    values = np.concatenate([matrix.values for matrix in leaf.matrices])
    weight = native.pack_q8_0(values) if formats == {"q8_0"} else native.pack_f32(values)
    return _Linear(weight, np.concatenate(leaf.biases) if leaf.biases else None)
