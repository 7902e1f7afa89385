"""Operations in the kernels of ``ownlm.native``: CPU, quantized weights, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.formats import q8_0
from ownlm.model.config import Activation
from ownlm.model.ops.base import Ids
from ownlm.model.params import EmbeddingWeight, Leaf, NormWeight, map_leaves

P = TypeVar("P")
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: native.Linear
    bias: Array | None
    outliers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Array
    bias: Array
    eps: float


class NativeOps:
    """See ``Ops``. Values are NumPy float32 arrays; any number of threads may compute at once.

    A row's result does not depend on the other rows of its batch, to the last bit.
    """

    name = "native"

    def prepare(self, params: P) -> P:
        return map_leaves(params, _pack)

    def embed(self, lookups: Sequence[tuple[Ids, NDArray[Any]]]) -> Array:
        return native.embed_sum([ids for ids, _ in lookups], [table for _, table in lookups])

    def linear(self, x: Array, w: _Linear, residual: Array | None = None, activation: Activation = "") -> Array:
        return native.linear(_apart(x, w.outliers), w.weight, w.bias, residual, activation)

    def layer_norm(self, x: Array, w: _Norm) -> Array:
        return native.layer_norm(x, w.weight, w.bias, w.eps)

    def attention(self, qkv: Array, cu_seqlens: Ids, heads: int) -> Array:
        return native.attention_varlen(qkv, cu_seqlens, heads, (qkv.shape[1] / (3 * heads)) ** -0.5)

    def mean_pool(self, x: Array, cu_seqlens: Ids, normalize: bool) -> Array:
        return native.mean_pool(x, cu_seqlens, normalize)

    def numpy(self, x: Array) -> Array:
        return x.copy()


def _pack(leaf: Leaf) -> NDArray[Any] | _Linear | _Norm:
    """Linear weights are packed anew; tables stay where the checkpoint maps them, shared between processes."""
    if isinstance(leaf, NormWeight):
        return _Norm(leaf.weight, leaf.bias, leaf.eps)
    if isinstance(leaf, EmbeddingWeight):
        return leaf.table.values
    values = np.concatenate([matrix.values for matrix in leaf.matrices])
    bias = np.concatenate(leaf.biases) if leaf.biases else None
    if leaf.format == "f32":
        return _Linear(native.pack_f32(values), bias, ())
    return _Linear(native.pack_q8_0(_with_own_blocks(values, leaf.outliers)), bias, leaf.outliers)


def _apart(x: Array, outliers: tuple[int, ...]) -> Array:
    """x [T, K] with each outlier channel alone in a block of its own behind the others, where int8 holds it exactly.

    Else the int8 scale of its 31 neighbours would be its own. Costs 50 us a 1024 tokens and a block's products.
    """
    if not outliers:
        return x
    tokens, columns = x.shape
    wide = np.empty((tokens, columns + q8_0.BLOCK * len(outliers)), np.float32)
    wide[:, :columns] = x
    wide[:, columns:] = 0
    for place, channel in enumerate(outliers):
        wide[:, columns + place * q8_0.BLOCK] = x[:, channel]
        wide[:, channel] = 0
    return wide


def _with_own_blocks(blocks: NDArray[np.uint8], outliers: tuple[int, ...]) -> NDArray[np.uint8]:
    """The weights' side of ``_apart``: rows of blocks, each outlier's weight repeated alone in a block at the end."""
    own = np.zeros((len(blocks), q8_0.BLOCK * len(outliers)), np.float32)
    for place, channel in enumerate(outliers):
        start = channel // q8_0.BLOCK * q8_0.BYTES
        block = q8_0.dequantize(np.ascontiguousarray(blocks[:, start : start + q8_0.BYTES]))
        own[:, place * q8_0.BLOCK] = block[:, channel % q8_0.BLOCK]
    return np.concatenate([blocks, q8_0.quantize(own)], axis=1) if outliers else blocks
